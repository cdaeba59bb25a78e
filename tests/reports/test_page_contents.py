"""Facts about every page: a list of parts where it is long, images that are small."""

import base64

import cv2
import numpy as np

from tumorlens.reports.page import webp, with_contents


def test_a_long_page_lists_its_parts_and_a_short_one_does_not():
    parts = "".join(f"<h2>Part {n}</h2>" for n in range(5))
    page = with_contents(f"<h1>All</h1>{parts}")
    assert '<a href="#part-3">Part 2</a>' in page
    assert '<h2 id="part-3">Part 2</h2>' in page
    assert with_contents("<h1>All</h1><h2>One</h2>") == "<h1>All</h1><h2>One</h2>"


def test_an_image_is_made_smaller_without_a_loss_that_is_seen():
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8), (256, 1))
    noisy = np.clip(ramp + np.random.default_rng(0).normal(0, 6, ramp.shape), 0, 255)
    data = cv2.imencode(".png", noisy.astype(np.uint8))[1].tobytes()
    small = base64.b64decode(webp(data).split(",", 1)[1])
    assert len(small) < len(data) / 2
    found = cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert np.abs(found - noisy).mean() < 6
