"""What an exploration leaves: explore.json, features.csv, the PNGs that it names, and a page.

Color scales are told apart without color vision (cividis; orange against purple).
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.files import write_file
from tumorlens.inputs.prepare import InputSpec
from tumorlens.json_records import write_json
from tumorlens.progress import Progress, Steps, silent, silent_steps
from tumorlens.records import Case
from tumorlens.study.data.groups import Groups
from tumorlens.study.explore.class_images import ClassStatistics, MeanDifference, Montage
from tumorlens.study.explore.held_out_performance import (
    Experiment,
    HeldOutPerformance,
    read_experiments,
)
from tumorlens.study.explore.hypothesis_tests import Evidence, judge_hypotheses
from tumorlens.study.explore.pages import render_exploration, render_tabular
from tumorlens.study.explore.record import (
    RECORD,
    ClassImages,
    Counts,
    ExploreResult,
    ImageContrast,
    Judgment,
    MeanTest,
    image_file,
)
from tumorlens.study.explore.run import Exploration, class_balance, explore
from tumorlens.study.explore.tabular import TabularResult, modality_name
from tumorlens.study.features.table import write_features
from tumorlens.study.plotting import translate_figure

PAGE, FEATURES_TABLE = "explore.html", "features.csv"
TABULAR_RECORD, TABULAR_PAGE = "tabular.json", "tabular.html"
COLUMNS = 6  # of a montage
DPI = 90
CONTOUR = "#009e73"
MAX_DEVIATION = 127.5  # of values from 0 to 255
MIN_SCALE = 5.0  # gray levels, so that two like classes do not look different


def study_set(
    cases: Sequence[Case],
    spec: InputSpec,
    *,
    out: Path,
    cache: Path,
    groups: Groups,
    held_out: HeldOutPerformance,
    experiments: Sequence[Experiment] = (),
    folders: Sequence[str],
    now: datetime | None = None,
    steps: Steps = silent_steps,
) -> ExploreResult:
    """Explore a set, judge the hypotheses, and write explore.json, explore.html and the rest.

    `groups` are of the same cases in the same order; `held_out` and `experiments` are what
    networks reached, for hypotheses that need it. `now` dates it.
    """
    found = explore(cases, spec, cache=cache, groups=groups, steps=steps)
    judgments = judge_hypotheses(Evidence(found, held_out, experiments))
    result = summarize(found, judgments, folders=folders, now=now or datetime.now(UTC))
    with steps("plots") as report:
        write_exploration(found, result, out, progress=report)
    return result


def study_sets(
    cases: Sequence[Case],
    groups: Groups,
    *,
    out: Path,
    cache: Path,
    results: Path,
    steps: Steps = silent_steps,
    on_set: Callable[[str], None] = lambda _name: None,
) -> dict[str, ExploreResult]:
    """Study each data set into a folder of its own; hypotheses on networks by `results`, a file.

    `groups`, of the same cases, are of all sets together; `on_set` hears the name of each set
    when its study starts.
    """
    experiments = read_experiments(results)
    held_out = HeldOutPerformance(reason="no network was trained on this set")
    found = {}
    for name in dict.fromkeys(case.dataset for case in cases):
        on_set(name)
        rows = [i for i, case in enumerate(cases) if case.dataset == name]
        found[name] = study_set(
            [cases[i] for i in rows], InputSpec(), out=out / name, cache=cache,
            groups=groups.take(rows), held_out=held_out, experiments=experiments, folders=[name],
            steps=steps,
        )  # fmt: skip
    return found


def summarize(
    found: Exploration, judgments: Sequence[Judgment], *, folders: Sequence[str], now: datetime
) -> ExploreResult:
    """Return everything that explore.json holds; `now` dates it."""
    return ExploreResult(
        created=now.isoformat(timespec="seconds"),
        folders=tuple(folders),
        n=len(found.cases),
        unreadable=int((~found.table.usable).sum()),
        groups=len({case.group for case in found.cases}),
        audit=found.audit,
        input=found.spec,
        features_table=FEATURES_TABLE,
        balance=class_balance(found.cases),
        sizes=found.sizes,
        images=_class_images(found),
        contrasts=tuple(_contrast(difference) for difference in found.differences.values()),
        features=found.studies,
        frames=found.frames,
        shortcuts=found.shortcuts,
        hypotheses=tuple(judgments),
    )


def _class_images(exploration: Exploration) -> dict[str, ClassImages]:
    counts = exploration.counts
    found = {}
    for name, statistics in exploration.statistics.items():
        sample, label = exploration.montages[name], name if name in labels.LABELS else None
        found[name] = ClassImages(
            n=counts[name].n,
            n_groups=counts[name].n_groups,
            label=label,
            modality=modality_name(name) if label else None,
            mean=image_file("mean", name),
            variability=image_file("variability", name),
            montage=image_file("montage", name) if sample.images else None,
            montage_n=len(sample.images),
            montage_withheld=sample.withheld,
            histogram=tuple(statistics.histogram.tolist()),
        )
    return found


def _contrast(found: MeanDifference) -> ImageContrast:
    image = image_file("difference", found.second, found.first)
    if found.test is None:
        return ImageContrast(found.first, found.second, image)
    test, significant = found.test, found.test.significant
    sizes = found.tested_pixels()[significant].tolist()
    return ImageContrast(found.first, found.second, image, MeanTest(
        p=float(test.p.min()),
        threshold=test.threshold,
        n_groups_first=test.n_first,
        n_groups_second=test.n_second,
        permutations=test.permutations,
        significant_share=float(significant.mean()),
        brightest=max(sizes, default=None),
        darkest=min(sizes, default=None),
    ))  # fmt: skip


def write_exploration(
    exploration: Exploration, result: ExploreResult, out: Path, *, progress: Progress = silent
) -> None:
    """Write explore.json, features.csv, the PNGs and the page into a folder."""
    images: dict[str, bytes] = {}
    total = len(result.image_names())
    for name, data in plot_images(exploration):
        images[name] = data
        write_file(out / name, data)
        progress(len(images), total)
    write_features(exploration.table, out / FEATURES_TABLE)
    write_json(result, out / RECORD)
    write_file(out / PAGE, render_exploration(result, images))


def write_tabular(result: TabularResult, out: Path) -> None:
    """Write tabular.json and the page tabular.html into a folder."""
    write_json(result, out / TABULAR_RECORD)
    write_file(out / TABULAR_PAGE, render_tabular(result))


def plot_images(exploration: Exploration) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each PNG, one after the other."""
    counts = exploration.counts
    for name, statistics in exploration.statistics.items():
        n = f"n={counts[name].n:,} in {counts[name].n_groups:,} groups"
        yield image_file("mean", name), plot_mean(statistics, f"{name}: mean\n{n}")
        yield (
            image_file("variability", name),
            plot_variability(statistics, f"{name}: variability\n{n}"),
        )
        sampled = exploration.montages[name]
        if sampled.images:
            yield image_file("montage", name), plot_montage(sampled, f"{name}: {{}} of {n}")
    for found in exploration.differences.values():
        title = f"{found.second} less {found.first}\n" + _tested(found, counts)
        yield image_file("difference", found.second, found.first), plot_difference(found, title)


