"""Memory of the dashboard's server while more scans are dropped in than its queue holds.

Prints the resident memory after each batch, and what Streamlit still holds of the uploads.
"""

import sys
import tempfile
import urllib.request
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.browser_dashboard import chromium, dashboard, open_page

from tumorlens.study.phantom import draw_phantom

SCANS, BATCH, SIDE = 240, 40, 512  # more than the queue of 200 takes


def main() -> None:
    """Upload and watch."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        home = Path(folder)
        scans = _scans(home / "scans")
        size = sum(path.stat().st_size for path in scans) / 2**20
        print(f"{len(scans)} scans of {SIDE} x {SIDE}, {size:.0f} MiB in all")
        with dashboard(home / "home") as running:
            page = browser.new_page()
            open_page(page, running.url)
            print(f"{'at the start':14} {_resident(running.pid):6.0f} MiB")
            for start in range(0, len(scans), BATCH):
                page.set_input_files(
                    "[data-testid=stFileUploaderDropzoneInput]",
                    [str(path) for path in scans[start : start + BATCH]],
                )
                page.get_by_text(f"Queue: {min(200, start + BATCH)}").wait_for()
                page.wait_for_timeout(1500)
                held = _uploads(running.url)
                print(f"{start + BATCH:4} uploaded  {_resident(running.pid):6.0f} MiB, "
                      f"uploads held {held:.0f} bytes")  # fmt: skip
            page.get_by_text("were not taken").wait_for()


def _scans(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    base = draw_phantom("mri", "glioma", seed=7, plane="axial", side=SIDE).pixels
    rng = np.random.default_rng(0)
    paths = []
    for number in range(SCANS):
        noise = rng.normal(0, 3, base.shape)
        pixels = np.clip(base + noise, 0, 255).astype(np.uint8)
        path = folder / f"phantom-{number:03d}.png"
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        paths.append(path)
    return paths


def _resident(pid: int) -> float:
    """Give the resident memory of a process in MiB."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS")) / 1024


def _uploads(url: str) -> float:
    text = urllib.request.urlopen(f"{url}/_stcore/metrics").read().decode()
    rows = [row for row in text.splitlines() if "UploadedFileManager" in row]
    return sum(float(row.rsplit(" ", 1)[1]) for row in rows)


if __name__ == "__main__":
    main()
