"""The recipe: everything a training run decides, but for the data, as plain data."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tumorlens.errors import TrainingError
from tumorlens.files import read_file
from tumorlens.json_records import JsonObject, write_json

IMAGENET, NO_WEIGHTS = "imagenet", "none"
KINDS = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}  # else a mapping

# Names of earlier versions, which stand in stored recipes, runs and bundles.
RENAMED_FIELDS: Mapping[str, str] = {
    "changed": "counterfactual_share",
    "painted": "synthetic_lesion_share",
    "evidence": "localization_weight",
    "outsiders": "ood_images",
}
RENAMED: Mapping[str, str] = {
    "seed-multimodal-xception": "baseline-multimodal-xception",
    "seed-mri-cnn": "baseline-mri-cnn",
    "seed-mri-inception": "baseline-mri-inception",
    "seed-mri-tuned-cnn": "baseline-mri-tuned-cnn",
    "seed-small-cnn": "baseline-small-cnn",
    "seed-cnn-grey": "baseline-cnn-gray",
    "seed-cnn-tuned": "baseline-cnn-tuned",
    "seed-cnn-small": "baseline-cnn-small",
}


@dataclass(frozen=True)
class Recipe:
    """A training run, but for the data; docs/make_tables.py writes the comments into a page."""

    name: str  # by which it is found
    summary: str  # in one line
    network: str  # from random weights: `residual-*`, `baseline-cnn-*`; else pretrained
    side: int  # pixels of the prepared square, in validation and use
    # Pixels while training: fewer cost less, and a network is better at a slightly larger side than
    # it was trained at (Touvron et al., 2019).
    train_side: int
    epochs: int  # at most; each shows as many images as there are distinct ones in train
    batch: int = 64  # images a step
    learning_rate: float = 2e-3  # at its peak; cosine decay to 1 % follows
    weight_decay: float = 0.02  # of AdamW; not on biases and normalization
    warmup_epochs: float = 2.0  # in which the learning rate rises from 0
    ema: float = 0.998  # decay a step of the averaged weights, which are validated and shipped
    augmentation: float = 1.0  # strength of every augmentation; 0 turns all off
    photometric: float = 1.0  # share of that strength for all but the pose; 0: pose alone
    # Share of the scans with known tumor masks that are shown as counterfactual images: the same
    # head with the tumor taken away, or with another one.
    counterfactual_share: float = 0.0
    synthetic_lesion_share: float = 0.0  # share of those with a lesion of random gray values
    # Share of those whose tumor is shrunk to half to a fifth of its area, type kept; painted
    # lesions then also come small, and at the rim of the head.
    small_lesion_share: float = 0.0
    # Share of the CT scans that get a painted mass, or what is none: bleed, infarct, calcification.
    ct_lesion_share: float = 0.0
    # Weight of the loss on where the activation maps see the tumor; 0: off. It needs masks.
    localization_weight: float = 0.0
    # With --teacher: share of the loss that is the distance to the teacher's answers.
    distillation_share: float = 0.7
    balance: float = 0.5  # 0: data sets and labels as often as they occur; 1: equally often
    ood_images: int = 0  # drawn images of what is no head (out of distribution), to be unsure about
    # "float32"; "bfloat16", which multiplies in 16 bits; "auto" takes that where it is faster.
    precision: str = "float32"
    # Scope is judged by features of an untouched ImageNet network, not by those of its own.
    is_scope_untouched: bool = False
    eight_bit: bool = False  # quantize the exported convolutions where that costs no accuracy
    patience: int = 15  # epochs without a better validation loss before stopping
    sensitivity_aim: float = 0.98  # of the threshold, met on validation
    # Above 0: the threshold is where both kinds of error of every source weigh alike, and what is
    # "uncertain" leaves at most this share of the answers wrong; not `sensitivity_aim` decides.
    max_risk: float = 0.0
    seed: int = 0  # of initialization, order, augmentation and reference embeddings
    # Of the network: hidden `dense` layers, `dropout`, `widths`; `seen_as` shows a pretrained
    # network what its family was not trained on, to repeat an earlier fault.
    options: Mapping[str, Any] = field(default_factory=dict)
    # Of the backbone: "imagenet", "none", or the name of the file that `--weights` gave.
    weights: str = NO_WEIGHTS
    head_epochs: int = 0  # of the head alone, on stored features of the frozen backbone
    head_learning_rate: float = 1e-3  # of the head alone
    head_views: int = 1  # images of each scan in the head's training: itself, and augmented ones
    tuned_blocks: int = -1  # last blocks of the backbone that learn from epoch 1 on; -1: all
    # Batch normalization of a pretrained backbone keeps the statistics that it came with.
    frozen_statistics: bool = True

    def to_json(self) -> JsonObject:
        """Return the fields as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Pretraining:
    """A recipe with what only pretraining decides; it has no validation metrics."""

    recipe: Recipe
    projector: tuple[int, ...]  # widths after the pooled features; thrown away afterwards
    min_area: float  # of the prepared square, that a view shows
    source: str

    def to_json(self) -> JsonObject:
        """Return what stands in the config of a run."""
        return {
            "name": self.recipe.name,
            "projector": list(self.projector),
            "least_area": self.min_area,
            "source": self.source,
        }


