"""The recipe: everything a training run decides, but for the data, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

IMAGENET, NO_WEIGHTS = "imagenet", "none"


@dataclass(frozen=True)
class Recipe:
    """A training run, but for the data."""

    name: str
    summary: str
    network: str  # a row of study.networks.registry
    side: int  # pixels of the prepared square, in validation and use
    train_side: int  # pixels while training: fewer cost less, and see FixRes in `training.loop`
    epochs: int
    batch: int = 64
    learning_rate: float = 2e-3  # peak, after warm-up
    weight_decay: float = 0.02
    warmup_epochs: float = 2.0
    ema: float = 0.998  # per step; the averaged weights are validated and shipped
    augmentation: float = 1.0  # strength of every augmentation, 0 turns all off
    photometric: float = 1.0  # share of it that all but the pose has; 0: pose alone
    changed: float = 0.0  # share of scans with known places shown as counterfactual pictures
    painted: float = 0.0  # share of those painted with a lesion of random gray values
    evidence: float = 0.0  # weight of the loss on where the evidence stands; 0: off
    balance: float = 0.5  # 0: cases as they are; 1: every data set and label equally often
    outsiders: int = 0  # drawn pictures of what is no head, to be unsure about
    precision: str = "float32"  # or "bfloat16", or "auto": see training.precision
    eight_bit: bool = False  # narrow the exported convolutions where that costs no accuracy
    patience: int = 15  # epochs without a better validation loss before stopping
    sensitivity_aim: float = 0.98  # of the operating point, met on validation
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)  # of the network, such as dense
    weights: str = NO_WEIGHTS  # of the backbone: "imagenet", "none" or the name of a file
    head_epochs: int = 0  # on features of the frozen backbone, kept on disk, before epoch 1
    head_learning_rate: float = 1e-3
    head_views: int = 1  # pictures of each scan for them: itself, and augmented ones
    tuned_blocks: int = -1  # last blocks of the backbone that learn from epoch 1 on; -1: all

    def to_json(self) -> dict[str, Any]:
        """Give the fields as plain data."""
        return asdict(self)
