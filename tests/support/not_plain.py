"""Images that are not one plain slice, made of phantoms: marks, heatmaps, sheets, masks."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.phantom import draw_phantom

KINDS = (("ct", "healthy"), ("ct", "glioma"), ("mri", "healthy"), ("mri", "glioma"),
         ("mri", "meningioma"), ("mri", "pituitary"))  # fmt: skip
GREEN, RED, YELLOW = (0, 255, 0), (255, 0, 0), (255, 255, 0)
Gray = NDArray[np.uint8]  # [h, w]
Color = NDArray[np.uint8]  # [h, w, 3], red green blue


def phantom(number: int, *, side: int = 192) -> Gray:
    """Draw one of the kinds in turn."""
    modality, finding = KINDS[number % len(KINDS)]
    return draw_phantom(modality, finding, seed=number, side=side).pixels


def colored(pixels: Gray) -> Color:
    """Return the same image in three equal channels."""
    return np.repeat(pixels[..., None], 3, axis=2)


def with_box(
    pixels: Gray, *, color: Sequence[int] = GREEN, thickness: int = 2, text: str = "tumor 0.98"
) -> Color:
    """Draw a box with text on the middle of the head."""
    image, side = colored(pixels), pixels.shape[0]
    corner, end = (side * 4 // 10, side * 4 // 10), (side * 6 // 10, side * 6 // 10)
    cv2.rectangle(image, corner, end, color, thickness)
    cv2.putText(image, text, (corner[0], corner[1] - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4,
                color, 1)  # fmt: skip
    return image


def with_heatmap(pixels: Gray, *, colormap: int = cv2.COLORMAP_JET, opacity: float = 0.4) -> Color:
    """Lay a Grad-CAM with one hot spot over the image, as most tools draw it."""
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    middle, width = np.array(pixels.shape) * 0.45, pixels.shape[0] * 0.15
    heat = np.exp(-((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2) / (2 * width**2))
    drawn = cv2.applyColorMap((heat * 255).astype(np.uint8), colormap)[..., ::-1]
    return (colored(pixels) * (1 - opacity) + drawn * opacity).astype(np.uint8)


def sheet(columns: int, rows: int, *, first: int = 0, side: int = 192, line: int = 0) -> Gray:
    """Lay phantoms side by side; a bright line of `line` pixels frames each of them."""
    tiles = [
        np.pad(phantom(first + i, side=side), line, constant_values=255)
        for i in range(columns * rows)
    ]
    return np.vstack([np.hstack(tiles[r * columns : (r + 1) * columns]) for r in range(rows)])


def as_jpeg(image: Gray | Color, quality: int = 85) -> bytes:
    """Encode with halved color, as cameras and exports do."""
    stored = image[..., ::-1] if image.ndim == 3 else image
    return cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def as_png(image: Gray | Color) -> bytes:
    """Encode without loss."""
    return cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()
