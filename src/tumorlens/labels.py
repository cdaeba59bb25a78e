"""The label algebra: a softmax over atoms, and labels that are sets of atoms.

A folder called `yes` in a set of MRI slices says "a tumor of some type", which is the set
of the three MRI tumor atoms. The loss of a label is `-log` of the probability of its set,
so sets of different detail train one network, and each task is a sum over atoms.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ATOMS = ("ct_healthy", "ct_tumor", "mri_healthy", "mri_glioma", "mri_meningioma", "mri_pituitary")
TYPES: tuple[Literal["glioma", "meningioma", "pituitary"], ...] = (
    "glioma",
    "meningioma",
    "pituitary",
)
MODALITIES: tuple[Literal["ct", "mri"], ...] = ("ct", "mri")
_MODALITY_WORDS = {"ct": {"ct"}, "mri": {"mri", "mr"}}
UNLABELED = "unlabeled"  # of scans that an audit counts and nothing else uses
ALL_SLICES, UNKNOWN_SLICES = "all", "unknown"  # of a volume in a table: which show its tumor

_MRI_TUMORS = frozenset(f"mri_{name}" for name in TYPES)

LABELS: Mapping[str, frozenset[str]] = {
    **{atom: frozenset({atom}) for atom in ATOMS},
    "mri_tumor": _MRI_TUMORS,  # the type was not recorded
    "healthy": frozenset({"ct_healthy", "mri_healthy"}),  # the modality was not recorded
    "tumor": _MRI_TUMORS | {"ct_tumor"},
    UNLABELED: frozenset(ATOMS),
}

# Folder and column names met in public sets, after `_normal`; values are rows of LABELS,
# or the part after "<modality>_" where the modality has to come from elsewhere.
NAMES: Mapping[str, str] = {
    **{name: name for name in LABELS if name != UNLABELED},
    "yes": "tumor",
    "no": "healthy",
    "no_tumor": "healthy",
    "notumor": "healthy",
    "non_tumor": "healthy",
    "normal": "healthy",
    "negative": "healthy",
    "positive": "tumor",
    "glioma": "mri_glioma",
    "glioma_tumor": "mri_glioma",
    "meningioma": "mri_meningioma",
    "meningioma_tumor": "mri_meningioma",
    "pituitary": "mri_pituitary",
    "pituitary_tumor": "mri_pituitary",
    "mri_non_tumor": "mri_healthy",
    "mri_no_tumor": "mri_healthy",
    "mri_notumor": "mri_healthy",
    "mri_normal": "mri_healthy",
    "ct_non_tumor": "ct_healthy",
    "ct_no_tumor": "ct_healthy",
    "ct_normal": "ct_healthy",
}


def _normal(name: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")
    return words.replace("tumour", "tumor")


def canonical_label(name: str, *, modality: str | None = None) -> str | None:
    """Return the canonical label of a class folder's name, or None if it is not known.

    `modality` ("ct" or "mri") narrows a name that leaves it open. A CT folder of a tumor
    type keeps only the fact of the tumor: CT slices are not typed here.

    >>> canonical_label("Yes"), canonical_label("no tumor", modality="mri")
    ('tumor', 'mri_healthy')
    >>> canonical_label("zebra") is None
    True
    """
    label = NAMES.get(_normal(name))
    if label is None or modality is None:
        return label
    if label in ("healthy", "tumor"):
        return f"{modality}_{label}"
    if modality == "ct" and _normal(name).removesuffix("_tumor") in TYPES:
        return "ct_tumor"
    return label


def modalities_named(name: str) -> tuple[Literal["ct", "mri"], ...]:
    """Return the modalities that words of a name say: of a folder, a file, a data set.

    >>> modalities_named("Brain tumor MRI images"), modalities_named("actual")
    (('mri',), ())
    """
    words = set(_normal(name).split("_"))
    return tuple(modality for modality in MODALITIES if words & _MODALITY_WORDS[modality])


def label_mask(labels: Sequence[str], atoms: Sequence[str] = ATOMS) -> NDArray[np.float32]:
    """Write labels as 0/1 rows over atoms, shape [n, atoms].

    Raises KeyError for a label outside LABELS, ValueError for one with no atom here.
    """
    rows = np.array([[atom in LABELS[label] for atom in atoms] for label in labels], np.float32)
    rows = rows.reshape(len(labels), len(atoms))
    if len(labels) and not rows.any(axis=1).all():
        lost = sorted({labels[i] for i in np.flatnonzero(~rows.any(axis=1)).tolist()})
        raise ValueError(f"labels without any of the atoms {tuple(atoms)}: {lost}")
    return rows


def is_tumor(label: str) -> bool:
    """Tell whether every atom of a label is a tumor; raises ValueError where it is open."""
    flags = {not atom.endswith("_healthy") for atom in LABELS[label]}
    if len(flags) != 1:
        raise ValueError(f"{label} says neither tumor nor healthy")
    return flags.pop()


def modality_of(label: str) -> str | None:
    """Return "ct" or "mri" where every atom of a label agrees, else None."""
    found = {atom.split("_", 1)[0] for atom in LABELS[label]}
    return found.pop() if len(found) == 1 else None


def type_of(label: str) -> str | None:
    """Return the tumor type where a label names exactly one, else None."""
    atoms = LABELS[label]
    name = next(iter(atoms)).split("_", 1)[1] if len(atoms) == 1 else ""
    return name if name in TYPES else None


def tumor_probability(
    probabilities: NDArray[np.floating], atoms: Sequence[str] = ATOMS
) -> NDArray[np.floating]:
    """Sum the tumor atoms: [..., atoms] -> [...]."""
    return probabilities[..., [not atom.endswith("_healthy") for atom in atoms]].sum(-1)


def modality_probability(
    probabilities: NDArray[np.floating], modality: str, atoms: Sequence[str] = ATOMS
) -> NDArray[np.floating]:
    """Sum the atoms of one modality: [..., atoms] -> [...]."""
    return probabilities[..., [atom.startswith(f"{modality}_") for atom in atoms]].sum(-1)


def given_modality(
    probabilities: NDArray[np.floating], modality: str | None, atoms: Sequence[str] = ATOMS
) -> NDArray[np.floating]:
    """Return the probabilities given a modality: [..., atoms] -> [..., atoms], rows sum to 1.

    So they stay for None, and where no atom is of that modality.

    >>> given_modality(np.array([0.1, 0.3, 0.6, 0, 0, 0]), "ct").round(2).tolist()
    [0.25, 0.75, 0.0, 0.0, 0.0, 0.0]
    """
    is_of = [modality is None or atom.startswith(f"{modality}_") for atom in atoms]
    if all(is_of) or not any(is_of):
        return probabilities
    kept = probabilities * np.array(is_of)
    return kept / np.maximum(kept.sum(-1, keepdims=True), np.finfo(kept.dtype).tiny)


def modalities_of(names: Sequence[str], probabilities: NDArray[np.floating]) -> NDArray[np.str_]:
    """Return the modality that each label records, or the likelier one where it records none, [n].

    `probabilities` are over ATOMS, [n, atoms].
    """
    mri = modality_probability(probabilities, "mri") >= 0.5
    known = [modality_of(name) for name in names]
    predicted = np.where(mri, "mri", "ct").tolist()
    return np.array([k or p for k, p in zip(known, predicted, strict=True)], np.str_)


def modality_rows(modalities: NDArray[np.str_]) -> dict[str, NDArray[np.bool_]]:
    """Return the rows of "all" and of each modality that is there, [n] each."""
    present = {name: modalities == name for name in MODALITIES if (modalities == name).any()}
    return {"all": np.ones(len(modalities), bool), **present}


def type_probabilities(
    probabilities: NDArray[np.floating], atoms: Sequence[str] = ATOMS
) -> NDArray[np.floating]:
    """Return the three types given an MRI tumor: [..., atoms] -> [..., 3], rows sum to 1."""
    typed = probabilities[..., [list(atoms).index(f"mri_{name}") for name in TYPES]]
    return typed / np.maximum(typed.sum(-1, keepdims=True), np.finfo(typed.dtype).tiny)
