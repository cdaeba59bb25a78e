"""Memory of the dashboard's server: a series of 300 slices, then more scans than a worklist holds.

Prints the resident memory after each, of the server and of the process that reads files, what
Streamlit still holds of the uploads, and what lies on the server's disk of them.
"""

import sys
import tempfile
import urllib.request
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.browser_dashboard import Running, chromium, dashboard, drop, open_page

from tumorlens.study.phantom import draw_phantom
from tumorlens.study.phantom.volumes import PhantomVolume, draw_volume, write_dicom

SLICES, SCANS, BATCH, SIDE = 300, 350, 70, 512


def main() -> None:
    """Upload and watch."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        home = Path(folder)
        _write_series(home / "series")
        scans = _scans(home / "scans")
        with dashboard(home / "home") as running:
            page = browser.new_page()
            open_page(page, running.url)
            page.set_default_timeout(600_000)
            _print("at the start", running)
            drop(page, *sorted((home / "series").iterdir()))
            page.get_by_text(f"{SLICES} slices").first.wait_for()
            _print(f"{SLICES} slices of {SIDE} x {SIDE}", running)
            for start in range(0, SCANS, BATCH):
                drop(page, *scans[start : start + BATCH])
                page.get_by_text(f"Queue: {min(200, start + BATCH + 1)}").wait_for()
                page.wait_for_timeout(1500)
                _print(f"and {start + BATCH} images", running)
            page.get_by_text("were not taken").wait_for()


def _print(title: str, running: Running) -> None:
    files = [path for path in (running.home).rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 2**20
    reading = sum(map(_resident, _children(running.pid)))
    print(f"{title:24} {_resident(running.pid):6.0f} MiB, where files are read {reading:4.0f} MiB; "
          f"uploads held {_uploads(running.url):.0f} bytes; on disk {size:.1f} MiB in "
          f"{len(files)} files", flush=True)  # fmt: skip


def _write_series(folder: Path) -> None:
    """Write a CT series of a phantom with noise, which does not compress well."""
    base = draw_volume("ct", "healthy", seed=2, side=SIDE)
    at = np.linspace(0, len(base.voxels) - 1, SLICES).round().astype(int)
    noise = np.random.default_rng(0).normal(0, 8, (SLICES, 1, SIDE)).astype(np.int16)
    voxels = (base.voxels[at] + noise).astype(np.int16)
    empty = np.zeros(voxels.shape, bool)
    volume = PhantomVolume(voxels, empty, "ct", "phantom", base.pixel_mm)
    write_dicom(volume, folder, seed=2)


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
    """Return the resident memory of a process in MiB."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS")) / 1024


def _children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in tasks for child in path.read_text().split()]


def _uploads(url: str) -> float:
    text = urllib.request.urlopen(f"{url}/_stcore/metrics").read().decode()
    rows = [row for row in text.splitlines() if "UploadedFileManager" in row]
    return sum(float(row.rsplit(" ", 1)[1]) for row in rows)


if __name__ == "__main__":
    main()
