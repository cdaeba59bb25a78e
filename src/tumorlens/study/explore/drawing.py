"""The pictures of an exploration, as PNG: means, variability, differences and montages.

Color scales are told apart without color vision (cividis; orange against purple).
"""

import io
import math
from collections.abc import Iterator, Sequence

import matplotlib as mpl

mpl.use("Agg")
import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from tumorlens.study.explore.montage import Montage
from tumorlens.study.explore.pictures import ClassPictures, Difference
from tumorlens.study.explore.run import Exploration

COLUMNS = 6  # of a montage
DPI = 90
CONTOUR = "#009e73"
LARGEST_DEVIATION = 127.5  # of values from 0 to 255
LEAST_SCALE = 5.0  # grey levels, so that two like classes do not look different


def draw_pictures(exploration: Exploration) -> Iterator[tuple[str, bytes]]:
    """Give the name and the bytes of each PNG, one after the other."""
    counts = exploration.counts
    for name, kept in exploration.pictures.items():
        n = _counted(*counts[name])
        yield file_name("mean", name), draw_mean(kept, f"{name}: mean\n{n}")
        yield file_name("variability", name), draw_variability(kept, f"{name}: variability\n{n}")
        montage = exploration.montages[name]
        if montage.pictures:
            yield file_name("montage", name), draw_montage(montage, f"{name}: {{}} of {n}")
    for found in exploration.differences:
        title = f"{found.second} less {found.first}\n" + _tested(found, counts)
        yield file_name("difference", found.second, found.first), draw_difference(found, title)


def file_name(kind: str, *names: str) -> str:
    """Name a PNG: `mean_mri_glioma.png`."""
    return "_".join((kind, *names)).replace(" ", "_") + ".png"


def _counted(n: int, groups: int) -> str:
    return f"n={n:,} in {groups:,} groups"


def _tested(found: Difference, counts: dict[str, tuple[int, int]]) -> str:
    scans = f"n={counts[found.second][0]:,} and {counts[found.first][0]:,}"
    if found.test is None:
        return f"{scans}; too few groups to test"
    return f"{scans}; tested on {found.test.n_second:,} and {found.test.n_first:,} groups"


def draw_mean(kept: ClassPictures, title: str) -> bytes:
    """Draw a mean picture in grey, 0 to 255."""
    figure, axes = _square(title)
    _scale(figure, axes, axes.imshow(kept.mean, cmap="gray", vmin=0, vmax=255), "grey level")
    return _png(figure)


def draw_variability(kept: ClassPictures, title: str) -> bytes:
    """Draw the standard deviation over scans; all pictures share one scale."""
    figure, axes = _square(title)
    shown = axes.imshow(kept.deviation, cmap="cividis", vmin=0, vmax=LARGEST_DEVIATION)
    _scale(figure, axes, shown, "standard deviation, grey levels")
    return _png(figure)


def draw_difference(found: Difference, title: str) -> bytes:
    """Draw a difference of means, orange where the first named is brighter, purple where darker.

    A line runs around what the test calls more than chance.
    """
    figure, axes = _square(title)
    pixels = found.difference
    limit = max(LEAST_SCALE, float(np.quantile(np.abs(pixels), 0.999)))
    shown = axes.imshow(pixels, cmap="PuOr_r", vmin=-limit, vmax=limit)
    significant = found.significant
    if significant is not None and significant.any() and not significant.all():
        side = pixels.shape[0]
        mask = cv2.resize(
            significant.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST
        )
        axes.contour(mask, [0.5], colors=CONTOUR, linewidths=0.9)
    _scale(figure, axes, shown, "difference, grey levels")
    return _png(figure)


def draw_montage(montage: Montage, title: str) -> bytes:
    """Draw sampled scans side by side; `{}` in the title becomes their number."""
    tiles = _tiled(montage.pictures)
    height, width = tiles.shape
    figure, axes = plt.subplots(figsize=(width / DPI + 0.2, height / DPI + 0.45))
    figure.subplots_adjust(0, 0, 1, 1 - 0.35 / (height / DPI + 0.45))
    axes.imshow(tiles, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.axis("off")
    axes.set_title(title.format(len(montage.pictures)), fontsize=9)
    return _png(figure)


def _tiled(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lay squares out in rows of COLUMNS; what is left of the last row is black."""
    side, columns = pictures[0].shape[0], min(COLUMNS, len(pictures))
    tiles = np.zeros((math.ceil(len(pictures) / columns) * side, columns * side), np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        tiles[row * side :, column * side :][:side, :side] = picture
    return tiles


def _square(title: str) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(3.7, 3.5), layout="constrained")
    axes.set_title(title, fontsize=8)
    axes.axis("off")
    return figure, axes


def _scale(figure: Figure, axes: Axes, shown: AxesImage, label: str) -> None:
    bar = figure.colorbar(shown, ax=axes, shrink=0.85)
    bar.set_label(label, fontsize=7)
    bar.ax.tick_params(labelsize=7)


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    # No version or date inside: the same pixels give the same file.
    figure.savefig(data, format="png", dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    return data.getvalue()
