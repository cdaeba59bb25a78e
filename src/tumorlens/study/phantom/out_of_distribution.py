"""Images of what is not a slice of a head, drawn from a seed.

Limbs, joints, spines, trunks, printed pages, textures and shapes: a network that has seen some
of them answers everything else of their kind with less confidence (outlier exposure, Hendrycks
et al., 2019). Nothing here is meant to look more than roughly right.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.phantom.tissues import Image, blurred, smooth_noise

SIDE = 192  # pixels of an image
Rng = np.random.Generator


def draw_ood_image(seed: int) -> NDArray[np.uint8]:
    """Draw one image, uint8 [SIDE, SIDE]."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(KINDS)))
    image = KINDS[kind](rng)
    if rng.random() < 0.3:
        image = np.rot90(image, int(rng.integers(1, 4)))
    image = blurred(image, rng.uniform(0.4, 1.2))
    image = image + rng.normal(0, rng.uniform(0.005, 0.04), image.shape)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _limb(rng: Rng) -> Image:
    """Draw a limb across: skin, fat, muscles, one or two bones."""
    page = _empty()
    center, size = _near_middle(rng), rng.uniform(45, 85, 2)
    fat, muscle, cortex, marrow = _grays(rng, 4)
    _blob(page, center, size, fat, rng)
    _blob(page, center, size * rng.uniform(0.72, 0.92), muscle, rng)
    for _ in range(int(rng.integers(3, 8))):
        _line(page, center, size, fat, rng)
    for _ in range(int(rng.integers(1, 3))):
        place = center + rng.normal(0, 0.2, 2) * size
        bone = size.min() * rng.uniform(0.18, 0.34) * rng.uniform(0.8, 1.2, 2)
        _blob(page, place, bone, cortex, rng)
        _blob(page, place, bone * rng.uniform(0.6, 0.85), marrow, rng)
    return _textured(page, rng)


def _joint(rng: Rng) -> Image:
    """Draw a joint along: the broad ends of two bones, cartilage, a kneecap, fat around."""
    page = _empty()
    fat, muscle, cortex, marrow = _grays(rng, 4)
    half = rng.uniform(45, 75)
    x = SIDE / 2 + rng.normal(0, 8)
    _quad(page, (x, SIDE / 2), (half, SIDE), fat)
    _quad(page, (x, SIDE / 2), (half * rng.uniform(0.75, 0.95), SIDE), muscle)
    gap = SIDE / 2 + rng.normal(0, 14)
    for sign in (-1, 1):
        shaft, head = half * rng.uniform(0.3, 0.45), half * rng.uniform(0.55, 0.8)
        end = np.array([x, gap + sign * (head * 0.55 + 3)])
        for grow, gray in ((1.0, cortex), (0.86, marrow)):
            _quad(page, (x, gap + sign * SIDE / 2), (shaft * grow, SIDE / 2 - head * 0.5), gray)
            _blob(page, end, np.array([head, head * 0.6]) * grow, gray, rng)
    if rng.random() < 0.6:
        place = np.array([x + half * rng.choice([-0.9, 0.9]), gap - half * 0.4])
        _blob(page, place, np.array([9.0, 20.0]), cortex, rng)
        _blob(page, place, np.array([6.0, 16.0]), marrow, rng)
    return _textured(page, rng)


def _spine(rng: Rng) -> Image:
    """Draw a spine along: vertebrae, discs, cord, with a coil's light falling off."""
    page = _empty()
    tissue, bone, disc, fluid, cord = _grays(rng, 5)
    page[:] = tissue
    x = SIDE * rng.uniform(0.35, 0.6)
    bend, phase = rng.normal(0, 14), rng.uniform(0, 2 * np.pi)
    height, width = rng.uniform(15, 30), rng.uniform(13, 22)

    def middle(y: float) -> float:
        return x + bend * np.sin(y / SIDE * np.pi + phase)

    for y in np.arange(-5, SIDE + 5, 4.0).tolist():
        _quad(page, (middle(y) + width + 9, y), (7, 4), fluid)
        _quad(page, (middle(y) + width + 9, y), (3.5, 4), cord)
    for y in np.arange(rng.uniform(0, height), SIDE + height, height).tolist():
        _quad(page, (middle(y), y), (width, height * 0.34), bone)
        _quad(page, (middle(y), y + height / 2), (width * 0.95, height * 0.1), disc)
        spinous = np.array([middle(y) + width + 30, y + height * 0.3])
        _blob(page, spinous, np.array([12.0, height * 0.25]), bone, rng)
    fall = np.linspace(rng.uniform(0.1, 0.5), 1, SIDE, dtype=np.float32)
    page *= fall[None, :]
    return _textured(page, rng)


def _trunk(rng: Rng) -> Image:
    """Draw a trunk across: fat, muscle, lungs or organs, a vertebra."""
    page = _empty()
    center, size = _near_middle(rng), np.array([rng.uniform(70, 90), rng.uniform(45, 65)])
    fat, muscle, organ, bone, dark = _grays(rng, 5)
    _blob(page, center, size, fat, rng)
    _blob(page, center, size * rng.uniform(0.8, 0.93), muscle, rng)
    has_lungs = rng.random() < 0.5
    for sign in (-1, 1):
        place = center + np.array([sign * size[0] * 0.42, -size[1] * 0.08])
        gray = dark * 0.2 if has_lungs else organ
        _blob(page, place, size * rng.uniform(0.3, 0.45, 2) * [0.9, 1.5], gray, rng)
    for _ in range(int(rng.integers(2, 7))):
        place = center + rng.normal(0, 0.25, 2) * size
        _blob(page, place, size * rng.uniform(0.06, 0.2, 2), float(rng.random()), rng)
    _blob(page, center + np.array([0, size[1] * 0.55]), size * [0.14, 0.2], bone, rng)
    return _textured(page, rng)


