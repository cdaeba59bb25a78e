"""What a network learns from: the usable scans of a part, and what its recipe adds to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import BlankImageError, TrainingError
from tumorlens.files import write_table
from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.progress import Progress, silent
from tumorlens.records import Case, Scan
from tumorlens.study.data.acquisition import level_shares, sequence_of, source_of
from tumorlens.study.data.masks import prepared_masks
from tumorlens.study.phantom.out_of_distribution import draw_ood_image
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.data.lesion_masks import LesionMasks, find_lesion_masks

UNREADABLE_COLUMNS = ("path", "label", "error")
MIN_MASKED = 0.2  # of the MRI tumors, for counterfactual images and the loss on localization
OOD_SEED = 1_000_000  # of the first image out of distribution


@dataclass(frozen=True)
class TrainingSet:
    """Prepared images with what the loss and the sampler need."""

    images: NDArray[np.uint8]  # [n, side, side]
    label_masks: NDArray[np.float32]  # [n, atoms]
    image_ids: NDArray[np.int64]  # [n] copies of one image share a number
    strata: NDArray[np.int64]  # [n] data set x sequence x label
    lesions: LesionMasks | None = None  # where some are known
    shares: NDArray[np.float64] | None = None  # [n] how often each is shown in its stratum

    def __len__(self) -> int:
        return len(self.images)

    @property
    def distinct_count(self) -> int:
        """Distinct images: the length of an epoch."""
        return len(np.unique(self.image_ids))


@dataclass(frozen=True)
class Subset:
    """The usable cases of one part of a split, prepared."""

    cases: tuple[Case, ...]
    images: NDArray[np.uint8]  # [n, side, side]
    image_ids: NDArray[np.int64]  # [n] copies of one image share a number
    not_plain: Mapping[Path, str] = field(default_factory=dict)  # what is no plain slice, and why

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> "Subset":
        """Return the subset of these rows."""
        rows = np.asarray(rows, np.int64)
        cases = tuple(self.cases[row] for row in rows.tolist())
        return Subset(cases, self.images[rows], self.image_ids[rows])

    def without_copies(self) -> "Subset":
        """Keep one file of each image."""
        return self.take(np.sort(one_of_each_image(self.image_ids, np.arange(len(self.cases)))))

    @property
    def names(self) -> list[str]:
        """Labels, in order."""
        return [case.label for case in self.cases]

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Whether each case has a tumor, [n]."""
        return np.array([labels.is_tumor(name) for name in self.names], bool)

    @property
    def groups(self) -> NDArray[np.str_]:
        """What may not be taken for independent has one name, [n]."""
        return np.array([case.group_name for case in self.cases])

    @property
    def strata(self) -> NDArray[np.int64]:
        """A number for each data set, sequence (where file names state it) and label, [n]."""
        return numbered([f"{c.dataset}/{sequence_of(c.path)}/{c.label}" for c in self.cases])

    @property
    def sources(self) -> list[str]:
        """Where each case comes from, in order."""
        return [source_of(case) for case in self.cases]

    @property
    def shares(self) -> NDArray[np.float64]:
        """How often to show each case, so that the level of a slice does not tell its label."""
        levels = np.array([np.nan if c.level is None else c.level for c in self.cases], float)
        sources = [f"{case.dataset}/{sequence_of(case.path)}" for case in self.cases]
        return level_shares(levels, self.truth, sources)

    def to_training_set(self) -> TrainingSet:
        """Return what the loop samples from."""
        return TrainingSet(
            self.images,
            labels.label_mask(self.names),
            self.image_ids,
            self.strata,
            shares=self.shares,
        )


