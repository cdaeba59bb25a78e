"""What is trained to put each earlier system beside ours: one row a network and protocol.

Pixels and epochs of an earlier system are its own. What has not been run has no figures on the
page; nothing is run smaller instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tumorlens.study.recipes import Recipe, find_recipe

THEIRS, MENDED, OURS = "theirs", "mended", "ours"
# Protocols beside the rows of PROTOCOLS: cross-validation by whole groups, our own bundle on the
# test part of the split it was trained on, and the network of the sources left out on all scans.
FOLDS, SHIPPED, LEFT_OUT = "folds", "shipped", "left out"
# What learns on stored maps of the frozen part: a head, a head of seven classes, the last block.
HEAD, SEVEN, TAIL = "head", "seven", "tail"


@dataclass(frozen=True)
class Run:
    """One network on one data set under one protocol."""

    name: str  # of its folder
    system: str  # the recipe of the earlier system it is compared with
    role: str  # THEIRS: with the faults; MENDED: the same without; OURS
    protocol: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)  # of the recipe's fields
    stored: str = ""  # HEAD, SEVEN or TAIL, where the frozen part passes each image once
    repeats: int = 1  # of FOLDS
    start: str = ""  # what its network starts from: STRANGERS or PRETRAINED
    search: str = ""  # the search whose best recipe it takes
    faults: tuple[str, ...] = ()  # of the earlier system, left in
    threshold: str = "own"  # a row of THRESHOLDS
    note: str = ""  # what else a reader has to know

    @property
    def changed_recipe(self) -> Recipe:
        """The recipe with its changes."""
        return replace(find_recipe(self.recipe), **self.changes)


@dataclass(frozen=True)
class Search:
    """A search of a recipe's stated space by Hyperband, on train and validation alone."""

    system: str
    protocol: str
    trials: int


SEARCHES: Mapping[str, Search] = {
    "bohaju-search": Search("baseline-mri-tuned-cnn", "published, as it was", trials=30),
    "bohaju-search-grouped": Search("baseline-mri-tuned-cnn", "grouped", trials=30),
}


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
# The network of the sources left out (`make strangers`), which never saw bohaju, Br35H, navoneel.
STRANGERS = "strangers"
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
# On stored maps each image is seen as it is.
_FROZEN = {"epochs": 0, "head_views": 1, "augmentation": 0.0, "tuned_blocks": 0}
_LAST_BLOCK = {"head_views": 1, "augmentation": 0.0, "tuned_blocks": 1}
_FROM_ZERO = {"weights": "none", "head_epochs": 0, "tuned_blocks": -1, "epochs": 40,
              "learning_rate": 1e-3, "patience": 10}  # fmt: skip
# The shipped recipe without what needs masks or many sources: ImageNet, then that set alone.
_ALONE = {"counterfactual_share": 0.0, "synthetic_lesion_share": 0.0, "small_lesion_share": 0.0,
          "ct_lesion_share": 0.0, "localization_weight": 0.0, "ood_images": 0,
          "is_scope_untouched": False, "eight_bit": False}  # fmt: skip
_FEW_SCANS = {**_ALONE, "side": 128, "train_side": 112, "epochs": 15, "batch": 16, "ema": 0.97,
              "patience": 15}  # fmt: skip
_MORE_SCANS = {**_ALONE, "epochs": 12, "batch": 32, "ema": 0.99, "patience": 12}
# From the network of the sources left out, with a fifth of its rate.
_ADAPTED = {**_ALONE, "weights": "none", "learning_rate": 1e-4, "epochs": 4, "patience": 4,
            "batch": 32, "ema": 0.99}  # fmt: skip
_FEW_ADAPTED = {**_ADAPTED, "epochs": 10, "patience": 10, "batch": 16, "ema": 0.97}
_COPIES = "copies on both sides"
_PLAIN = "features stored once, so without augmentation"
_ALONE_NOTE = "from ImageNet; each fold's train and val alone"