def current_fields(stored: JsonObject) -> dict[str, Any]:
    """Return the fields of a stored recipe under the names of this version."""
    found = {RENAMED_FIELDS.get(name, name): value for name, value in stored.items()}
    return found | {
        name: RENAMED.get(found[name], found[name])
        for name in ("name", "network")
        if isinstance(found.get(name), str)
    }


def comparable_config(config: Any) -> Any:
    """Return a run's config as plain data in which runs of any version can be compared.

    Fields that its recipe did not have yet get their defaults, which it then had; the summary
    is left out, since it decides nothing.
    """
    plain = json.loads(json.dumps(config))
    try:
        recipe = Recipe(**current_fields(plain["recipe"])).to_json()
    except (TypeError, KeyError, AttributeError):
        return plain
    return {**plain, "recipe": json.loads(json.dumps({**recipe, "summary": ""}))}


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as JSON."""
    write_json(recipe.to_json(), path)


def read_recipe(path: Path) -> Recipe:
    """Read what `write_recipe` or a person wrote; fields left out have their defaults.

    Raises TrainingError where it is no recipe.
    """
    try:
        found = json.loads(read_file(path))
    except (OSError, ValueError) as e:
        fix = "Give a file that `tumorlens tune` wrote, or a name."
        raise TrainingError(path, f"cannot be read as a recipe ({e})", fix) from e
    if not isinstance(found, dict):
        raise TrainingError(path, "is no recipe", "It has to be a JSON object of fields.")
    found, known = current_fields(found), {field.name: field for field in fields(Recipe)}
    if unknown := sorted(set(found) - set(known)):
        fix = f"Known fields: {', '.join(known)}."
        raise TrainingError(path, f"has unknown fields: {', '.join(unknown)}", fix)
    missing = [
        name
        for name, field in known.items()
        if name not in found and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise TrainingError(path, f"lacks {', '.join(missing)}", "Add them.")
    for name, value in found.items():
        check_kind(path, name, value)
    return Recipe(**found)


def check_kind(path: Path, name: str, value: Any) -> None:
    """Raise TrainingError where a value from a file is not of the kind its field has."""
    [kind] = [field.type for field in fields(Recipe) if field.name == name]
    allowed = KINDS.get(kind, (dict,))
    is_wrong_truth = isinstance(value, bool) and bool not in allowed  # to Python also a number
    if is_wrong_truth or not isinstance(value, allowed):
        fix = f"It has to be {' or '.join(found.__name__ for found in allowed)}."
        raise TrainingError(path, f"has {value!r} for {name}", fix)
