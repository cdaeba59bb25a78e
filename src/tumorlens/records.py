"""The nouns that stages hand on: frozen data, no behavior beyond views of themselves."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError

Modality = Literal["ct", "mri"]
Plane = Literal["axial", "coronal", "sagittal", "oblique"]
Decision = Literal["tumor", "no tumor", "uncertain", "out of scope"]
TumorType = Literal["glioma", "meningioma", "pituitary"]
NOT_PLAIN = "not one plain slice: "  # how the note of such a scan begins
TypeAnswer = TumorType | Literal["undetermined", ""]  # "": no type was asked for


def figure_text(value: float | None, *, digits: int = 3) -> str:
    """Return a figure as people should see it: "-" where there is none.

    >>> figure_text(0.91), figure_text(math.nan)
    ('0.910', '-')
    """
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else "-"


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; None where the scans could not show it."""

    value: float | None
    low: float | None
    high: float | None
    n: int  # scans it was counted on

    def __str__(self) -> str:
        """Return it as people should see it.

        >>> str(Estimate(0.91, 0.86, 0.95, 143))
        '0.910 (0.860-0.950, n=143)'
        """
        if self.value is None or not math.isfinite(self.value):
            return f"not measurable (n={self.n})"
        if figure_text(self.low) == "-" or figure_text(self.high) == "-":
            return f"{self.value:.3f} (n={self.n})"
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f}, n={self.n})"


@dataclass(frozen=True)
class Scan:
    """One gray slice as it was stored."""

    pixels: NDArray[np.float32]  # [h, w], finite, in the file's own intensity units
    source: str  # the path, or a name for bytes
    modality: Modality | None = None  # where the file says so
    notes: tuple[str, ...] = ()  # what was tolerated while reading
    plane: Plane | None = None
    spacing_mm: tuple[float, float] | None = None  # between rows, between columns
    position: float | None = None  # mm along the normal of the series
    frame: int | None = None  # of a file that holds several, from 0
    series: str = ""  # which slices belong together
    colors: NDArray[np.uint8] | None = None  # of `images.raster`; None: gray in the file too


@dataclass(frozen=True)
class PreparedScan:
    """A scan on its way to the network: it can wait here, where nothing but the head is left."""

    path: str
    pixels: NDArray[np.uint8]  # [side, side]; 0 outside the head
    notes: tuple[str, ...] = ()
    frame: int | None = None
    matrix: NDArray[np.float64] | None = None  # [2, 3], scan pixels (x, y) to prepared pixels
    modality: Modality | None = None  # where the file says so

    @property
    def is_plain(self) -> bool:
        """Whether it is one plain slice."""
        return not self.why_not_plain

    @property
    def why_not_plain(self) -> str:
        """Why it is not one plain slice, as the note says that begins with NOT_PLAIN, or ""."""
        found = (n.removeprefix(NOT_PLAIN) for n in self.notes if n.startswith(NOT_PLAIN))
        return next(found, "")


@dataclass(frozen=True)
class Unusable:
    """A scan that cannot be used, and why."""

    error: ImageError
    frame: int | None = None  # of a file that holds several, from 0

    @property
    def path(self) -> str:
        """The file, or a name for bytes."""
        return self.error.subject

    @property
    def reason(self) -> str:
        """What is wrong and what to do, as `Prediction.error` holds it."""
        return f"{self.error.fact}. {self.error.fix}"


@dataclass(frozen=True)
class Case:
    """One labeled scan of a data set."""

    path: Path  # openable from the working directory; FILE#FRAME of a file with several slices
    key: str  # "<dataset>/<path inside it>": stays the same wherever the set is mounted
    label: str  # canonical name, a row of labels.LABELS
    dataset: str
    split: str | None = None  # train | val | test, where the set publishes a split
    patient: str | None = None
    group: str | None = None  # cases of one group must not part
    mask: Path | None = None  # tumor mask in the scan's own pixel grid, > 0 is tumor
    volume: str = ""  # file or folder that it is a slice of, inside the set
    level: float | None = None  # of the slice in its patient's stack, 0 lowest to 1 highest

    @property
    def group_name(self) -> str:
        """Its group, or its key where it has none: then no other case belongs with it."""
        return self.group or self.key


@dataclass(frozen=True)
class Heatmap:
    """Where the evidence for a tumor stood, in the frame of the prepared image."""

    evidence: NDArray[np.float32]  # [h, w], logit units; positive speaks for a tumor
    prepared: NDArray[np.uint8]  # [side, side], what the network saw
    matrix: NDArray[np.float64] | None = None  # [2, 3], scan pixels (x, y) to prepared pixels


@dataclass(frozen=True)
class Prediction:
    """The one answer that comes out everywhere; probabilities are calibrated."""

    path: str
    modality: Modality | Literal[""] = ""  # what the file says, else what the network sees
    modality_probability: float | None = None  # as the network sees it, whatever the file says
    tumor_probability: float | None = None
    decision: Decision | Literal[""] = ""
    type: TypeAnswer = ""
    type_probabilities: Mapping[TumorType, float] = field(default_factory=dict)  # given a tumor
    threshold: float | None = None
    bundle: str = ""  # name@first 12 hex digits of its sha256
    notes: tuple[str, ...] = ()
    error: str = ""
    heatmap: Heatmap | None = None
    atoms: Mapping[str, float] = field(default_factory=dict)
    frame: int | None = None  # of a file that holds several, from 0
    series: str = ""  # its name in series.csv; none of an image that stands alone
    slice: int | None = None  # its number along the normal of the series, from 1
    embedding: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    # [D], where it was asked for

    @property
    def seen_modality(self) -> Modality | Literal[""]:
        """What the network alone would say, whatever the file says."""
        if self.modality_probability is None or self.modality_probability >= 0.5:
            return self.modality
        return "mri" if self.modality == "ct" else "ct"
