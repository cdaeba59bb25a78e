"""Take the dashboard's pictures: `python docs/make_dashboard_pictures.py STUDY`.

STUDY is what `tumorlens demo` leaves: phantoms alone, so that no picture shows a patient. With
`--all DIR` every part of every page, and every page that the demo wrote, is taken whole in three
widths and both themes, to be looked at.
"""

import io
import sys
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent
PICTURES = Path(__file__).parent / "pictures"
sys.path.insert(0, str(ROOT / "tests"))

from support.browser_dashboard import chromium, dashboard, drop, open_page, settle  # noqa: E402

from tumorlens.services.dashboard.layout import PAGES  # noqa: E402
from tumorlens.services.dashboard.pages import audit, explore, performance  # noqa: E402
from tumorlens.services.dashboard.texts import translator  # noqa: E402
from tumorlens.services.dashboard.uploads import EXAMPLES  # noqa: E402
from tumorlens.study.phantom.volumes import draw_volume, write_dicom  # noqa: E402

Scheme = Literal["light", "dark"]

WIDTHS = {"desk": 1280, "tablet": 820, "phone": 390}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
PARTS = {"explore": explore.PARTS, "audit": audit.PARTS, "performance": performance.PARTS}
MAX_HEIGHT, MAX_SHOWN = 6000, 1500  # of a picture of a whole page, of one in the documentation


def main(study: Path, everything: Path | None) -> None:
    """Take the pictures of the documentation, or every page in every way."""
    with (
        tempfile.TemporaryDirectory() as home,
        dashboard(Path(home) / "home", "--study", str(study.resolve())) as running,
        chromium() as browser,
    ):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
        page = context.new_page()
        open_page(page, running.url)
        _read_a_series(page, Path(home))
        for name in PAGES:
            page.set_viewport_size({"width": 1280, "height": 900})  # its menu has names
            if name != "read":
                page.get_by_role("link", name=translator("en")(f"page.{name}"), exact=True).click()
            settle(page)
            if everything is None:
                _take(page, PICTURES / f"dashboard-{name}.png", most=MAX_SHOWN)
                if name == "read":
                    _take(page, PICTURES / "dashboard-dark.png", scheme="dark", most=MAX_SHOWN)
            else:
                _take_parts(page, everything, name)
        if everything is not None:
            _take_static_pages(browser, study, everything)


def _take_parts(page: Page, out: Path, name: str) -> None:
    """Take every part of a page in every way."""
    t = translator("en")
    for part in PARTS.get(name, ("",)):
        page.set_viewport_size({"width": 1280, "height": 900})
        if part:
            page.get_by_role("radio", name=t(f"{name}.part_{part}"), exact=True).click()
            settle(page)
        for place, width in WIDTHS.items():
            for scheme in SCHEMES:
                file = f"{name}-{part}-{place}-{scheme}.png".replace("--", "-")
                _take(page, out / file, width=width, scheme=scheme)


def _take_static_pages(browser: Browser, study: Path, out: Path) -> None:
    """Take the pages that a demo wrote."""
    page = browser.new_page()
    for path in sorted(study.rglob("*.html")):
        page.goto(path.resolve().as_uri())
        for place, width in WIDTHS.items():
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_timeout(1500)
                name = "-".join(path.relative_to(study).with_suffix("").parts)
                file = out / f"static-{name}-{place}-{scheme}.png"
                page.screenshot(path=file, full_page=True)
                print(file)


def _read_a_series(page: Page, home: Path) -> None:
    """Drop a phantom's CT series and two slices of phantoms, and agree to the first."""
    write_dicom(draw_volume("ct", "glioma", seed=4, side=256), home / "CT head", seed=4)
    drop(page, *sorted((home / "CT head").iterdir()), *sorted(EXAMPLES.glob("*mri*.png")))
    page.get_by_text("24 slices").first.wait_for()
    settle(page)
    page.wait_for_selector(".tl-viewer[data-slice]")
    page.keyboard.press("a")
    page.wait_for_selector(".tl-done")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(3000)
    settle(page)


def _take(
    page: Page, out: Path, *, width: int = 1280, scheme: Scheme = "light", most: int = MAX_HEIGHT
) -> None:
    """Take a page as high as it is, `most` pixels at most."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    for _ in range(2):  # the viewer grows with the window
        settle(page)
        height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({"width": width, "height": min(most, height)})
    page.wait_for_timeout(2500)
    settle(page)
    out.parent.mkdir(parents=True, exist_ok=True)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.save(out, optimize=True)
    print(out)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    all_out = Path(arguments[arguments.index("--all") + 1]) if "--all" in arguments else None
    main(Path(arguments[0]), all_out)
