"""What the names of files and folders say about which scans belong together.

Many sets record no patient and yet tell it: `class/P1/12.png`, `patient07_FLAIR_036.jpg`. And many
were augmented before anyone split them: `aug_Y12_3_8871.jpg` and `Y12_flip.jpg` are Y12 once more.
What is sure becomes a group; what may be so is said and left to the reader.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tumorlens.labels import canonical_label
from tumorlens.records import Case
from tumorlens.study.data.case_table import SPLIT_NAMES, UNLABELED_NAMES
from tumorlens.study.data.registry import DATASETS

MIN_GROUPS = 3  # fewer folders or stems are no patients: no set of two could be split
MAX_SHARE = 0.5  # of the files of a set in one folder, if folders are patients
MIN_MEMBERS = 1.5  # files of a group in the mean
MIN_NAMED = 0.6  # of the files of a set, if their names are <patient>_<slice>
_KINDS = """ct mri mr t1 t1c t1ce t1gd t1w t2 t2w flair dwi adc pd axial coronal sagittal
image images img imgs scan scans slice slices frame z png jpg jpeg dcm dicom data dataset
all raw original originals augmented aug masks mask crop cropped preprocessed"""
_NO_GROUP = frozenset(_KINDS.split())
_MARK = re.compile(
    r"(aug|augm|augmented|augmentation|copy|[hv]?flip|flipped|fliplr|flipud|mirror|mirrored|rot|"
    r"rotate|rotated|rotation|bright|brightness|brighter|darker|contrast|zoom|zoomed|crop|cropped|"
    r"shift|shifted|noise|noisy|blur|blurred|invert|inverted|shear|sheared|scaled|gamma)\d*"
)
_ROBOFLOW = re.compile(r"(?:[_.](?:jpg|jpeg|png))?\.rf\.[0-9a-f]{8,}$")
_PATIENT = re.compile(r"(patient|pat|pt|p|sub|subject|subj|case)\d+")
_PATIENT_WORD = frozenset({"patient", "pat", "pt", "sub", "subject", "subj", "case"})


@dataclass(frozen=True)
class NamedGroups:
    """What names say of n cases."""

    names: tuple[str, ...]  # the same for cases of one group and data set, "" where unknown
    notes: tuple[str, ...]  # what was taken as a group and what may be one, for people


def read_names(cases: Sequence[Case]) -> NamedGroups:
    """Find patients and augmented copies by names, in sets that record no patient and no group."""
    members: dict[str, list[int]] = defaultdict(list)
    for i, case in enumerate(cases):
        members[case.dataset].append(i)
    names, notes = [""] * len(cases), []
    for dataset, rows in members.items():
        chosen = [cases[i] for i in rows]
        if any(case.patient or case.group for case in chosen):
            continue
        found, said = _of_one_set(chosen)
        notes += [f"{dataset}: {text}" for text in said]
        for i, name in zip(rows, found, strict=True):
            names[i] = name
    return NamedGroups(tuple(names), tuple(notes))


def _of_one_set(cases: Sequence[Case]) -> tuple[list[str], list[str]]:
    folders, said = _by_folder(cases)
    if any(folders):
        return folders, said
    for read in (_by_source, _by_patient):
        found, more = read(cases)
        said += more
        if any(found):
            return found, said
    return [""] * len(cases), said


def _by_folder(cases: Sequence[Case]) -> tuple[list[str], list[str]]:
    """Take folders inside the classes as patients."""
    inside = [_own_folders(case) for case in cases]
    depth = max(map(len, inside))
    for at in range(depth):  # a folder that holds all the others is no patient
        folders = [parts[at] if len(parts) > at else "" for parts in inside]
        counts = Counter(name for name in folders if name)
        if len(counts) > 1:
            break
    else:
        return [], []
    listed = _listed(sorted(counts))
    if len(counts) < MIN_GROUPS or max(counts.values()) > MAX_SHARE * len(cases):
        return [], [f"the folders {listed} inside the classes may be patients. {_WHAT_TO_WRITE}"]
    return folders, [
        f"{len(counts)} folders inside the classes ({listed}) are taken as patients; "
        "the scans of one stay together"
    ]


_WHAT_TO_WRITE = (
    "If so, write what belongs together: `tumorlens data index DIR`, fill the column patient "
    "(or group) of its cases.csv, and run this again."
)


def _own_folders(case: Case) -> list[str]:
    """Return the folders of a case that name neither a part, nor a label, nor a kind of image."""
    known = DATASETS.get(case.dataset.lower())
    labels: Mapping[str, str] = known.labels if known else {}
    return [
        part
        for part in PurePosixPath(case.key).parts[1:-1]
        if part.lower() not in _NO_GROUP | SPLIT_NAMES.keys() | UNLABELED_NAMES | {".", ".."}
        and canonical_label(labels.get(part, part)) is None
    ]


def _by_source(cases: Sequence[Case]) -> tuple[list[str], list[str]]:
    """Name the image that each augmented copy is of, and that image itself, by class."""
    stems = [case.path.stem for case in cases]
    marked = [i for i, stem in enumerate(stems) if _is_marked(stem)]
    if not marked:
        return [], []
    for dropped in range(3):  # numbers at the end, behind a leading mark
        sources = [(c.label, _source(stem, dropped)) for c, stem in zip(cases, stems, strict=True)]
        counts = Counter(source for source in sources if source[1])
        shared = sum(counts[sources[i]] > 1 for i in marked)
        of_label = Counter(label for label, _ in {sources[i] for i in marked})
        if shared >= MIN_NAMED * len(marked) and min(of_label.values()) >= MIN_GROUPS:
            groups = {sources[i] for i in marked if sources[i][1]}
            n = sum(source in groups for source in sources)
            text = f"are taken as augmented copies: {n} files of {len(groups)} images"
            return (
                ["/".join(source) if source in groups else "" for source in sources],
                [f"names such as {cases[marked[0]].path.name} {text}"],
            )
    text = f"names such as {cases[marked[0]].path.name} may be augmented copies ({len(marked)})"
    return [], [f"{text}; of what, they do not say. {_WHAT_TO_WRITE}"]


def _is_marked(stem: str) -> bool:
    return bool(_ROBOFLOW.search(stem)) or any(map(_MARK.fullmatch, _tokens(stem)))


def _source(stem: str, dropped: int) -> str:
    """Return the stem without what augmentation added; behind a leading mark, numbers too."""
    if _ROBOFLOW.search(stem):
        return _joined(_tokens(_ROBOFLOW.sub("", stem)))
    tokens = _tokens(stem)
    marks = [at for at, token in enumerate(tokens) if _MARK.fullmatch(token)]
    if not marks:
        return _joined(tokens)
    if marks[0] > 0:
        return _joined(tokens[: marks[0]])
    rest = [token for token in tokens if not _MARK.fullmatch(token)]
    numbers = len(rest) - len(_without_numbers(rest))
    return _joined(rest[: len(rest) - min(dropped, numbers)])


def _by_patient(cases: Sequence[Case]) -> tuple[list[str], list[str]]:
    """Take <patient>_<slice> as patients where a word says so; else only mention it."""
    tokens = [_tokens(case.path.stem) for case in cases]
    sure = [_joined(_patient(row)) for row in tokens]
    may_be = [_joined(_before_slice(row)) for row in tokens]
    for names, is_sure in ((sure, True), (may_be, False)):
        counts = Counter(name for name in names if any(map(str.isdigit, name)))
        named = sum(counts.values())
        if (
            len(counts) < MIN_GROUPS
            or named < MIN_NAMED * len(cases)
            or named < MIN_MEMBERS * len(counts)
        ):
            continue
        example = next(c.path.name for c, name in zip(cases, names, strict=True) if name in counts)
        if is_sure:
            text = f"names such as {example} are taken as slices of {len(counts)} patients"
            return [name if name in counts else "" for name in names], [text]
        text = f"names such as {example} may be <patient>_<slice>, of {len(counts)} patients"
        return [], [f"{text}; nothing was taken from them. {_WHAT_TO_WRITE}"]
    return [], []


def _patient(tokens: Sequence[str]) -> Sequence[str]:
    """Return the tokens up to the one that names a patient, or none."""
    for at, token in enumerate(tokens[:-1]):
        if token == "tcga" and len(tokens) > at + 3:
            return tokens[: at + 3]
        if _PATIENT.fullmatch(token):
            return tokens[: at + 1]
        if token in _PATIENT_WORD and any(map(str.isdigit, tokens[at + 1])) and tokens[at + 2 :]:
            return tokens[: at + 2]
    return ()


def patient_of_volume(path: Path, class_folder: Path | None = None) -> str:
    """Return whose volume a file is, by its name or that of its folder, without words such as T1.

    A name that no word calls a patient's counts inside its class folder alone.

    >>> patient_of_volume(Path("BraTS_007_flair.nii.gz")), patient_of_volume(Path("sub-01_T1w.nii"))
    ('brats_007', 'sub_01')
    """
    names = (re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE), path.parent.name)
    for tokens in map(_tokens, names):
        if named := _patient([*tokens, ""]):
            return _joined(named)
    own = _joined(_without_words(_without_words(_tokens(names[0]))[::-1])[::-1])
    if not re.search(r"\d", own):
        own = path.parent.name  # each folder holds the same names
    return f"{class_folder.name}/{own}" if class_folder else own


def _before_slice(tokens: Sequence[str]) -> Sequence[str]:
    """Return the tokens before the last number, without words such as T1 and slice."""
    rest = list(_without_words(tokens))
    if not rest or not rest[-1].isdigit():
        return ()
    return _without_words(rest[:-1])


def _without_words(tokens: Sequence[str]) -> Sequence[str]:
    end = len(tokens)
    while end and tokens[end - 1] in _NO_GROUP:
        end -= 1
    return tokens[:end]


def _without_numbers(tokens: Sequence[str]) -> Sequence[str]:
    end = len(tokens)
    while end and tokens[end - 1].isdigit():
        end -= 1
    return tokens[:end]


def _tokens(stem: str) -> list[str]:
    return [token for token in re.split(r"[^0-9a-z]+", stem.lower()) if token]


def _joined(tokens: Sequence[str]) -> str:
    return "_".join(tokens)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
