"""Draw the pictures of the documentation, from phantoms alone.

Run `python docs/make_pictures.py`; the same code gives the same files. No scan of a person may
ever be shown here.
"""

import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from PIL import Image as PILImage

from tumorlens.inputs.prepare import InputSpec, find_head, prepare
from tumorlens.records import Scan
from tumorlens.study.audit.duplicates.copies import find_copies
from tumorlens.study.audit.duplicates.fingerprints import ORIENTATIONS, orient
from tumorlens.study.phantom import CLASSES, PLANES, Phantom, draw_phantom
from tumorlens.study.phantom.anatomy import (
    Labels,
    Plan,
    Pose,
    fill,
    inset,
    new_canvas,
    paint,
    placed,
    random_pose,
    unmoved,
)
from tumorlens.study.phantom.axial import cerebral_plans
from tumorlens.study.phantom.coronal import coronal_plan
from tumorlens.study.phantom.findings import draw_mass, paint_mass, pushed_by
from tumorlens.study.phantom.sagittal import sagittal_plan
from tumorlens.study.phantom.tissues import (
    Image,
    Tissue,
    blurred,
    coverage,
    render,
    resized,
    scanned_ct,
    scanned_mri,
)

PICTURES = Path(__file__).with_name("pictures")
NOTE = "Synthetic phantoms, not scans of anybody. Research use only."
SIDE = 176
SEQUENCES = {
    "ct": "CT, brain window", "t1": "T1", "t2": "T2", "flair": "FLAIR",
    "t1ce": "T1 with gadolinium",
}  # fmt: skip
# Lower and upper end in HU, as the table of docs/concepts/ct-and-mri.md has them.
WINDOWS = {"brain": (0, 80), "subdural": (-25, 175), "stroke": (20, 60), "bone": (-800, 2000)}
# The phantom's CT is drawn for the brain window; these are the tissues that lie outside it.
BEYOND = {Tissue.AIR: -1000, Tissue.FAT: -90, Tissue.BONE: 1100, Tissue.MARROW: 450}


