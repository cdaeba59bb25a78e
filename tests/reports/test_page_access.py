"""Pages that stand alone can be read: by a screen reader, by keys, in the dark, on a phone."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from support.browser_dashboard import CHROMIUM, chromium
from support.stored_study import PICTURE, STUDY

from tumorlens.records import Heatmap, Prediction, Scan
from tumorlens.reports.evaluation import read_result
from tumorlens.reports.page import render_page
from tumorlens.reports.scan.content import Examined
from tumorlens.reports.scan.report import scan_html
from tumorlens.reports.viewer.content import ViewedSlice, viewer_content
from tumorlens.study.audit.page import render_audit
from tumorlens.study.audit.result import read_result as read_audit
from tumorlens.study.evaluation.plots import draw_plots
from tumorlens.study.explore.pages import render_exploration
from tumorlens.study.explore.record import read_result as read_exploration

pytest.importorskip("playwright")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
SQUARE = np.arange(24 * 24, dtype=np.uint8).reshape(24, 24)


def _evaluation(_bundle) -> str:
    result = read_result(STUDY / "evaluation" / "evaluation.json")
    failures = {
        kind: [(row, SQUARE) for row in held.worst] for kind, held in result.failures.items()
    }
    return render_page("evaluation.html", result=result, plots=draw_plots(result),
                       failures=failures, examples=None, has_card=True)  # fmt: skip


def _audit(_bundle) -> str:
    return render_audit(read_audit(STUDY / "audit"), defaultdict(lambda: SQUARE))


def _exploration(_bundle) -> str:
    images = defaultdict(lambda: PICTURE)
    return render_exploration(read_exploration(STUDY / "explore" / "explore.json"), images)


def _scan(bundle) -> str:
    heatmap = Heatmap(np.eye(4, dtype=np.float32), SQUARE, np.eye(3)[:2])
    facts = {"tumor_probability": 0.9, "decision": "tumor", "heatmap": heatmap}
    facts |= {"modality": "ct", "modality_probability": 0.9}
    found = Prediction("1.2.3.4567890" * 9, **facts)
    scan = Scan(SQUARE.astype(np.float32), "a", modality="ct", spacing_mm=(1.0, 1.0))
    content = viewer_content([ViewedSlice(scan, found)] * 6, name="a")
    options = {"made": datetime.now(UTC), "viewers": [content, content]}
    return scan_html([Examined(found, scan)], bundle, **options)


PAGES: dict[str, Callable[..., str]] = {
    "evaluation": _evaluation, "audit": _audit, "exploration": _exploration, "scan": _scan,
}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as opened:
        yield opened


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_serious_finding_and_fits_a_phone(browser, tiny_bundle, tmp_path, name):
    from axe_playwright_python.sync_playwright import Axe

    path: Path = tmp_path / f"{name}.html"
    path.write_text(PAGES[name](tiny_bundle), encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(path.as_uri())
    page.wait_for_function("!window.Plotly || window.Plotly.version")  # its charts are drawn
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        rows = Axe().run(page).response["violations"]
        found += [(scheme, row["id"], [node["target"] for node in row["nodes"]][:3])
                  for row in rows if row["impact"] in ("serious", "critical")]  # fmt: skip
    beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    page.close()
    assert found == [], json.dumps(found, indent=1)
    assert beyond <= 0, f"{beyond} pixels are beyond the edge of a phone"
