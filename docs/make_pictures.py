"""Draw the pictures of the documentation, from phantoms alone.

Run `python docs/make_pictures.py`; the same code gives the same files. No scan of a person may
ever be shown here.
"""

import tempfile
from pathlib import Path

import cv2
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tumorlens.inputs.prepare import InputSpec, find_head, prepare
from tumorlens.records import Scan
from tumorlens.study.audit.copies import find_copies
from tumorlens.study.audit.fingerprints import ORIENTATIONS, orient
from tumorlens.study.phantom import CLASSES, PLANES, Phantom, draw_phantom

PICTURES = Path(__file__).with_name("pictures")
NOTE = "Synthetic phantoms, not scans of anybody. Research use only."


def main() -> None:
    """Draw all pictures."""
    PICTURES.mkdir(exist_ok=True)
    for name, draw in (
        ("prepare", draw_prepare),
        ("classes", draw_classes),
        ("copies", draw_copies),
    ):
        figure = draw()
        figure.text(0.5, 0.004, NOTE, ha="center", va="bottom", fontsize=7, color="0.4")
        # No version or date inside: the same pixels give the same file.
        figure.savefig(PICTURES / f"{name}.png", dpi=90, metadata={"Software": None})
        plt.close(figure)


def draw_prepare() -> Figure:
    """Show two phantoms with burned-in marks before, during and after preparation."""
    phantoms = (
        draw_phantom("mri", "glioma", seed=16, plane="axial", side=256),
        draw_phantom("ct", "meningioma", seed=54, plane="axial", side=256),
    )
    figure, rows = plt.subplots(2, 3, figsize=(7.2, 5.1), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))
    titles = ("as stored", "the head that was found", "prepared, 128 x 128")
    for axes, phantom in zip(rows, phantoms, strict=True):
        scan = _framed(phantom)
        head = find_head(scan)
        shown = (scan.pixels, scan.pixels, prepare(scan, InputSpec()).pixels)
        for place, pixels, title in zip(axes, shown, titles, strict=True):
            _show(place, pixels, title if phantom is phantoms[0] else "")
        axes[1].contour(head, [0.5], colors="#ffb000", linewidths=1.2)
        axes[0].set_ylabel(phantom.modality.upper(), fontsize=10)
    return figure


def _framed(phantom: Phantom) -> Scan:
    """Put a phantom off-center on a larger black page with a line of text, as exports are."""
    side = phantom.pixels.shape[0]
    page = np.zeros((side + 66, side + 110), np.uint8)
    page[30 : 30 + side, 15 : 15 + side] = phantom.pixels
    cv2.putText(
        page, "PHANTOM 0001", (side - 40, 18), cv2.FONT_HERSHEY_PLAIN, 1, [235], 1, cv2.LINE_AA
    )
    cv2.putText(
        page,
        "WL 40 WW 80",
        (side - 10, side + 56),
        cv2.FONT_HERSHEY_PLAIN,
        0.9,
        [200],
        1,
        cv2.LINE_AA,
    )
    return Scan(page.astype(np.float32), "phantom")


def draw_classes() -> Figure:
    """Show the six classes, one row a plane, tumors outlined."""
    figure, rows = plt.subplots(3, 6, figsize=(8.4, 4.6), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))
    for row, plane in enumerate(PLANES):
        for column, label in enumerate(CLASSES):
            modality, finding = label.split("_")
            finding = "glioma" if finding == "tumor" else finding
            phantom = draw_phantom(
                modality, finding, seed=100 * row + column, plane=plane, side=160
            )
            place = rows[row, column]
            _show(place, phantom.pixels, label if row == 0 else "")
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
        paths = [
            Path(folder, "original.png"),
            *(Path(folder, f"{n}.jpg") for n in range(len(files))),
        ]
        cv2.imwrite(str(paths[0]), original)
        for path, data in zip(paths[1:], files, strict=True):
            path.write_bytes(data)
        found = {link.b: link for link in find_copies(paths) if link.a == 0}
    figure, rows = plt.subplots(2, 5, figsize=(9.0, 4.3), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0.03, 1, 0.97))
    places = [*rows[:, 1:].flat]
    _show(rows[0, 0], original, "original")
    rows[1, 0].axis("off")
    for number, (place, data) in enumerate(zip(places, files, strict=True), start=1):
        link = found.get(number)
        title = f"{link.orientation}\n{link.kind}, {link.score:.2f}" if link else "not found"
        _show(place, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE), title)
    return figure


def _re_encoded(picture: NDArray[np.uint8], number: int) -> bytes:
    """Brighten or darken a picture and store it as a small JPEG."""
    gain = 0.75 + 0.08 * number
    changed = np.clip(picture * gain + 6, 0, 255).astype(np.uint8)
    size = 128 + 16 * number
    small = cv2.resize(changed, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def _show(place: Axes, pixels: NDArray, title: str) -> None:
    place.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    place.set_xticks([])
    place.set_yticks([])
    place.set_title(title, fontsize=9)


if __name__ == "__main__":
    main()