def main() -> None:
    """Draw all pictures."""
    PICTURES.mkdir(exist_ok=True)
    for name, draw in (
        ("prepare", draw_prepare), ("classes", draw_classes), ("copies", draw_copies),
        ("sequences", draw_sequences), ("tumors", draw_tumors), ("windows", draw_windows),
    ):  # fmt: skip
        figure = draw()
        figure.text(0.5, 0.004, NOTE, ha="center", va="bottom", fontsize=7, color="0.4")
        save(figure, PICTURES / f"{name}.png")
        plt.close(figure)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG of 64 shades of gray and amber; the same pixels give one file."""
    memory = BytesIO()
    figure.savefig(memory, dpi=90, format="png")
    ambers = np.linspace(0.3, 1, 12)[:, None] * (255, 176, 0)
    grays = np.repeat(np.linspace(0, 250, 52)[:, None], 3, axis=1)
    palette = PILImage.new("P", (1, 1))
    palette.putpalette(np.vstack([grays, ambers]).astype(np.uint8).tobytes())
    large = PILImage.open(memory, formats=["PNG"]).convert("RGB")
    small = large.quantize(palette=palette, dither=PILImage.Dither.NONE)
    # White as such: Pillow would not pick a 255 of the palette.
    small.putpalette(np.vstack([grays * 1.02, ambers]).astype(np.uint8).tobytes())
    small.save(path, optimize=True)


def draw_prepare() -> Figure:
    """Show two phantoms with burned-in marks before, during and after preparation."""
    phantoms = (
        draw_phantom("mri", "glioma", seed=16, plane="axial", side=256),
        draw_phantom("ct", "meningioma", seed=54, plane="axial", side=256),
    )
    figure, rows = open_grid(2, 3, size=(7.2, 5.1))
    titles = ("as stored", "the head that was found", "prepared, 128 x 128")
    for axes, phantom in zip(rows, phantoms, strict=True):
        scan = _framed(phantom)
        head = find_head(scan)
        shown = (scan.pixels, scan.pixels, prepare(scan, InputSpec()).pixels)
        for place, pixels, title in zip(axes, shown, titles, strict=True):
            show(place, pixels, title if phantom is phantoms[0] else "")
        axes[1].contour(head, [0.5], colors="#ffb000", linewidths=1.2)
        axes[0].set_ylabel(phantom.modality.upper(), fontsize=10)
    return figure


def _framed(phantom: Phantom) -> Scan:
    """Put a phantom off-center on a larger black page with a line of text, as exports are."""
    side = phantom.pixels.shape[0]
    page = np.zeros((side + 66, side + 110), np.uint8)
    page[30 : 30 + side, 15 : 15 + side] = phantom.pixels
    for text, place, size, gray in (
        ("PHANTOM 0001", (side - 40, 18), 1.0, 235),
        ("WL 40 WW 80", (side - 10, side + 56), 0.9, 200),
    ):
        cv2.putText(page, text, place, cv2.FONT_HERSHEY_PLAIN, size, [gray], 1, cv2.LINE_AA)
    return Scan(page.astype(np.float32), "phantom")


def draw_classes() -> Figure:
    """Show the six classes, one row a plane, tumors outlined."""
    figure, rows = open_grid(3, 6, size=(8.4, 4.6))
    for row, plane in enumerate(PLANES):
        for column, label in enumerate(CLASSES):
            modality, finding = label.split("_")
            finding = "glioma" if finding == "tumor" else finding
            phantom = draw_phantom(
                modality, finding, seed=100 * row + column, plane=plane, side=160
            )
            place = rows[row, column]
            show(place, phantom.pixels, label if row == 0 else "")
            if phantom.mask.any():
                place.contour(phantom.mask, [0.5], colors="#ffb000", linewidths=0.8)
            if column == 0:
                place.set_ylabel(plane, fontsize=9)
    return figure


def draw_copies() -> Figure:
    """Turn, mirror, brighten and re-encode one phantom, and write what the search says of each."""
    original = draw_phantom("mri", "meningioma", seed=3, plane="sagittal", side=192).pixels
    files = [_re_encoded(orient(original, turn), turn) for turn in range(len(ORIENTATIONS))]
    with tempfile.TemporaryDirectory() as folder:
        jpegs = (Path(folder, f"{n}.jpg") for n in range(len(files)))
        paths = [Path(folder, "original.png"), *jpegs]
        cv2.imwrite(str(paths[0]), original)
        for path, data in zip(paths[1:], files, strict=True):
            path.write_bytes(data)
        found = {link.b: link for link in find_copies(paths) if link.a == 0}
    figure, rows = open_grid(2, 5, size=(9.0, 4.3))
    places = [*rows[:, 1:].flat]
    show(rows[0, 0], original, "original")
    rows[1, 0].axis("off")
    for number, (place, data) in enumerate(zip(places, files, strict=True), start=1):
        link = found.get(number)
        title = f"{link.orientation}\n{link.kind}, {link.score:.2f}" if link else "not found"
        show(place, np.asarray(PILImage.open(BytesIO(data), formats=["JPEG"])), title)
    return figure


def _re_encoded(picture: NDArray[np.uint8], number: int) -> bytes:
    """Brighten or darken a picture and store it as a small JPEG."""
    gain = 0.75 + 0.08 * number
    changed = np.clip(picture * gain + 6, 0, 255).astype(np.uint8)
    size = 128 + 16 * number
    small = cv2.resize(changed, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


@dataclass(frozen=True)
class Head:
    """The anatomy of one phantom, to be imaged in any sequence."""

    plan: Plan
    pose: Pose
    labels: Labels
    surface: Labels
    seed: int


def draw_sequences() -> Figure:
    """Show one healthy head on CT and in four sequences, and the planes, one of them mirrored."""
    figure, rows = open_grid(2, 5, size=(9.0, 4.6))
    healthy = _anatomy(cerebral_plans()[0], "healthy", seed=21)
    for place, (column, title) in zip(rows[0], SEQUENCES.items(), strict=True):
        show(place, _imaged(healthy, column), title)
    axial = _imaged(_anatomy(cerebral_plans()[0], "glioma", seed=4), "t1ce")
    panels = (
        (axial, "axial", "RL"),
        (_imaged(_anatomy(coronal_plan(), "healthy", seed=5), "t1ce"), "coronal", "RL"),
        (_imaged(_anatomy(sagittal_plan(), "healthy", seed=6), "t1ce"), "sagittal", "AP"),
        (axial[:, ::-1], "axial, mirrored file:\nletters no longer true", "RL"),
    )
    for place, (pixels, title, sides) in zip(rows[1], panels, strict=False):
        show(place, pixels, title)
        for x, letter in zip((0.07, 0.93), sides, strict=True):
            place.text(x, 0.5, letter, transform=place.transAxes, ha="center", color="#ffb000")
    rows[1, 4].axis("off")
    return figure


def draw_tumors() -> Figure:
    """Show three types of tumor, each in one head on CT and in four sequences."""
    heads = {
        "glioma,\naxial": _anatomy(cerebral_plans()[0], "glioma", seed=4),
        "meningioma,\ncoronal": _anatomy(coronal_plan(), "meningioma", seed=12),
        "pituitary tumor,\nsagittal": _anatomy(sagittal_plan(), "pituitary", seed=6),
    }
    figure, rows = open_grid(3, 5, size=(9.2, 5.9))
    for number, (row, (name, head)) in enumerate(zip(rows, heads.items(), strict=True)):
        for place, (column, title) in zip(row, SEQUENCES.items(), strict=True):
            show(place, _imaged(head, column), "" if number else title)
        mass = resized(coverage(head.labels, *(t for t in Tissue if t >= Tissue.RIM)), SIDE)
        row[0].contour(mass, [0.5], colors="#ffb000", linewidths=0.8)
        row[0].set_ylabel(name, fontsize=9)
    return figure


def draw_windows() -> Figure:
    """Show one CT with subdural blood and a slight darkening in four windows."""
    values = _hounsfield(_anatomy(cerebral_plans()[0], "healthy", seed=21))
    figure, row = open_grid(1, 4, size=(9.0, 2.9))
    for place, (name, (low, high)) in zip(row, WINDOWS.items(), strict=True):
        pixels = np.clip((values - low) / (high - low), 0, 1) * 255
        show(place, pixels, f"{name}\n{low} to {high} HU")
    return figure


def _anatomy(plan: Plan, finding: str, *, seed: int) -> Head:
    """Paint one head, with the tumor of a finding, onto the label canvas."""
    rng = np.random.default_rng(seed)
    pose = random_pose(rng, scale=plan.scale)
    mass = draw_mass(finding, plan, rng)
    labels = new_canvas()
    for part in (*plan.shell, *plan.lobes):
        paint(labels, part, pose=pose, give=unmoved, ventricle_size=1.0)
    surface = labels.copy()
    for part in plan.deep:
        give = pushed_by(mass) if mass else unmoved
        paint(labels, part, pose=pose, give=give, ventricle_size=1.0)
    if mass:
        paint_mass(labels, mass, pose=pose, cavity=plan.cavity)
    return Head(plan, pose, labels, surface, seed)


def _rendered(head: Head, column: str) -> Image:
    rng = np.random.default_rng(head.seed)
    return render(head.labels, head.surface, column=column, folds=head.plan.folds, rng=rng)


def _imaged(head: Head, column: str) -> NDArray[np.float32]:
    """Image a head in one sequence; the folds of its cortex are the same in all."""
    scan = scanned_ct if column == "ct" else scanned_mri
    image = scan(resized(_rendered(head, column), SIDE), np.random.default_rng(head.seed + 1))
    return image.clip(0, 1) * 255


def _hounsfield(head: Head) -> NDArray[np.float32]:
    """Give a head's CT numbers in HU, with fresh blood on one side and mild edema on the other."""
    low, high = WINDOWS["brain"]
    values = low + (high - low) * _rendered(head, "ct")
    for tissue, number in BEYOND.items():
        share = coverage(head.labels, tissue)
        values = values * (1 - share) + number * share
    blood = _crescent(head)
    values = values * (1 - blood) + 65 * blood - 9 * _patch(head)
    noise = np.random.default_rng(head.seed).standard_normal(values.shape, dtype=np.float32)
    return resized(blurred(values + 4 * noise, 0.9), SIDE)


