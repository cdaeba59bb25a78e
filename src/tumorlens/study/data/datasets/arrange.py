"""The archives of a public set become a folder with `cases.csv`.

What an archive holds is compared with what the registry says of the set. Nothing is dropped in
silence: what has no place is counted by its reason, and an archive without anything known is an
error that lists what was found.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from tumorlens.errors import ArchiveError
from tumorlens.images.archive import Member, Opened, open_archive, read_member, unpack
from tumorlens.images.readers import readable_suffixes
from tumorlens.progress import Progress, silent
from tumorlens.records import Case
from tumorlens.study.data.case_table import write_cases
from tumorlens.study.data.registry import DatasetRow, LabelTable, Rule

NOT_AN_IMAGE = "files that are not images"
NO_RULE = "images in places that are not known"
COPIES = "second copies of an image under the same name"
NOT_IN_TABLE = "images that the table does not name"
NO_IMAGE = "names in the table without an image"


@dataclass(frozen=True)
class Place:
    """What a file of an archive is taken for."""

    label: str
    split: str | None = None


@dataclass(frozen=True)
class Arranged:
    """What became of the files of the archives."""

    cases: Mapping[str, int]  # by label
    left_out: Mapping[str, int]  # by reason
    missing: tuple[str, ...]  # labels that the set has elsewhere, and not here


def arrange(
    row: DatasetRow, archives: Sequence[Path], into: Path, *, progress: Progress = silent
) -> Arranged:
    """Unpack the cases of a set under `into` and write `cases.csv` beside them.

    `archives` are in the order of `row.archives`. Raises ArchiveError if one of them is damaged
    or unsafe, or if nothing in them is laid out as the set is known to be.
    """
    cases, left_out = ARRANGERS[row.arrangement](row, archives, into, progress)
    write_cases(cases, into / "cases.csv")
    found = Counter(case.label for case in cases)
    missing = tuple(sorted(known_labels(row) - set(found)))
    return Arranged(dict(sorted(found.items())), dict(sorted(left_out.items())), missing)


def known_labels(row: DatasetRow) -> set[str]:
    """Return the labels that a whole archive of this set leads to, where that is known."""
    listed = {rule.label for rule in row.rules if rule.label}
    return listed | set(row.table.classes.values() if row.table else ())


def place_by_rules(
    members: Sequence[Member], rules: Sequence[Rule]
) -> tuple[dict[Member, Place], Counter[str]]:
    """Pair each image with the label and split of the first rule that matches its path."""
    places: dict[Member, Place] = {}
    left_out: Counter[str] = Counter()
    for member in members:
        path = f"/{member.name}".lower()
        rule = next((rule for rule in rules if fnmatchcase(path, rule.pattern)), None)
        if not _is_image(member):
            left_out[NOT_AN_IMAGE] += 1
        elif rule is None or rule.label is None:
            left_out[rule.why if rule else NO_RULE] += 1
        else:
            places[member] = Place(rule.label, rule.split)
    kept = _without_copies(places)
    if len(kept) < len(places):
        left_out[COPIES] = len(places) - len(kept)
    return kept, left_out


def place_by_table(
    members: Sequence[Member], labels: Mapping[str, str]
) -> tuple[dict[Member, Place], Counter[str]]:
    """Pair each image with the label that stands beside its name; names are without suffix."""
    places: dict[Member, Place] = {}
    left_out: Counter[str] = Counter()
    for member in members:
        label = labels.get(PurePosixPath(member.name).stem)
        if not _is_image(member):
            left_out[NOT_AN_IMAGE] += 1
        elif label is None:
            left_out[NOT_IN_TABLE] += 1
        else:
            places[member] = Place(label)
    kept = _without_copies(places)
    lost = set(labels) - {PurePosixPath(member.name).stem for member in places}
    found = {COPIES: len(places) - len(kept), NO_IMAGE: len(lost)}
    return kept, left_out + Counter(found)


def _by_rules(
    row: DatasetRow, archives: Sequence[Path], into: Path, progress: Progress
) -> tuple[list[Case], Counter[str]]:
    with open_archive(archives[0]) as opened:
        places, left_out = place_by_rules(opened.members, row.rules)
        if not places:
            raise _nothing(row, opened)
        unpack(opened, list(places), into, progress=progress)
    return list(_cases(row, places, into)), left_out


def _by_table(
    row: DatasetRow, archives: Sequence[Path], into: Path, progress: Progress
) -> tuple[list[Case], Counter[str]]:
    table = row.table
    assert table is not None, "the row of a set that is arranged by a table has one"
    with open_archive(archives[0]) as opened:
        tables = [m for m in opened.members if PurePosixPath(m.name).name.lower() == table.file]
        if not tables:
            raise _nothing(row, opened)
        labels = _read_labels(opened, tables[0], table)
        places, left_out = place_by_table(opened.members, labels)
        if not places:
            raise _nothing(row, opened)
        unpack(opened, [tables[0], *places], into, progress=progress)
    return list(_cases(row, places, into)), left_out


def _by_slices(
    row: DatasetRow, archives: Sequence[Path], into: Path, progress: Progress
) -> tuple[list[Case], Counter[str]]:
    from tumorlens.study.data.datasets.figshare import SliceReader, write_slices

    with SliceReader() as reader:
        return write_slices(archives, into, dataset=row.name, read=reader.read, progress=progress)


ARRANGERS = {"rules": _by_rules, "table": _by_table, "slices": _by_slices}


def _is_image(member: Member) -> bool:
    suffix = PurePosixPath(member.name).suffix.lower()
    return suffix in readable_suffixes() and not member.is_hidden


def _without_copies(places: Mapping[Member, Place]) -> dict[Member, Place]:
    """Keep, of the same bytes under the same file name and label, the one named first."""
    first: dict[tuple[object, ...], Member] = {}
    for member, place in sorted(places.items(), key=lambda item: _depth_and_name(item[0])):
        name = PurePosixPath(member.name).name
        first.setdefault((name, place, member.size, member.crc), member)
    kept = set(first.values())
    return {member: place for member, place in places.items() if member in kept}


def _depth_and_name(member: Member) -> tuple[int, str]:
    return member.name.count("/"), member.name


def _cases(row: DatasetRow, places: Mapping[Member, Place], into: Path) -> Iterator[Case]:
    for member, place in places.items():
        yield Case(
            path=into / member.name,
            key=f"{row.name}/{member.name}",
            label=place.label,
            dataset=row.name,
            split=place.split,
        )


def _read_labels(opened: Opened, member: Member, table: LabelTable) -> dict[str, str]:
    try:
        text = read_member(opened, member).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        named = {(row[table.image] or "").strip(): (row[table.label] or "").strip() for row in rows}
    except (UnicodeDecodeError, csv.Error, KeyError) as error:
        fact = f"holds {member.name}, which is not the table it should be ({error})"
        raise ArchiveError(opened.path, fact, "Its layout may have changed.") from error
    odd = sorted(set(named.values()) - set(table.classes))
    if odd:
        fact = f"holds {member.name} with unknown classes: {', '.join(odd[:10])}"
        raise ArchiveError(opened.path, fact, f"Known are {', '.join(table.classes)}.")
    return {name: table.classes[value] for name, value in named.items() if name}


def _nothing(row: DatasetRow, opened: Opened) -> ArchiveError:
    folders = Counter(str(PurePosixPath(member.name).parent) for member in opened.members)
    listed = ", ".join(f"{name}/ ({count} files)" for name, count in folders.most_common(12))
    fact = f"holds nothing that {row.name} is known by; found: {listed or 'no files'}"
    fix = f"Check that it is the archive of {row.url}; the layout of the set may have changed."
    return ArchiveError(opened.path, fact, fix)