def _print(rng: Rng) -> Image:
    """Draw a page of lines of letters."""
    page = np.full((SIDE, SIDE), int(rng.integers(180, 256)), np.uint8)
    ink, height = int(rng.integers(0, 80)), rng.uniform(0.25, 0.7)
    letters = np.array(list("ABCDEFGHIKLMNOPRSTUVWXYZ0123456789 abcdefghiklmnoprstuvwxyz "))
    for y in np.arange(10, SIDE, 28 * height).tolist():
        text = "".join(rng.choice(letters, 40))
        cv2.putText(page, text, (4, int(y)), cv2.FONT_HERSHEY_SIMPLEX, height, ink, 1)
    bright = page / np.float32(255)
    return np.asarray(bright if rng.random() < 0.7 else 1 - bright, np.float32)


def _texture(rng: Rng) -> Image:
    """Draw noise of one or several scales, as skies, walls and grass have."""
    page = sum(
        (rng.random() * smooth_noise(rng, sigma=float(sigma), side=SIDE)
         for sigma in rng.choice([0.5, 1, 2, 4, 8, 16, 32], int(rng.integers(1, 4)))),
        np.zeros((SIDE, SIDE), np.float32),
    )  # fmt: skip
    page = 0.5 + rng.uniform(0.1, 0.3) * page
    page = np.clip(page, 0, 1).astype(np.float32)
    return page * _disc(rng) if rng.random() < 0.4 else page


def _shapes(rng: Rng) -> Image:
    """Draw flat and shaded shapes over one another, as photographs of things have."""
    page = np.full((SIDE, SIDE), rng.random(), np.float32)
    page += np.linspace(-0.3, 0.3, SIDE, dtype=np.float32)[:, None] * rng.normal()
    for _ in range(int(rng.integers(3, 18))):
        place, size = rng.uniform(0, SIDE, 2), rng.uniform(6, 70, 2)
        if rng.random() < 0.5:
            _blob(page, place, size, float(rng.random()), rng)
        else:
            corners = (place + rng.normal(0, 1, (int(rng.integers(3, 7)), 2)) * size).astype(int)
            cv2.fillPoly(page, [corners.astype(np.int32)], float(rng.random()))
    return _textured(page, rng)


KINDS: Mapping[str, Callable[[Rng], Image]] = {
    "limb": _limb,
    "joint": _joint,
    "spine": _spine,
    "trunk": _trunk,
    "print": _print,
    "texture": _texture,
    "shapes": _shapes,
}


def _empty() -> Image:
    return np.zeros((SIDE, SIDE), np.float32)


def _near_middle(rng: Rng) -> NDArray[np.float64]:
    return SIDE / 2 + rng.normal(0, 6, 2)


def _grays(rng: Rng, count: int) -> list[float]:
    return rng.uniform(0.12, 1.0, count).tolist()


def _disc(rng: Rng) -> Image:
    page = _empty()
    _blob(page, _near_middle(rng), rng.uniform(45, 90, 2), 1.0, rng)
    return page


def _blob(
    page: Image, center: NDArray[np.floating], size: NDArray[np.floating], gray: float, rng: Rng
) -> None:
    """Paint a wobbly ellipse with the given half axes."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    waves = np.arange(2, 6)[:, None]
    swing = rng.normal(0, 0.05, (4, 1)) * np.cos(waves * angle + rng.uniform(0, 2 * np.pi, (4, 1)))
    wobble = 1 + swing.sum(0)
    outline = center + np.stack([np.cos(angle), np.sin(angle)], 1) * size * wobble[:, None]
    cv2.fillPoly(page, [outline.astype(np.int32)], float(gray))


def _quad(page: Image, center: tuple[float, float], half: tuple[float, float], gray: float) -> None:
    """Paint an upright rectangle with the given half sides."""
    (x, y), (w, h) = center, half
    cv2.rectangle(page, (int(x - w), int(y - h)), (int(x + w), int(y + h)), float(gray), -1)


def _line(
    page: Image, center: NDArray[np.floating], size: NDArray[np.floating], gray: float, rng: Rng
) -> None:
    ends = (center + rng.normal(0, 0.4, (2, 2)) * size).astype(int).tolist()
    cv2.line(page, tuple(ends[0]), tuple(ends[1]), float(gray), int(rng.integers(1, 4)))


def _textured(page: Image, rng: Rng) -> Image:
    grain = smooth_noise(rng, sigma=float(rng.uniform(0.8, 4)), side=SIDE)
    light = smooth_noise(rng, sigma=40, side=SIDE)
    lit = page * (1 + rng.uniform(0.02, 0.15) * grain) * (1 + rng.uniform(0, 0.2) * light)
    return np.asarray(lit, np.float32)