def _crescent(head: Head) -> Image:
    """Cover the space between skull and brain on the right of the picture, thick in the middle."""
    cavity = head.plan.cavity
    x, y = cavity.T
    depth = 0.09 * np.clip(1 - (np.abs(y) / 0.70) ** 2, 0, None) * (x > 0)
    inner = cavity + (inset(cavity, 0.1) - cavity) * (depth / 0.1)[:, None]
    stencil = new_canvas()
    fill(stencil, placed(head.pose, cavity), 1)
    fill(stencil, placed(head.pose, inner), 0)
    return coverage(stencil, Tissue(1)) * (1 - coverage(head.labels, Tissue.BONE, Tissue.MARROW))


def _patch(head: Head) -> Image:
    """Cover part of the brain on the left of the picture, with a soft edge."""
    stencil = new_canvas()
    wedge = np.array([(-0.26, 0.02), (-0.58, -0.30), (-0.62, 0.05), (-0.52, 0.38)])
    fill(stencil, placed(head.pose, wedge), 1)
    return blurred(coverage(stencil, Tissue(1)), 2.0)


def open_grid(rows: int, columns: int, *, size: tuple[float, float]) -> tuple[Figure, Any]:
    """Open a figure of `size` inches with room for the note below the panels."""
    layout = ConstrainedLayoutEngine(rect=(0, 0.03, 1, 0.97))
    return plt.subplots(rows, columns, figsize=size, layout=layout)


def show(place: Axes, pixels: NDArray, title: str) -> None:
    """Show a picture without ticks."""
    place.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    place.set_xticks([])
    place.set_yticks([])
    place.set_title(title, fontsize=9)


if __name__ == "__main__":
    main()
