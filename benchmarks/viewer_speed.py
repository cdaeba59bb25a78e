"""How long the viewer takes for a change, in a browser: wheel, window, zoom, pan.

Draws a phantom series of 512 x 512 pixels, opens its report in Debian's chromium without a window,
and times from the event to the end of the drawing. Prints the median and the 95th percentile in ms.

    python benchmarks/viewer_speed.py
"""

import shutil
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import sync_playwright

from tumorlens.models.bundle import load_bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Scan
from tumorlens.reports.scan.report import scan_html
from tumorlens.reports.viewer.content import ViewedSlice, viewer_content
from tumorlens.study.phantom.volumes import draw_volume

SIDE, TIMES = 512, 60
CHANGES = {
    "wheel": "new WheelEvent('wheel', {deltaY: k % 20 < 10 ? 100 : -100, cancelable: true})",
    "window": "new PointerEvent('pointermove', {clientX: 300 + k, clientY: 300 + k})",
    "zoom": "new WheelEvent('wheel', {deltaY: k % 20 < 10 ? 100 : -100, ctrlKey: true, "
    "cancelable: true})",
}
# The viewer draws in the next frame; the time of the drawing is that from its start to its end.
MEASURE = """async (times) => {
  const box = document.querySelector('.tl-viewer'), canvas = box.querySelector('canvas');
  const found = [];
  const real = window.requestAnimationFrame;
  for (let k = 0; k < times; k++) {
    let start = 0;
    window.requestAnimationFrame = (act) => real((t) => { start = performance.now(); act(t); });
    const drawn = new Promise(done => box.addEventListener('tl-drawn', done, {once: true}));
    canvas.dispatchEvent(EVENT);
    await drawn;
    found.push(performance.now() - start);
  }
  window.requestAnimationFrame = real;
  return found;
}"""


def main() -> None:
    """Measure and print."""
    volume = draw_volume("ct", "glioma", seed=2, side=SIDE)
    scans = [Scan(pixels.astype("float32"), f"{k}", modality="ct", spacing_mm=(0.45, 0.45),
                  frame=k) for k, pixels in enumerate(volume.voxels)]  # fmt: skip
    bundle = load_bundle()
    found = Predictor(bundle).predict_scans(scans, heatmaps=True)
    slices = [ViewedSlice(scan, answer) for scan, answer in zip(scans, found, strict=True)]
    content = viewer_content(slices, name="phantom")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        report.write_text(scan_html([], bundle, made=datetime.now(UTC), viewers=[content]))
        print(
            f"{len(scans)} slices of {SIDE} x {SIDE}; page {report.stat().st_size / 2**20:.1f} MB"
        )
        for name, times in measure(report).items():
            worst = sorted(times)[int(0.95 * len(times))]
            print(f"{name:7} median {statistics.median(times):5.1f} ms, 95 % {worst:5.1f} ms")


def measure(report: Path) -> dict[str, list[float]]:
    """Return the times of each change, in ms."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"file://{report}")
        page.wait_for_selector(".tl-viewer[data-slice]")
        page.wait_for_timeout(1500)  # all slices are unpacked
        page.evaluate("""() => { const c = document.querySelector('.tl-viewer canvas');
            c.setPointerCapture = () => {};
            c.dispatchEvent(new PointerEvent('pointerdown', {clientX: 300, clientY: 300})); }""")
        found = {
            name: page.evaluate(MEASURE.replace("EVENT", event), TIMES)
            for name, event in CHANGES.items()
        }
        browser.close()
    return found


if __name__ == "__main__":
    main()
