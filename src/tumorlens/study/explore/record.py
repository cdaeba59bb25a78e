"""explore.json: everything that a dashboard needs, and the pictures beside it by name."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tumorlens import __version__, labels
from tumorlens.files import replacing
from tumorlens.study.explore.drawing import draw_pictures, file_name
from tumorlens.study.explore.hypotheses import Judgment
from tumorlens.study.explore.pictures import Difference, shrunk_difference
from tumorlens.study.explore.run import Exploration, modality_name
from tumorlens.study.features.table import write_features

SCHEMA = 1
RECORD, FEATURES = "explore.json", "features.csv"


def explore_figures(
    exploration: Exploration,
    judgments: Sequence[Judgment],
    *,
    folders: Sequence[str],
    now: datetime,
) -> dict[str, Any]:
    """Give everything that explore.json holds, finite numbers only; `now` dates it."""
    cases, table = exploration.cases, exploration.table
    figures = {
        "schema": SCHEMA,
        "tumorlens": __version__,
        "created": now.isoformat(timespec="seconds"),
        "folders": list(folders),
        "n": len(cases),
        "unreadable": int((~table.usable).sum()),
        "groups": len({case.group for case in cases}),
        "audit": exploration.audit,
        "input": exploration.spec.to_json(),
        "features_table": FEATURES,
        "balance": exploration.balance,
        "sizes": exploration.sizes,
        "pictures": _pictures(exploration),
        "differences": [_difference(found) for found in exploration.differences],
        "features": exploration.studies,
        "frames": exploration.frames,
        "shortcuts": [asdict(row) for row in exploration.shortcuts],
        "hypotheses": [_judgment(row) for row in judgments],
    }
    return finite(figures)


def _pictures(exploration: Exploration) -> dict[str, Any]:
    counts = exploration.counts
    found = {}
    for name, kept in exploration.pictures.items():
        montage = exploration.montages[name]
        known = name in labels.LABELS
        found[name] = {
            "n": counts[name][0],
            "n_groups": counts[name][1],
            "label": name if known else None,  # None: several labels together
            "modality": modality_name(name) if known else None,
            "mean": file_name("mean", name),
            "variability": file_name("variability", name),
            "montage": file_name("montage", name) if montage.pictures else None,
            "montage_n": len(montage.pictures),
            "montage_withheld": montage.withheld,
            "histogram": kept.histogram,
        }
    return found


def _difference(found: Difference) -> dict[str, Any]:
    row: dict[str, Any] = {
        "first": found.first,
        "second": found.second,
        "picture": file_name("difference", found.second, found.first),
        "test": None,
    }
    if found.test is None:
        return row
    test, significant = found.test, found.test.significant
    sizes = shrunk_difference(found).ravel()[significant]
    return row | {
        "test": {
            "p": test.p.min(),
            "threshold": test.threshold,
            "n_groups_first": test.n_first,
            "n_groups_second": test.n_second,
            "permutations": test.permutations,
            "significant_share": significant.mean(),
            "brightest": sizes.max() if len(sizes) else None,  # grey levels, second less first
            "darkest": sizes.min() if len(sizes) else None,
        }
    }


def _judgment(row: Judgment) -> dict[str, Any]:
    return {
        "id": row.hypothesis.id,
        "statement": row.hypothesis.statement,
        "test": row.hypothesis.test,
        "rule": row.hypothesis.rule,
        "verdict": row.verdict,
        "reason": row.reason,
        "findings": [asdict(finding) for finding in row.findings],
    }


def finite(value: Any) -> Any:
    """Turn NumPy's numbers into Python's, and what is not a finite number into None."""
    if isinstance(value, Mapping):
        return {str(key): finite(held) for key, held in value.items()}
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, list | tuple):
        return [finite(held) for held in value]
    if isinstance(value, np.generic):
        return finite(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_exploration(
    exploration: Exploration,
    figures: Mapping[str, Any],
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, bytes]:
    """Write explore.json, features.csv and the PNGs into a folder; give the PNGs by name."""
    drawn: dict[str, bytes] = {}
    total = sum(1 for _ in picture_names(figures))
    for name, data in draw_pictures(exploration):
        drawn[name] = data
        with replacing(out / name) as partial:
            partial.write_bytes(data)
        if progress:
            progress(len(drawn), total)
    write_features(exploration.table, out / FEATURES)
    with replacing(out / RECORD) as partial:
        text = json.dumps(figures, indent=1, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
    return drawn


def picture_names(figures: Mapping[str, Any]) -> Iterable[str]:
    """List the PNGs that a record names."""
    for row in figures["pictures"].values():
        yield from filter(None, (row["mean"], row["variability"], row["montage"]))
    yield from (row["picture"] for row in figures["differences"])