def _tested(found: MeanDifference, counts: Mapping[str, Counts]) -> str:
    scans = f"n={counts[found.second].n:,} and {counts[found.first].n:,}"
    if found.test is None:
        return f"{scans}; too few groups to test"
    return f"{scans}; tested on {found.test.n_second:,} and {found.test.n_first:,} groups"


def plot_mean(statistics: ClassStatistics, title: str) -> bytes:
    """Plot a mean image in gray, 0 to 255."""
    figure, _ = _square(statistics.mean, title, "gray level", cmap="gray", vmin=0, vmax=255)
    return _png(figure)


def plot_variability(statistics: ClassStatistics, title: str) -> bytes:
    """Plot the standard deviation over scans; all images share one scale."""
    scale = {"cmap": "cividis", "vmin": 0, "vmax": MAX_DEVIATION}
    label = "standard deviation, gray levels"
    return _png(_square(statistics.deviation, title, label, **scale)[0])


def plot_difference(found: MeanDifference, title: str) -> bytes:
    """Plot a difference of means, orange where the first named is brighter, purple where darker.

    A line runs around what the test calls more than chance.
    """
    pixels, significant = found.pixels, found.significant
    limit = max(MIN_SCALE, float(np.quantile(np.abs(pixels), 0.999)))
    scale = {"cmap": "PuOr_r", "vmin": -limit, "vmax": limit}
    figure, axes = _square(pixels, title, "difference, gray levels", **scale)
    if significant is not None and significant.any() and not significant.all():
        side = pixels.shape[0]
        mask = cv2.resize(
            significant.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST
        )
        axes.contour(mask, [0.5], colors=CONTOUR, linewidths=0.9)
    return _png(figure)


def plot_montage(montage: Montage, title: str) -> bytes:
    """Plot sampled scans side by side; `{}` in the title becomes their number."""
    tiles = _tiled(montage.images)
    height, width = tiles.shape
    figure, axes = plt.subplots(figsize=(width / DPI + 0.2, height / DPI + 0.45))
    figure.subplots_adjust(0, 0, 1, 1 - 0.35 / (height / DPI + 0.45))
    axes.imshow(tiles, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.axis("off")
    axes.set_title(title.format(len(montage.images)), fontsize=9)
    return _png(figure)


def _tiled(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lay squares out in rows of COLUMNS; what is left of the last row is black."""
    side, columns = images[0].shape[0], min(COLUMNS, len(images))
    tiles = np.zeros((math.ceil(len(images) / columns) * side, columns * side), np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        tiles[row * side :, column * side :][:side, :side] = image
    return tiles


def _square(
    pixels: NDArray[np.float64], title: str, label: str, **scale: Any
) -> tuple[Figure, Axes]:
    """Draw pixels with a title and a labeled bar of colors."""
    figure, axes = plt.subplots(figsize=(3.9, 3.5))
    figure.subplots_adjust(0.02, 0.02, 0.91, 0.88)  # as a layout engine would, in half the time
    axes.set_title(title, fontsize=8)
    axes.axis("off")
    bar = figure.colorbar(axes.imshow(pixels, **scale), ax=axes, shrink=0.85)
    bar.set_label(label, fontsize=7)
    bar.ax.tick_params(labelsize=7)
    return figure, axes


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    translate_figure(figure)
    # No version or date inside: the same pixels give the same file.
    figure.savefig(data, format="png", dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    return data.getvalue()
