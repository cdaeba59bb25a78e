"""Whether the Read page loses a key: 50 scans, 50 presses of A, 20 a second, in a browser.

Drops 50 phantoms in, presses A as often, and waits until the store holds the reviews. Prints how
fast the presses were sent, when the last scan was drawn and marked, when the last review was
stored, and how many scans have how many reviews. Then the same with a reload of the page in the
middle, before the server has said that it followed.

    python benchmarks/read_keys.py
"""

import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from playwright.async_api import Page, async_playwright

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.browser_dashboard import dashboard

from tumorlens.services.store.database import Store, open_store
from tumorlens.services.store.history import iter_predictions
from tumorlens.services.store.reviews import reviews_by_prediction
from tumorlens.study.phantom import draw_phantom

SCANS, RATE = 50, 20.0
PATIENCE = 120_000  # ms


def main() -> None:
    """Press and count."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        scans = _scans(home / "scans")
        with dashboard(home / "home") as running:
            store = open_store(str(home / "home/data/tumorlens/store.sqlite"))
            for reloads in (False, True):
                print(asyncio.run(read(running.url, scans, store, reloads=reloads)))


async def read(url: str, scans: list[Path], store: Store, *, reloads: bool) -> str:
    """Read all scans by keys in a new browser, and return in words how it went."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        await page.goto(url)
        await page.set_input_files(
            "[data-testid=stFileUploaderDropzoneInput]", [str(path) for path in scans]
        )
        await page.wait_for_selector(f".tl-list li:nth-child({SCANS})")
        await page.wait_for_selector(".tl-viewer[data-slice]")
        first = SCANS // 2 if reloads else SCANS
        sent = await press(page, first)
        await marked(page, first)
        drawn = time.monotonic()
        if reloads:
            await page.reload()
            await page.wait_for_selector(".tl-viewer[data-slice]")
            sent = await press(page, SCANS - first)
            await marked(page, SCANS)
            drawn = time.monotonic()
        counts = await reviews(store)
        stored = time.monotonic()
        await browser.close()
    title = "reload in the middle" if reloads else "without a reload"
    times = f"drawn and marked {drawn - sent:.1f} s after the last, stored {stored - sent:.1f} s"
    return f"{title}: {RATE:.0f} presses a second; {times}; scans by reviews {dict(counts)}"


# Each press comes at its own time; those of a time when the page is at work come right after it,
# as from a keyboard.
PRESS = """([times, rate]) => new Promise(done => {
  const start = performance.now(); let sent = 0;
  const timer = setInterval(() => {
    while (sent < times && performance.now() - start >= 1000 * sent / rate) {
      const press = new KeyboardEvent('keydown', {key: 'a', bubbles: true, composed: true});
      document.body.dispatchEvent(press);
      sent++;
    }
    if (sent === times) { clearInterval(timer); done(); }
  }, 5);
})"""


async def press(page: Page, times: int) -> float:
    """Press A so often at RATE, whether or not the page keeps up; return when the last was sent."""
    await page.evaluate(PRESS, [times, RATE])
    return time.monotonic()


async def marked(page: Page, count: int) -> None:
    """Wait until so many scans have their mark."""
    while await page.locator(".tl-list .tl-done").count() < count:
        await asyncio.sleep(0.1)


async def reviews(store: Store) -> Counter[int]:
    """Return how many scans of the last reader have how many reviews, once all have one."""
    end = time.monotonic() + 60
    while True:
        answers = list(iter_predictions(store))
        ids = [one.id for one in answers if one.owner == answers[0].owner]  # newest first
        found = reviews_by_prediction(store, ids)
        if len(found) == SCANS or time.monotonic() > end:
            return Counter(len(found.get(id, ())) for id in ids)
        await asyncio.sleep(0.5)


def _scans(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    drawn = [draw_phantom("mri", "meningioma", seed=s, plane="axial", side=256) for s in range(3)]
    paths = []
    for number in range(SCANS):
        pixels = np.roll(drawn[number % 3].pixels, number // 3, axis=1)
        path = folder / f"phantom-{number:02d}.png"
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        paths.append(path)
    return paths


if __name__ == "__main__":
    main()
