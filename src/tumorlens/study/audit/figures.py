"""An audit counted: the figures of `audit.json`, and tables of what they count."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from tumorlens import __version__
from tumorlens.files import write_table
from tumorlens.labels import LABELS, UNLABELED, is_tumor
from tumorlens.study.audit.duplicates.copies import KINDS
from tumorlens.study.audit.result import (
    SCHEMA,
    AuditResult,
    Counts,
    FarFile,
    JudgedSplit,
    LabelConflicts,
    LabelDoubt,
    LabelPair,
    Leaks,
    Listed,
    Privacy,
    Quality,
    Remark,
)
from tumorlens.study.audit.run import CONFLICT_KINDS, Audit
from tumorlens.study.data.groups import find_leaks

MAX_NAMED = 200  # files in a list of audit.json; files.csv holds them all
PAIRS = ("a", "b", "kind", "orientation", "score", "change")
CONFLICTS = ("a", "b", "label_a", "label_b", "kind", "orientation", "score")
LABEL_CHECK = ("path", "label", "suggested", "probability", "recorded_probability")
TEXT = ("path", "x", "y", "width", "height", "over_head")
FACTS = ("width", "height", "mode", "format", "bytes")
FILES = ("path", "case", "label", "split", "group", "image_id", "patient", "patient_inherited",
         *FACTS, "text_rows", "fields", "distance", "remarks", "error")  # fmt: skip


def audit_result(audit: Audit, *, folders: Sequence[str], now: datetime) -> AuditResult:
    """Count everything that audit.json holds, but for its gallery; `now` dates it."""
    groups, names, image_ids = audit.groups, audit.patients.names, audit.groups.image_ids.tolist()
    sets, labels = [c.dataset for c in audit.cases], [c.label for c in audit.cases]
    return AuditResult(
        schema=SCHEMA,
        tumorlens=__version__,
        created=now.isoformat(timespec="seconds"),
        fingerprint=groups.audit,
        folders=tuple(folders),
        n=len(audit.cases),
        images=len(set(image_ids)),
        groups=len(set(groups.groups.tolist())),
        datasets=_counts(audit, sets),
        labels=_counts(audit, labels),
        links=dict.fromkeys(KINDS, 0) | Counter(link.kind for link in audit.links),
        split=JudgedSplit(audit.split, audit.leaking, _leaks(audit, labels)),
        copies={
            "by_split": shared_images([part or "-" for part in audit.parts], image_ids),
            "by_dataset": shared_images(sets, image_ids),
        },
        patients={
            "known": sum(map(bool, names)),
            "n": len(set(names) - {""}),
            "inherited": int(audit.patients.inherited.sum()),
            "disputed": audit.patients.disputed,
        },
        conflicts=_conflicts(audit),
        shortcuts=audit.shortcuts,
        privacy=_privacy(audit),
        quality=_quality(audit),
        balance=balance(labels, audit.parts, sets),
        bundle=audit.bundle.version,
        notes=groups.notes,
        label_doubts=_label_doubts(audit),
        n_label_doubts=len(audit.doubtful_labels),
    )


def _label_doubts(audit: Audit) -> tuple[LabelDoubt, ...]:
    return tuple(
        LabelDoubt(
            path=str(audit.cases[doubt.position].path),
            label=audit.cases[doubt.position].label,
            suggested=doubt.suggested,
            probability=round(doubt.probability, 4),
        )
        for doubt in audit.doubtful_labels[:MAX_NAMED]
    )


def _counts(audit: Audit, names: Sequence[str]) -> dict[str, Counts]:
    """Count files, images, groups and known patients of each name."""
    rows = np.array(names, np.str_)
    patients = np.array(audit.patients.names, np.str_)
    found = {}
    for name in sorted(set(names)):
        chosen = rows == name
        found[name] = Counts(
            n=int(chosen.sum()),
            images=len(np.unique(audit.groups.image_ids[chosen])),
            groups=len(np.unique(audit.groups.groups[chosen])),
            patients=len(set(patients[chosen].tolist()) - {""}),
        )
    return found


def _leaks(audit: Audit, labels: Sequence[str]) -> Leaks | None:
    if not any(audit.parts):
        return None
    return Leaks(
        copies=tuple(find_leaks(labels, audit.parts, audit.groups.image_ids.tolist())),
        groups=tuple(find_leaks(labels, audit.parts, audit.groups.groups.tolist())),
        test_tumors=traced_tumors(labels, audit.parts, audit.patients.names),
    )


def traced_tumors(
    labels: Sequence[str], parts: Sequence[str], patients: Sequence[str]
) -> dict[str, int]:
    """Count test tumors whose patient is known, and of them those whose patient trains too."""
    trained = {name for name, part in zip(patients, parts, strict=True) if part == "train"}
    tested = [
        name
        for label, name, part in zip(labels, patients, parts, strict=True)
        if part == "test" and name and label in LABELS and label != UNLABELED and is_tumor(label)
    ]
    return {"traceable": len(tested), "in_train": sum(name in trained for name in tested)}


def shared_images(sides: Sequence[str], image_ids: Sequence[int]) -> dict[str, dict[str, int]]:
    """Count, for each ordered pair of sides, the files of one with a copy on the other.

    Within one side a file counts if it has another of the same image there.
    """
    count: dict[int, Counter[str]] = defaultdict(Counter)
    for side, image_id in zip(sides, image_ids, strict=True):
        count[image_id][side] += 1
    names = sorted(set(sides))
    table = {a: dict.fromkeys(names, 0) for a in names}
    for by_side in count.values():
        for a, files in by_side.items():
            for b in by_side:
                if a != b or files > 1:
                    table[a][b] += files
    return table


def balance(
    labels: Sequence[str], splits: Sequence[str | None], datasets: Sequence[str]
) -> dict[str, dict[str, dict[str, int]]]:
    """Count files by data set, part ("" where none is published) and label."""
    counts = Counter(
        (dataset, split or "", label)
        for label, split, dataset in zip(labels, splits, datasets, strict=True)
    )
    table: dict[str, dict[str, dict[str, int]]] = {}
    for (dataset, split, label), count in sorted(counts.items()):
        table.setdefault(dataset, {}).setdefault(split, {})[label] = count
    return table


def _conflicts(audit: Audit) -> LabelConflicts:
    by_labels: Counter[tuple[str, str, str]] = Counter()
    images: dict[str, set[int]] = {kind: set() for kind in CONFLICT_KINDS}
    for conflict in audit.conflicts:
        a, b = sorted(audit.cases[i].label for i in (conflict.link.a, conflict.link.b))
        by_labels[conflict.kind, a, b] += 1
        images[conflict.kind].add(int(audit.groups.image_ids[conflict.link.a]))
    kinds = Counter(conflict.kind for conflict in audit.conflicts)
    return LabelConflicts(
        pairs={kind: kinds[kind] for kind in CONFLICT_KINDS},
        images={kind: len(ids) for kind, ids in images.items()},
        by_labels=tuple(LabelPair(k, (a, b), n) for (k, a, b), n in by_labels.most_common()),
    )


def _privacy(audit: Audit) -> Privacy:
    fields = [facts.exif if facts else () for facts in audit.survey.facts]
    labels = [case.label for case in audit.cases]
    marked = [label for label, rows in zip(labels, audit.survey.text, strict=True) if rows]
    return Privacy(
        with_text=len(marked),
        over_head=sum(any(box.over_head for box in boxes) for boxes in audit.survey.text),
        by_label={label: marked.count(label) for label in sorted(set(labels))},
        fields=dict(Counter(name for names in fields for name in names).most_common()),
        with_fields=sum(map(bool, fields)),
    )


def _quality(audit: Audit) -> Quality:
    path, errors = [str(case.path) for case in audit.cases], audit.survey.errors
    unreadable = [Remark(path[i], error) for i, error in enumerate(errors) if error]
    outliers = [Remark(path[o.position], "; ".join(o.reasons)) for o in audit.header_outliers]
    ood = [FarFile(path[far.position], round(far.distance, 4)) for far in audit.ood]
    return Quality(
        unreadable=len(unreadable),
        header_outliers=len(outliers),
        ood=len(ood),
        ood_limit=audit.bundle.ood_reference.limit,
        unlabeled=sum(case.label == UNLABELED for case in audit.cases),
        listed=Listed(
            tuple(unreadable[:MAX_NAMED]), tuple(outliers[:MAX_NAMED]), tuple(ood[:MAX_NAMED])
        ),
    )


def write_tables(audit: Audit, out: Path) -> None:
    """Write groups, pairs, conflicts, label_check, text and files, each .csv, into a folder."""
    paths, labels = [str(c.path) for c in audit.cases], [c.label for c in audit.cases]
    groups = [f"g{number:05d}" for number in audit.groups.groups]
    patients, links = audit.patients.names, [conflict.link for conflict in audit.conflicts]
    kinds = [conflict.kind for conflict in audit.conflicts]
    write_table(
        out / "groups.csv", ("path", "group", "patient"), zip(paths, groups, patients, strict=True)
    )
    write_table(out / "pairs.csv", PAIRS, (
        (paths[k.a], paths[k.b], k.kind, k.orientation, f"{k.score:.4f}", k.change)
        for k in audit.links
    ))  # fmt: skip
    write_table(out / "conflicts.csv", CONFLICTS, (
        (paths[k.a], paths[k.b], labels[k.a], labels[k.b], kind, k.orientation, f"{k.score:.4f}")
        for kind, k in zip(kinds, links, strict=True)
    ))  # fmt: skip
    write_table(out / "label_check.csv", LABEL_CHECK, (
        (paths[d.position], labels[d.position], d.suggested, f"{d.probability:.4f}",
         f"{d.recorded_probability:.4f}")
        for d in audit.doubtful_labels
    ))  # fmt: skip
    write_table(out / "text.csv", TEXT, (
        (path, box.x, box.y, box.width, box.height, int(box.over_head))
        for path, boxes in zip(paths, audit.survey.text, strict=True)
        for box in boxes
    ))  # fmt: skip
    write_table(out / "files.csv", FILES, _file_rows(audit, paths, groups))


def _file_rows(
    audit: Audit, paths: Sequence[str], groups: Sequence[str]
) -> Iterator[dict[str, object]]:
    survey, patients = audit.survey, audit.patients
    outliers = {found.position: found.reasons for found in audit.header_outliers}
    far = {found.position: ("unlike the training scans of the bundle",) for found in audit.ood}
    for i, case in enumerate(audit.cases):
        facts, distance = survey.facts[i], survey.distance[i]
        yield {
            "path": paths[i],
            "case": case.key,
            "label": case.label,
            "split": audit.parts[i],
            "group": groups[i],
            "image_id": f"p{audit.groups.image_ids[i]:05d}",
            "patient": patients.names[i],
            "patient_inherited": int(patients.inherited[i]),
            **({name: getattr(facts, name) for name in FACTS} if facts else {}),
            "text_rows": len(survey.text[i]),
            "fields": "; ".join(facts.exif if facts else ()),
            "distance": "" if np.isnan(distance) else f"{distance:.4f}",
            "remarks": "; ".join((*survey.notes[i], *outliers.get(i, ()), *far.get(i, ()))),
            "error": survey.errors[i],
        }
