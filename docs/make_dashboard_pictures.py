"""Take the dashboard's pictures: `python docs/make_dashboard_pictures.py STUDY`.

STUDY is what `tumorlens demo` leaves: phantoms alone, so that no picture shows a patient. With
`--all DIR` every page is taken in both widths and both themes, to be looked at.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent
PICTURES = Path(__file__).parent / "pictures"
sys.path.insert(0, str(ROOT / "tests"))

from support.browser_dashboard import chromium, dashboard, open_page, settle  # noqa: E402

from tumorlens.services.dashboard.layout import PAGES  # noqa: E402

HEIGHTS = {"read": 1010, "explore": 1080, "audit": 1150, "performance": 1330, "hypotheses": 1150,
           "about": 1300}  # fmt: skip
WIDTHS = {"desk": 1280, "tablet": 820}


def main(study: Path, everything: Path | None) -> None:
    """Take the pictures of the documentation, or every page in every way."""
    with (
        tempfile.TemporaryDirectory() as home,
        dashboard(Path(home), "--study", str(study.resolve())) as running,
        chromium() as browser,
    ):
        for name in PAGES:
            if everything is None:
                _take(browser, running.url, name, PICTURES / f"dashboard-{name}.png")
                continue
            for place, width in WIDTHS.items():
                for scheme in ("light", "dark"):
                    out = everything / f"{name}-{place}-{scheme}.png"
                    _take(browser, running.url, name, out, width=width, scheme=scheme)
        if everything is None:
            out = PICTURES / "dashboard-dark.png"
            _take(browser, running.url, "read", out, scheme="dark")


def _take(
    browser: Browser, url: str, name: str, out: Path, *, width: int = 1280, scheme: str = "light"
) -> None:
    size = {"width": width, "height": HEIGHTS[name] * (3 if width < 1000 else 2) // 2}
    if out.parent == PICTURES:
        size["height"] = HEIGHTS[name]
    context = browser.new_context(viewport=size, color_scheme=scheme, locale="en-US")
    page = context.new_page()
    open_page(page, f"{url}/{'' if name == 'read' else name}")
    _wait_for_charts(page)
    _store(page.screenshot(), out)
    context.close()


def _wait_for_charts(page: Page) -> None:
    page.wait_for_timeout(1500)
    settle(page)


def _store(png: bytes, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(png)).convert("RGB").save(out, optimize=True)
    print(out)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    all_out = Path(arguments[arguments.index("--all") + 1]) if "--all" in arguments else None
    main(Path(arguments[0]), all_out)