def one_of_each_image(image_ids: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keep the first file of each image in the given order of positions."""
    return order[np.unique(image_ids[order], return_index=True)[1]]


def numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """Return a number for each distinct name, [n]."""
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def prepare_subset(
    cases: Sequence[Case],
    spec: InputSpec,
    *,
    image_ids: Mapping[str, str],
    cache: Path,
    unreadable: Path,
    progress: Progress = silent,
) -> Subset:
    """Prepare cases; those that cannot be read are listed in the table `unreadable`.

    What is not one plain slice is learned from like the others, and named in `not_plain`.

    `image_ids` maps keys of cases to images. Raises TrainingError if nothing is left.
    """
    made = prepare_files([case.path for case in cases], spec, cache=cache, progress=progress)
    lost = [(cases[row], error) for row, error in sorted(made.errors.items())]
    if lost or unreadable.exists():
        rows = [(str(case.path), case.label, f"{e.fact}. {e.fix}") for case, e in lost]
        write_table(unreadable, UNREADABLE_COLUMNS, rows)
    rows = np.flatnonzero(made.usable)
    if not len(rows):
        fix = "Make a split with `tumorlens split`, with some readable scans in each part."
        raise TrainingError("split", "leaves a part without scans", fix)
    kept = tuple(cases[row] for row in rows.tolist())
    ids = numbered([image_ids.get(case.key, case.key) for case in kept])
    not_plain = {cases[row].path: why for row, why in sorted(made.not_plain.items())}
    return Subset(kept, made.pixels[rows], ids, not_plain)


def training_set(subset: Subset, recipe: Recipe, spec: InputSpec) -> TrainingSet:
    """Return what the loop samples from: the subset, with what else the recipe asks for."""
    data = subset.to_training_set()
    if recipe.counterfactual_share or recipe.localization_weight:
        subset, masks = _without_unmasked_copies(subset, prepared_masks(subset.cases, spec))
        if _are_enough(subset, masks):
            lesions = find_lesion_masks(subset.images, subset.names, masks)
            data = replace(subset.to_training_set(), lesions=lesions)
    return with_ood_images(data, recipe.ood_images, spec) if recipe.ood_images else data


def _are_enough(subset: Subset, masks: Mapping[int, NDArray[np.bool_]]) -> bool:
    """Return whether enough tumors have masks; else counterfactuals would show which is healthy."""
    tumors = [n for n in subset.names if labels.modality_of(n) != "ct" and labels.is_tumor(n)]
    return len(masks) >= MIN_MASKED * len(tumors) and len(masks) > 0


def _without_unmasked_copies(
    subset: Subset, masks: Mapping[int, NDArray[np.bool_]]
) -> tuple[Subset, dict[int, NDArray[np.bool_]]]:
    """Leave out copies without a mask of images that have one: they would always be tumors."""
    masked = np.isin(subset.image_ids, subset.image_ids[list(masks)])
    kept = [row for row in range(len(subset.cases)) if row in masks or not masked[row]]
    return subset.take(kept), {new: masks[old] for new, old in enumerate(kept) if old in masks}


def with_ood_images(data: TrainingSet, count: int, spec: InputSpec) -> TrainingSet:
    """Add drawn images of what is no head, as one stratum; their label is the empty set."""
    images = draw_ood_images(count, spec, first=OOD_SEED)
    n = len(images)
    return TrainingSet(
        np.concatenate([data.images, images]),
        np.concatenate([data.label_masks, np.zeros((n, len(labels.ATOMS)), np.float32)]),
        np.concatenate([data.image_ids, data.image_ids.max() + 1 + np.arange(n)]),
        np.concatenate([data.strata, np.full(n, data.strata.max() + 1)]),
        data.lesions and data.lesions.with_unknown(n),
        None if data.shares is None else np.concatenate([data.shares, np.ones(n)]),
    )


@lru_cache(maxsize=2)  # every network of an experiment asks for the same
def draw_ood_images(count: int, spec: InputSpec, *, first: int) -> NDArray[np.uint8]:
    """Draw and prepare images of what is no head, [n, side, side], n <= count; read only."""
    images = []
    for seed in range(first, first + count):
        scan = Scan(draw_ood_image(seed).astype(np.float32), f"out of distribution {seed}")
        try:
            images.append(prepare(scan, spec).pixels)
        except BlankImageError:  # refused before it comes to a network
            continue
    drawn = np.stack(images)
    drawn.setflags(write=False)
    return drawn