_MULTIMODAL_RUNS = (
    Run("multimodal-xception-leaky", _XCEPTION, THEIRS, "published, test learned", _XCEPTION,
        {**_FROZEN, "balance": 0.0}, stored=SEVEN, faults=("trained on the test part", _COPIES),
        threshold="half", note=_PLAIN),
    Run("multimodal-xception-seven", _XCEPTION, THEIRS, "published", _XCEPTION,
        {**_FROZEN, "balance": 0.0}, stored=SEVEN, faults=(_COPIES,), threshold="half",
        note=f"the test part not learned; {_PLAIN}"),
    Run("multimodal-xception-published", _XCEPTION, MENDED, "published", _XCEPTION, _FROZEN,
        stored=HEAD, note=_PLAIN),
    Run("multimodal-xception-grouped", _XCEPTION, MENDED, "grouped", _XCEPTION, _FROZEN,
        stored=HEAD, note=_PLAIN),
    Run("multimodal-xception-published-tuned", _XCEPTION, MENDED, "published", _XCEPTION,
        _LAST_BLOCK, stored=TAIL, note=f"last block tuned; {_PLAIN}"),
    Run("multimodal-xception-grouped-tuned", _XCEPTION, MENDED, "grouped", _XCEPTION,
        _LAST_BLOCK, stored=TAIL, note=f"last block tuned; {_PLAIN}"),
    Run("multimodal-xception-zero", _XCEPTION, MENDED, "grouped", _XCEPTION, _FROM_ZERO,
        note="from random weights"),
    Run("multimodal-domain-grouped", _XCEPTION, OURS, "grouped", "adapted", start=PRETRAINED,
        note="its domain-specific network: train and val alone"),
    Run("multimodal-ours-published", _XCEPTION, OURS, "published", "base", _MORE_SCANS,
        note="from ImageNet; train and val alone"),
    Run("multimodal-ours-grouped", _XCEPTION, OURS, "grouped", "base", _MORE_SCANS,
        note="from ImageNet; train and val alone"),
    Run("multimodal-shipped", _XCEPTION, OURS, SHIPPED, "base"),
)  # fmt: skip
_BR35H_RUNS = (
    Run("br35h-cnn-random", _BR35H, THEIRS, "random", _BR35H, _AS_IT_WAS, faults=(_COPIES,),
        threshold="half"),
    Run("br35h-cnn-grouped", _BR35H, MENDED, "grouped", _BR35H),
    Run("br35h-shipped", _BR35H, OURS, SHIPPED, "base"),
    Run("br35h-inception-random", _INCEPTION, THEIRS, "random", _INCEPTION,
        {**_FROM_ZERO, **_AS_IT_WAS, "options": {"seen_as": "vgg"}},
        faults=(_COPIES, "preprocessing of VGG"), threshold="half", note="from random weights"),
    Run("br35h-inception-grouped", _INCEPTION, MENDED, "grouped", _INCEPTION, _FROM_ZERO,
        note="from random weights"),
    Run("br35h-lite-frozen", _INCEPTION, MENDED, FOLDS, "mobilenet-frozen",
        {"network": "efficientnet-lite0", "options": {"dropout": 0.2, "attention": False}},
        note="what its author could have taken: EfficientNet-Lite0 of ImageNet, frozen"),
    Run("br35h-ours", _INCEPTION, OURS, FOLDS, "base", _FEW_SCANS,
        note=_ALONE_NOTE),
    Run("br35h-ours-unseen", _INCEPTION, OURS, LEFT_OUT, "base", start=STRANGERS),
    Run("br35h-ours-adapted", _INCEPTION, OURS, FOLDS, "base", _ADAPTED, start=STRANGERS),
)  # fmt: skip
_BOHAJU_RUNS = (
    Run("bohaju-cnn-published", _BOHAJU, THEIRS, "published, as it was", _BOHAJU, _AS_IT_WAS,
        search="bohaju-search", faults=(_COPIES,), threshold="half"),
    Run("bohaju-cnn-grouped", _BOHAJU, MENDED, "grouped", _BOHAJU,
        search="bohaju-search-grouped"),
    Run("bohaju-ours-published", _BOHAJU, OURS, "published", "base",
        {**_MORE_SCANS, "side": 144, "train_side": 128}, note="from ImageNet; that set alone"),
    Run("bohaju-shipped", _BOHAJU, OURS, SHIPPED, "base"),
    Run("bohaju-ours-unseen", _BOHAJU, OURS, LEFT_OUT, "base", start=STRANGERS),
    Run("bohaju-ours-adapted", _BOHAJU, OURS, "published", "base",
        {**_ADAPTED, "max_risk": 0.0, "sensitivity_aim": 0.99}, start=STRANGERS,
        note="threshold for 99 % of the tumors of validation"),
)  # fmt: skip
_NAVONEEL_RUNS = (
    Run("navoneel-cnn-random", _NAVONEEL, THEIRS, "random", _NAVONEEL, _AS_IT_WAS,
        faults=(_COPIES, "threshold chosen on the test part"), threshold="best on test"),
    Run("navoneel-cnn-folds", _NAVONEEL, MENDED, FOLDS, _NAVONEEL, repeats=5),
    Run("navoneel-ours", _NAVONEEL, OURS, FOLDS, "base", _FEW_SCANS, repeats=5,
        note=_ALONE_NOTE),
    Run("navoneel-ours-unseen", _NAVONEEL, OURS, LEFT_OUT, "base", start=STRANGERS),
    Run("navoneel-ours-adapted", _NAVONEEL, OURS, FOLDS, "base", _FEW_ADAPTED, repeats=5,
        start=STRANGERS),
)  # fmt: skip
RUNS: tuple[Run, ...] = (*_MULTIMODAL_RUNS, *_BR35H_RUNS, *_BOHAJU_RUNS, *_NAVONEEL_RUNS)
# What costs least and says most comes first; the others follow in the order of RUNS.
FIRST = ("multimodal-shipped", "br35h-shipped", "bohaju-shipped", "br35h-ours", "navoneel-ours",
         "navoneel-cnn-random", "br35h-lite-frozen", "multimodal-xception-grouped",
         "multimodal-xception-published", "multimodal-xception-seven", "multimodal-ours-published",
         "bohaju-ours-published", "br35h-ours-unseen", "bohaju-ours-unseen",
         "navoneel-ours-unseen", "navoneel-ours-adapted", "br35h-ours-adapted",
         "bohaju-ours-adapted", "navoneel-cnn-folds", "br35h-cnn-grouped",
         "multimodal-ours-grouped", "multimodal-xception-leaky")  # fmt: skip
