"""What is trained to put each earlier system beside ours: one row a network and protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tumorlens.study.recipes import Recipe, find_recipe

THEIRS, MENDED, OURS, REFERENCE = "theirs", "mended", "ours", "reference"
# Protocols beside the rows of PROTOCOLS: cross-validation by whole groups, and our own bundle on
# the test part of the split it was trained on.
FOLDS, SHIPPED = "folds", "shipped"


@dataclass(frozen=True)
class Run:
    """One network on one data set under one protocol."""

    name: str  # of its folder
    system: str  # the recipe of the earlier system it is compared with
    role: str  # THEIRS: with the faults; MENDED: the same without; OURS
    protocol: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)  # of the recipe's fields
    stands_for: str = ""  # what the recipe is a stand-in for, where weights are not at hand
    repeats: int = 1  # of FOLDS
    start: str = ""  # the source whose network it starts from
    faults: tuple[str, ...] = ()  # of the earlier system, left in
    threshold: str = "own"  # a row of THRESHOLDS

    @property
    def changed_recipe(self) -> Recipe:
        """The recipe with its changes."""
        return replace(find_recipe(self.recipe), **self.changes)


@dataclass(frozen=True)
class Source:
    """A network of ours that learns other sets first; nothing of `held` or its copies."""

    folders: tuple[str, ...]
    held: tuple[str, ...]
    recipe: Recipe


SOURCES: Mapping[str, Source] = {
    "source": Source(
        ("multimodal", "figshare"),
        held=("br35h", "navoneel"),
        recipe=replace(find_recipe("default"), name="source", side=112, train_side=96, epochs=30,
                       summary="the default network at 96 px on other sets, to start from"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Start:
    """A way to begin, where a few scans have labels."""

    title: str
    recipe: Recipe
    is_pretrained: bool = False


LEARNED_SETS = ("multimodal", "br35h")  # without their labels, train groups alone
MEASURED_SET = "multimodal"
SHARES, SEEDS = (5.0,), 3  # percent of its training groups
PRETRAINED = "pretrained"
_FEW = replace(find_recipe("adapted"), epochs=30, batch=16, learning_rate=1e-3, warmup_epochs=1.0)
STARTS: Mapping[str, Start] = {
    "start-random": Start("random", _FEW),
    "start-vicreg": Start("VICReg on prepared scans", _FEW, is_pretrained=True),
    "start-imagenet": Start("ImageNet (MobileNet, frozen)", find_recipe("mobilenet-frozen")),
}

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
# The shipped recipe without what needs masks or many sources, from ImageNet on that set alone.
_ALONE = {"counterfactual_share": 0.0, "synthetic_lesion_share": 0.0, "small_lesion_share": 0.0,
          "ct_lesion_share": 0.0, "localization_weight": 0.0, "ood_images": 0,
          "is_scope_untouched": False, "eight_bit": False}  # fmt: skip
_FEW_SCANS = {**_ALONE, "side": 128, "train_side": 112, "epochs": 25, "batch": 16, "ema": 0.97,
              "patience": 25}  # fmt: skip
_COPIES = "copies on both sides"

_BOHAJU_RUNS = (
    Run("bohaju-cnn-published", _BOHAJU, THEIRS, "published, as it was", _BOHAJU,
        {"side": 80, "train_side": 80, "epochs": 6, **_AS_IT_WAS, **_FAST},
        faults=(_COPIES,), threshold="half"),
    Run("bohaju-cnn-grouped", _BOHAJU, MENDED, "grouped", _BOHAJU,
        {"side": 80, "train_side": 80, "epochs": 6, **_FAST}),
    Run("bohaju-ours-published", _BOHAJU, OURS, "published", "adapted",
        {"epochs": 30, "batch": 32}, start="source"),
    Run("bohaju-ours-longer", _BOHAJU, OURS, "published", "adapted",
        {"side": 128, "train_side": 112, "epochs": 60, "batch": 32, "learning_rate": 1e-3,
         "augmentation": 0.5}, start="source"),
    Run("bohaju-shipped", _BOHAJU, OURS, SHIPPED, "default"),
)  # fmt: skip
_BR35H_RUNS = (
    Run("br35h-cnn-random", _BR35H, THEIRS, "random", _BR35H,
        {"side": 64, "train_side": 64, "epochs": 3, **_AS_IT_WAS, **_FAST},
        faults=(_COPIES,), threshold="half"),
    Run("br35h-cnn-grouped", _BR35H, MENDED, "grouped", _BR35H,
        {"side": 64, "train_side": 64, "epochs": 15, **_FAST}),
    Run("br35h-shipped", _BR35H, OURS, SHIPPED, "default"),
    Run("br35h-inception-random", _INCEPTION, THEIRS, "random", "mobilenet-frozen",
        {**_PLAIN_HEAD, **_AS_IT_WAS,
         "options": {"dense": [], "dropout": 0.2, "seen_as": "vgg"}},
        stands_for="InceptionV3", faults=(_COPIES, "preprocessing of VGG"), threshold="half"),
    Run("br35h-inception-folds", _INCEPTION, MENDED, FOLDS, "mobilenet-frozen", _PLAIN_HEAD,
        stands_for="InceptionV3"),
    Run("br35h-ours", _INCEPTION, OURS, FOLDS, "base", _FEW_SCANS),
    Run("br35h-adapted", _INCEPTION, OURS, FOLDS, "adapted", start="source"),
    Run("br35h-source", _INCEPTION, REFERENCE, FOLDS, "adapted-head", start="source"),
)  # fmt: skip
_NAVONEEL_RUNS = (
    Run("navoneel-cnn-random", _NAVONEEL, THEIRS, "random", _NAVONEEL,
        {"side": 64, "train_side": 64, "epochs": 15, **_AS_IT_WAS, **_FAST},
        faults=(_COPIES, "threshold chosen on the test part"), threshold="best on test"),
    Run("navoneel-cnn-folds", _NAVONEEL, MENDED, FOLDS, _NAVONEEL,
        {"side": 64, "train_side": 64, "epochs": 15, **_FAST}),
    Run("navoneel-ours", _NAVONEEL, OURS, FOLDS, "base", _FEW_SCANS, repeats=5),
    Run("navoneel-adapted", _NAVONEEL, OURS, FOLDS, "adapted", start="source"),
    Run("navoneel-source", _NAVONEEL, REFERENCE, FOLDS, "adapted-head", repeats=5,
        start="source"),
)  # fmt: skip
_MULTIMODAL_RUNS = (
    Run("multimodal-xception-leaky", _XCEPTION, THEIRS, "published, test learned",
        "mobilenet-frozen", {**_HEAD, **_AS_IT_WAS}, stands_for="Xception",
        faults=("trained on the test part", _COPIES), threshold="half"),
    Run("multimodal-xception-published", _XCEPTION, MENDED, "published", "mobilenet-frozen",
        _HEAD, stands_for="Xception"),
    Run("multimodal-xception-grouped", _XCEPTION, MENDED, "grouped", "mobilenet-frozen", _HEAD,
        stands_for="Xception"),
    Run("multimodal-ours-published", _XCEPTION, OURS, "published", "default",
        {"side": 128, "train_side": 112, "epochs": 60, "counterfactual_share": 0.0,
         "localization_weight": 0.0, "ood_images": 0}),
    Run("multimodal-shipped", _XCEPTION, OURS, SHIPPED, "default"),
)  # fmt: skip
RUNS: tuple[Run, ...] = (*_MULTIMODAL_RUNS, *_BR35H_RUNS, *_BOHAJU_RUNS, *_NAVONEEL_RUNS)
