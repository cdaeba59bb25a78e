"""What is trained to put each earlier system beside ours: one row per network and protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tumorlens.study.recipes import Recipe, find_recipe

THEIRS, MENDED, OURS, REFERENCE = "theirs", "mended", "ours", "reference"
FOLDS = "folds"  # a protocol beside the rows of PROTOCOLS: cross-validation by whole groups


@dataclass(frozen=True)
class Arm:
    """One network on one data set under one protocol."""

    name: str  # of its folder
    system: str  # the recipe of the earlier system it is compared with
    role: str  # THEIRS: with the faults; MENDED: the same without; OURS
    protocol: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)  # of the recipe's fields
    stands_for: str = ""  # what the recipe is a stand-in for, where weights are not at hand
    repeats: int = 1  # of FOLDS
    start: str = ""  # the arm whose network it starts from
    faults: tuple[str, ...] = ()  # of the earlier system, left in
    measure: str = "threshold"  # a row of MEASURES

    @property
    def made(self) -> Recipe:
        """The recipe with its changes."""
        return replace(find_recipe(self.recipe), **self.changes)


@dataclass(frozen=True)
class Source:
    """A network of ours that learns other sets first; nothing of `held` or its copies."""

    name: str
    folders: tuple[str, ...]
    held: tuple[str, ...]
    recipe: str
    changes: Mapping[str, Any]
    epochs_run: int  # of the recipe's; two busy cores afford no more

    @property
    def made(self) -> Recipe:
        """The recipe with its changes."""
        return replace(find_recipe(self.recipe), **self.changes)


SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        Source(
            "source",
            folders=("multimodal", "figshare"),
            held=("br35h", "navoneel"),
            recipe="default",
            changes={"name": "source", "side": 112, "train_side": 96, "epochs": 30,
                     "summary": "the default network at 96 px on other sets, to start from"},
            epochs_run=16,
        ),
    )
}  # fmt: skip

_NAVONEEL, _BOHAJU = "seed-small-cnn", "seed-mri-tuned-cnn"
_BR35H, _INCEPTION, _XCEPTION = "seed-mri-cnn", "seed-mri-inception", "seed-multimodal-xception"
_HEAD = {"options": {"dense": [256, 100], "dropout": 0.3}, "head_views": 1, "augmentation": 0.0}
_COPIES = "copies on both sides"

ARMS: tuple[Arm, ...] = (
    Arm(
        "bohaju-cnn-published", _BOHAJU, THEIRS, "published, as it was", _BOHAJU,
        {"side": 120, "train_side": 120, "epochs": 5, "augmentation": 0.0, "balance": 0.0},
        faults=(_COPIES,), measure="half",
    ),
    Arm(
        "bohaju-cnn-grouped", _BOHAJU, MENDED, "grouped", _BOHAJU,
        {"side": 120, "train_side": 120, "epochs": 5},
    ),
    Arm(
        "br35h-cnn-random", _BR35H, THEIRS, "random", _BR35H,
        {"side": 96, "train_side": 96, "epochs": 2, "augmentation": 0.0, "balance": 0.0},
        faults=(_COPIES,), measure="half",
    ),
    Arm(
        "br35h-cnn-folds", _BR35H, MENDED, FOLDS, _BR35H,
        {"side": 96, "train_side": 96, "epochs": 8},
    ),
    Arm(
        "navoneel-cnn-random", _NAVONEEL, THEIRS, "random", _NAVONEEL,
        {"side": 64, "train_side": 64, "epochs": 15, "augmentation": 0.0, "balance": 0.0},
        faults=(_COPIES, "threshold chosen on the test part"), measure="best on test",
    ),
    Arm(
        "navoneel-cnn-folds", _NAVONEEL, MENDED, FOLDS, _NAVONEEL,
        {"side": 64, "train_side": 64, "epochs": 15},
    ),
    Arm("navoneel-ours", _NAVONEEL, OURS, FOLDS, "adapted", {"epochs": 12}, repeats=5,
        start="source"),
    Arm("br35h-ours", _BR35H, OURS, FOLDS, "adapted", {"epochs": 12}, start="source"),
    Arm("bohaju-ours-published", _BOHAJU, OURS, "published", "adapted",
        {"epochs": 12, "batch": 32}, start="source"),
    Arm("bohaju-ours-grouped", _BOHAJU, OURS, "grouped", "adapted",
        {"epochs": 12, "batch": 32}, start="source"),
    Arm(
        "br35h-inception-random", _INCEPTION, THEIRS, "random", "mobilenet-frozen",
        {**_HEAD, "options": {"dense": [], "dropout": 0.2, "seen_as": "vgg"}, "balance": 0.0},
        stands_for="InceptionV3", faults=(_COPIES, "preprocessing of VGG"), measure="half",
    ),
    Arm(
        "br35h-inception-folds", _INCEPTION, MENDED, FOLDS, "mobilenet-frozen",
        stands_for="InceptionV3",
    ),
    Arm(
        "navoneel-mobilenet", _NAVONEEL, REFERENCE, FOLDS, "mobilenet-frozen", repeats=5,
    ),
    Arm(
        "multimodal-xception-leaky", _XCEPTION, THEIRS, "published, test learned",
        "mobilenet-frozen", {**_HEAD, "balance": 0.0}, stands_for="Xception",
        faults=("trained on the test part", _COPIES), measure="half",
    ),
    Arm(
        "multimodal-xception-published", _XCEPTION, MENDED, "published", "mobilenet-frozen",
        _HEAD, stands_for="Xception",
    ),
    Arm(
        "multimodal-xception-grouped", _XCEPTION, MENDED, "grouped", "mobilenet-frozen", _HEAD,
        stands_for="Xception",
    ),
    Arm("multimodal-ours-published", _XCEPTION, OURS, "published", "default", {"epochs": 25}),
    Arm("multimodal-ours-grouped", _XCEPTION, OURS, "grouped", "default", {"epochs": 25}),
)  # fmt: skip
