"""How much a browser loads for the first look at the Read page, and from where.

Opens the page in Debian's chromium with an empty cache, waits until its first scan is drawn, and
prints the bytes on the line (compressed as sent), the largest files, and every other address asked.

    python benchmarks/dashboard_load.py
"""

import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.browser_dashboard import chromium, dashboard, open_page

OWN = re.compile(r"(http|ws)://localhost|blob:|data:")


def main() -> None:
    """Open and count."""
    with (
        tempfile.TemporaryDirectory() as home,
        dashboard(Path(home) / "home") as running,
        chromium() as browser,
    ):
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        line = page.context.new_cdp_session(page)
        urls: dict[str, str] = {}
        sizes: dict[str, float] = {}
        line.on("Network.requestWillBeSent",
                lambda e: urls.__setitem__(e["requestId"], e["request"]["url"]))  # fmt: skip
        line.on("Network.loadingFinished",
                lambda e: sizes.__setitem__(e["requestId"], e["encodedDataLength"]))  # fmt: skip
        line.send("Network.enable")
        open_page(page, running.url)
        page.wait_for_selector(".tl-viewer[data-slice]")
        page.wait_for_timeout(5000)
        print(f"{sum(sizes.values()) / 1e6:.2f} MB in {len(sizes)} answers")
        for id, size in sorted(sizes.items(), key=lambda row: -row[1])[:6]:
            print(f"{size / 1e3:8.0f} kB  {Path(urls[id].split('?')[0]).name}")
        print("asked elsewhere:", [url for url in urls.values() if not OWN.match(url)] or "nothing")


if __name__ == "__main__":
    main()
