"""What is trained to put each earlier system beside ours: one row per network and protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tumorlens.study.recipes import Recipe, find_recipe

THEIRS, MENDED, OURS, REFERENCE = "theirs", "mended", "ours", "reference"
# Protocols beside the rows of PROTOCOLS: cross-validation by whole groups, and our own bundle on
# the test part of the split it was trained on.
FOLDS, SHIPPED = "folds", "shipped"


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
            epochs_run=30,
        ),
    )
}  # fmt: skip

_NAVONEEL, _BOHAJU = "baseline-small-cnn", "baseline-mri-tuned-cnn"
_BR35H, _INCEPTION, _XCEPTION = (
    "baseline-mri-cnn",
    "baseline-mri-inception",
    "baseline-multimodal-xception",
)
_AS_IT_WAS = {"augmentation": 0.0, "balance": 0.0}
_HEAD = {"options": {"dense": [256, 100], "dropout": 0.3}, "head_views": 1}
_PLAIN_HEAD = {"options": {"dense": [], "dropout": 0.2}, "head_views": 1}
_FAST = {"precision": "auto"}
_COPIES = "copies on both sides"

_BOHAJU_ARMS = (
    Arm("bohaju-cnn-published", _BOHAJU, THEIRS, "published, as it was", _BOHAJU,
        {"side": 80, "train_side": 80, "epochs": 6, **_AS_IT_WAS, **_FAST},
        faults=(_COPIES,), measure="half"),
    Arm("bohaju-cnn-grouped", _BOHAJU, MENDED, "grouped", _BOHAJU,
        {"side": 80, "train_side": 80, "epochs": 6, **_FAST}),
    Arm("bohaju-ours-published", _BOHAJU, OURS, "published", "adapted",
        {"epochs": 30, "batch": 32}, start="source"),
    Arm("bohaju-ours-longer", _BOHAJU, OURS, "published", "adapted",
        {"side": 128, "train_side": 112, "epochs": 60, "batch": 32, "learning_rate": 1e-3,
         "augmentation": 0.5}, start="source"),
    Arm("bohaju-shipped", _BOHAJU, OURS, SHIPPED, "default"),
)  # fmt: skip
_BR35H_ARMS = (
    Arm("br35h-cnn-random", _BR35H, THEIRS, "random", _BR35H,
        {"side": 64, "train_side": 64, "epochs": 3, **_AS_IT_WAS, **_FAST},
        faults=(_COPIES,), measure="half"),
    Arm("br35h-cnn-grouped", _BR35H, MENDED, "grouped", _BR35H,
        {"side": 64, "train_side": 64, "epochs": 15, **_FAST}),
    Arm("br35h-shipped", _BR35H, OURS, SHIPPED, "default"),
    Arm("br35h-inception-random", _INCEPTION, THEIRS, "random", "mobilenet-frozen",
        {**_PLAIN_HEAD, **_AS_IT_WAS,
         "options": {"dense": [], "dropout": 0.2, "seen_as": "vgg"}},
        stands_for="InceptionV3", faults=(_COPIES, "preprocessing of VGG"), measure="half"),
    Arm("br35h-inception-folds", _INCEPTION, MENDED, FOLDS, "mobilenet-frozen", _PLAIN_HEAD,
        stands_for="InceptionV3"),
    Arm("br35h-ours", _INCEPTION, OURS, FOLDS, "mobilenet-frozen"),
    Arm("br35h-adapted", _INCEPTION, OURS, FOLDS, "adapted", start="source"),
    Arm("br35h-source", _INCEPTION, REFERENCE, FOLDS, "adapted-head", start="source"),
)  # fmt: skip
_NAVONEEL_ARMS = (
    Arm("navoneel-cnn-random", _NAVONEEL, THEIRS, "random", _NAVONEEL,
        {"side": 64, "train_side": 64, "epochs": 15, **_AS_IT_WAS, **_FAST},
        faults=(_COPIES, "threshold chosen on the test part"), measure="best on test"),
    Arm("navoneel-cnn-folds", _NAVONEEL, MENDED, FOLDS, _NAVONEEL,
        {"side": 64, "train_side": 64, "epochs": 15, **_FAST}),
    Arm("navoneel-ours", _NAVONEEL, OURS, FOLDS, "mobilenet-frozen", repeats=5),
    Arm("navoneel-adapted", _NAVONEEL, OURS, FOLDS, "adapted", start="source"),
    Arm("navoneel-source", _NAVONEEL, REFERENCE, FOLDS, "adapted-head", repeats=5,
        start="source"),
)  # fmt: skip
_MULTIMODAL_ARMS = (
    Arm("multimodal-xception-leaky", _XCEPTION, THEIRS, "published, test learned",
        "mobilenet-frozen", {**_HEAD, **_AS_IT_WAS}, stands_for="Xception",
        faults=("trained on the test part", _COPIES), measure="half"),
    Arm("multimodal-xception-published", _XCEPTION, MENDED, "published", "mobilenet-frozen",
        _HEAD, stands_for="Xception"),
    Arm("multimodal-xception-grouped", _XCEPTION, MENDED, "grouped", "mobilenet-frozen", _HEAD,
        stands_for="Xception"),
    Arm("multimodal-ours-published", _XCEPTION, OURS, "published", "default",
        {"side": 128, "train_side": 112, "epochs": 60, "counterfactual_share": 0.0,
         "localization_weight": 0.0, "ood_images": 0}),
    Arm("multimodal-shipped", _XCEPTION, OURS, SHIPPED, "default"),
)  # fmt: skip
ARMS: tuple[Arm, ...] = (*_MULTIMODAL_ARMS, *_BR35H_ARMS, *_BOHAJU_ARMS, *_NAVONEEL_ARMS)
