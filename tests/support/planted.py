"""Two small sets of phantoms with planted faults, and an audit of them."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tumorlens.models.bundle import Bundle
from tumorlens.study.audit.run import Audit, audit_cases
from tumorlens.study.data.index import read_cases
from tumorlens.study.phantom import draw_phantom

Pixels = NDArray[np.uint8]
BURNED = "MUSTERMANN 1951"
ARTIST = "Erika Musterfrau"
ODD_NAME = '<b>x"&.png'
HEADS = (
    40,
    41,
    43,
    44,
    45,
    47,
    48,
    50,
    51,
    52,
    53,
    55,
    57,
    58,
    59,
    60,
    61,
    62,
    64,
    65,
    69,
    74,
    71,
    72,
    73,
    78,
    79,
)  # fmt: skip; seeds of phantoms without marks


@cache
def head_of(number: int) -> Pixels:
    """A head of its own, [128, 128], without marks."""
    plane = ("axial", "coronal", "sagittal")[number % 3]
    return draw_phantom("mri", "glioma", seed=HEADS[number], plane=plane, side=128).pixels


def write(path: Path, pixels: Pixels | Image.Image, **options: Any) -> Path:
    """Save a picture; the suffix names the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def brightened(pixels: Pixels) -> Pixels:
    """Another brightness, as an export may have."""
    return np.clip(pixels * 0.8 + 9, 0, 255).astype(np.uint8)


def with_text(pixels: Pixels) -> Pixels:
    """The picture under a line of burned-in text."""
    page = np.pad(pixels, ((40, 0), (40, 40)))
    cv2.putText(page, BURNED, (4, 20), cv2.FONT_HERSHEY_PLAIN, 0.9, [230], 1, cv2.LINE_AA)
    return page


def with_artist(pixels: Pixels) -> tuple[Image.Image, Image.Exif]:
    """A picture and metadata that name somebody."""
    exif = Image.Exif()
    exif[0x013B] = ARTIST
    return Image.fromarray(pixels), exif


def plant(root: Path) -> list[Path]:
    """Write a set that publishes a split, and a register of patients; give both folders.

    Of the six test files of `hospital` one is a mirrored copy of a training file, and one is of
    a patient that trains, which only `register` tells.
    """
    hospital, register = root / "hospital", root / "register"
    healthy, glioma = hospital / "train/mri_healthy", hospital / "train/mri_glioma"
    for number in range(6):
        write(healthy / f"{number}.png", head_of(number))
        write(glioma / f"{number}.png", head_of(9 + number))
    artist, exif = with_artist(head_of(6))
    write(healthy / "artist.jpg", artist, exif=exif, quality=95)
    write(healthy / "color.png", Image.fromarray(head_of(7)).convert("RGBA"))
    write(healthy / ODD_NAME, head_of(8))
    write(healthy / "text.png", with_text(head_of(15)))
    (healthy / "broken.png").write_bytes(b"no picture at all")
    write(healthy / "wrong.png", brightened(head_of(9)))  # glioma/0.png
    write(hospital / "train/mri_tumor/vague.png", np.rot90(head_of(10)).copy())  # glioma/1.png
    write(glioma / "patient.png", head_of(20))
    tested = hospital / "test"
    for number in (16, 17):
        write(tested / f"mri_healthy/{number}.png", head_of(number))
    write(tested / "mri_glioma/flipped.png", np.fliplr(head_of(11)).copy())  # train, 2.png
    write(tested / "mri_glioma/patient.png", head_of(18))
    write(tested / "mri_glioma/clean.png", head_of(19))
    write(tested / "pred/unknown.png", head_of(21))
    for name, pixels in (("a", head_of(18)), ("b", head_of(20)), ("c", head_of(22))):
        write(register / f"{name}.png", np.flipud(pixels).copy())
    rows = ("path,label,patient", "a.png,glioma,p1", "b.png,glioma,p1", "c.png,glioma,p2")
    (register / "cases.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return [hospital, register]


def audit_of(
    folders: Sequence[Path], bundle: Bundle, *, cache: Path, parts: Sequence[str] | None = None
) -> Audit:
    """Audit folders as the command line does."""
    cases = read_cases(list(folders), unlabeled=True)
    return audit_cases(cases, bundle, cache=cache, parts=parts)
