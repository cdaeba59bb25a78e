"""What a recipe trains on, beyond the scans of the split: places of tumors, and outsiders."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import BlankImageError
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.records import Scan
from tumorlens.study.data.masks import prepared_masks
from tumorlens.study.phantom.out_of_distribution import draw_ood_image
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.data.batches import TrainingSet
from tumorlens.study.training.data.lesion_masks import Places, find_places
from tumorlens.study.training.data.subset import Part

LEAST_MARKED = 0.2  # of the MRI tumors, for counterfactual pictures and the loss on places
OUTSIDER_SEED = 1_000_000  # the first of them; `data phantoms` draws no outsiders


def training_set(part: Part, recipe: Recipe, spec: InputSpec) -> TrainingSet:
    """Give what the loop samples from: the part, with what else the recipe asks for."""
    data = part.to_training_set()
    if recipe.changed or recipe.evidence:
        masks = prepared_masks(part.cases, spec)
        part, masks = _marked_copies(part, masks)
        if _are_enough(part, masks):
            places = find_places(part.images, part.names, masks)
            data = replace(part.to_training_set(), places=places)
    return with_outsiders(data, recipe.outsiders, spec) if recipe.outsiders else data


def _are_enough(part: Part, masks: Mapping[int, NDArray[np.bool_]]) -> bool:
    """Tell whether enough tumors are marked; else a changed picture would be a healthy one."""
    tumors = [
        name for name in part.names if labels.modality_of(name) != "ct" and labels.is_tumor(name)
    ]
    return len(masks) >= LEAST_MARKED * len(tumors) and len(masks) > 0


def _marked_copies(
    part: Part, masks: Mapping[int, NDArray[np.bool_]]
) -> tuple[Part, dict[int, NDArray[np.bool_]]]:
    """Leave out copies without a mask of pictures that have one: they would always be tumors."""
    marked = np.isin(part.pictures, part.pictures[list(masks)])
    kept = [row for row in range(len(part.cases)) if row in masks or not marked[row]]
    cases = tuple(part.cases[row] for row in kept)
    left = Part(cases, part.images[kept], part.pictures[kept])
    return left, {new: masks[old] for new, old in enumerate(kept) if old in masks}


def with_outsiders(data: TrainingSet, count: int, spec: InputSpec) -> TrainingSet:
    """Add drawn pictures of what is no head, as one stratum; their label is the empty set."""
    images = draw_outsiders(count, spec, first=OUTSIDER_SEED)
    more = len(images)
    return TrainingSet(
        np.concatenate([data.images, images]),
        np.concatenate([data.label_masks, np.zeros((more, len(labels.ATOMS)), np.float32)]),
        np.concatenate([data.pictures, data.pictures.max() + 1 + np.arange(more)]),
        np.concatenate([data.strata, np.full(more, data.strata.max() + 1)]),
        data.places and _unknown(data.places, more),
    )


def draw_outsiders(count: int, spec: InputSpec, *, first: int) -> NDArray[np.uint8]:
    """Draw and prepare pictures of what is no head, [n, side, side], n <= count."""
    images = []
    for seed in range(first, first + count):
        scan = Scan(draw_ood_image(seed).astype(np.float32), f"outsider {seed}")
        try:
            images.append(prepare(scan, spec).pixels)
        except BlankImageError:  # refused before it comes to a network
            continue
    return np.stack(images)


def _unknown(places: Places, more: int) -> Places:
    """Lengthen places by scans of which nothing is known, and which give nothing."""
    return replace(
        places,
        rows=np.concatenate([places.rows, np.full(more, Places.UNKNOWN, np.int64)]),
        midlines=[*places.midlines, *[places.midlines[0]] * more],
        thumbnails=np.concatenate(
            [places.thumbnails, np.zeros((more, places.thumbnails.shape[1]), np.float32)]
        ),
    )
