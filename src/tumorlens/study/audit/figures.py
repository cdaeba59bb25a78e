"""An audit as plain figures: what audit.json holds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from tumorlens import __version__
from tumorlens.json_records import to_json
from tumorlens.labels import UNLABELED
from tumorlens.study.audit.duplicates.copies import KINDS
from tumorlens.study.audit.leaks import leak_figures, shared_pictures
from tumorlens.study.audit.run import Audit

SCHEMA = 1
MOST_NAMED = 200  # files in a list of audit.json; files.csv holds them all
SERIOUS = 0.75  # AUC of a shortcut whose interval lies above


def audit_figures(audit: Audit, *, folders: Sequence[str], now: datetime) -> dict[str, Any]:
    """Give everything that audit.json holds; `now` dates it."""
    cases, groups = audit.cases, audit.groups
    pictures = groups.image_ids.tolist()
    sets = [case.dataset for case in cases]
    has_split = any(audit.parts)
    leaks = leak_figures(cases, audit.parts, groups, audit.patients) if has_split else None
    return {
        "schema": SCHEMA,
        "tumorlens": __version__,
        "created": now.isoformat(timespec="seconds"),
        "fingerprint": groups.audit,
        "folders": list(folders),
        "n": len(cases),
        "pictures": len(set(pictures)),
        "groups": len(set(groups.groups.tolist())),
        "datasets": _by(audit, sets),
        "labels": _by(audit, [case.label for case in cases]),
        "links": dict.fromkeys(KINDS, 0) | Counter(link.kind for link in audit.links),
        "split": {"name": audit.split, "leaking": audit.leaking, "leaks": leaks},
        "copies": {
            "by_split": shared_pictures([part or "-" for part in audit.parts], pictures),
            "by_dataset": shared_pictures(sets, pictures),
        },
        "patients": {
            "known": sum(map(bool, audit.patients.names)),
            "n": len({name for name in audit.patients.names if name}),
            "inherited": int(audit.patients.inherited.sum()),
            "disputed": audit.patients.disputed,
        },
        "conflicts": _conflicts(audit),
        "shortcuts": [to_json(row) for row in audit.shortcuts],
        "privacy": _privacy(audit),
        "quality": _quality(audit),
        "balance": balance([c.label for c in cases], list(audit.parts), sets),
        "bundle": audit.bundle.version,
    }


def _by(audit: Audit, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count files, pictures, groups and known patients of each name."""
    found: dict[str, dict[str, set[Any]]] = {}
    counts = Counter(names)
    columns = (audit.groups.image_ids.tolist(), audit.groups.groups.tolist(), audit.patients.names)
    for name, picture, group, patient in zip(names, *columns, strict=True):
        held = found.setdefault(name, {"pictures": set(), "groups": set(), "patients": set()})
        held["pictures"].add(picture)
        held["groups"].add(group)
        held["patients"].update({patient} - {""})
    return {
        name: {"n": counts[name], **{key: len(held) for key, held in found[name].items()}}
        for name in sorted(found)
    }


def _conflicts(audit: Audit) -> dict[str, Any]:
    by_labels: Counter[tuple[str, str, str]] = Counter()
    for conflict in audit.conflicts:
        a, b = sorted(audit.cases[i].label for i in (conflict.link.a, conflict.link.b))
        by_labels[conflict.kind, a, b] += 1
    kinds = Counter(conflict.kind for conflict in audit.conflicts)
    of = audit.groups.image_ids.tolist()
    pictures = {
        kind: len({of[c.link.a] for c in audit.conflicts if c.kind == kind})
        for kind in ("contradictory", "refining")
    }
    return {
        "pairs": {"contradictory": kinds["contradictory"], "refining": kinds["refining"]},
        "pictures": pictures,
        "by_labels": [
            {"kind": kind, "labels": [a, b], "pairs": count}
            for (kind, a, b), count in by_labels.most_common()
        ],
    }


def _privacy(audit: Audit) -> dict[str, Any]:
    fields: Counter[str] = Counter()
    with_text: Counter[str] = Counter()
    over_head = 0
    for case, facts, boxes in zip(audit.cases, audit.survey.facts, audit.survey.text, strict=True):
        fields.update(facts.exif if facts else ())
        with_text[case.label] += bool(boxes)
        over_head += any(box.over_head for box in boxes)
    return {
        "with_text": sum(with_text.values()),
        "over_head": over_head,
        "by_label": {label: with_text[label] for label in sorted(with_text)},
        "fields": dict(fields.most_common()),
        "with_fields": sum(bool(facts and facts.exif) for facts in audit.survey.facts),
    }


def _quality(audit: Audit) -> dict[str, Any]:
    unreadable = [i for i, error in enumerate(audit.survey.errors) if error]
    path = [str(case.path) for case in audit.cases]
    return {
        "unreadable": len(unreadable),
        "odd": len(audit.header_outliers),
        "unusual": len(audit.ood),
        "scope_limit": audit.bundle.ood_reference.limit,
        "unlabeled": sum(case.label == UNLABELED for case in audit.cases),
        "listed": {
            "unreadable": [
                {"path": path[i], "reason": audit.survey.errors[i]} for i in unreadable[:MOST_NAMED]
            ],
            "odd": [
                {"path": path[odd.position], "reason": "; ".join(odd.reasons)}
                for odd in audit.header_outliers[:MOST_NAMED]
            ],
            "unusual": [
                {"path": path[far.position], "distance": round(far.distance, 4)}
                for far in audit.ood[:MOST_NAMED]
            ],
        },
    }


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


def serious_shortcuts(figures: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the single families that give a label away, as the files are stored."""
    return [
        row
        for row in figures["shortcuts"]
        if row["stage"] == "as stored"
        and row["family"] != "all of these"
        and row["auc"] is not None
        and np.nan_to_num(row["auc_low"]) > SERIOUS
    ]
