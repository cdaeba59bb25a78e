"""The page on strangers, in Markdown: every figure on it is computed from answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from studies.baselines.page import table
from studies.external_validation.left_out import (
    CHANGED,
    PLAIN,
    SOURCES,
    STEPS,
    WHOLE,
    WIDE,
    Trial,
)

from tumorlens.models.bundle import Bundle
from tumorlens.reports.page import figure, share

Found = Mapping[str, Any]
HEAD = """# External validation

!!! warning "Research use only"
    Not a medical device. Figures of a data set are not figures of a clinic.

Written by `benchmarks/external_validation.py`: what a network does with a source it never saw, with
the same scanner with and without a tumor, and with what is no head. Why this decides, and what is
done about it: [The scanner or the tumor](../concepts/scanner-or-tumor.md). Intervals: 95 %,
bootstrap over groups (1000 resamples, seed 0) unless said otherwise.
"""
ADDED = {
    PLAIN: "pose alone is augmented (turned, mirrored, moved, scaled); cases as they are",
    WIDE: "gray values, resolution, noise and rim too; data sets and labels balanced",
    CHANGED: "counterfactual pictures, the loss on places, outsiders",
    WHOLE: "painted lesions: the shipped recipe",
}
COMMAND = """## Again

```bash
python benchmarks/external_validation.py sets --audit runs/audit --split runs/shipped-split.csv \\
  --outside sets/ood/natural sets/ood/chest_xray --runs runs/external-validation \\
  --out external-validation.md
```

Work goes on where a kill broke it off; `--seeds 0` trains nothing.
"""


def write_page(
    bundle: Bundle,
    *,
    left_out: Sequence[Found],
    reflected: Found | None,
    scope: Mapping[str, Found],
) -> str:
    """Give the page; what was not measured is left out of it."""
    parts = [HEAD, _left_out(left_out) if left_out else "",
             _reflected(bundle, reflected) if reflected else "",
             _scope(bundle, scope) if scope else "", COMMAND]  # fmt: skip
    return "\n".join(part for part in parts if part)


def _left_out(found: Sequence[Found]) -> str:
    made = Trial(found[0]["source"], WHOLE, 0).recipe
    rows = [
        [" and ".join(SOURCES[row["source"]]), f"`{row['kind']}`", str(row["seeds"]),
         figure(row, "auc"), *_gain(row), str(row["n_groups"])]
        for row in found
    ]  # fmt: skip
    return (
        "## A source left out\n\n"
        f"Each network is trained without the source and all that shares a group with it, for "
        f"{made.epochs} epochs of {STEPS} batches at {made.train_side} px, and asked at "
        f"{made.side} px for one file of each picture of the source. All have the same network, "
        "scans, steps and schedule; each adds something to the one above:\n\n"
        + table(["network", "what it has"], [[f"`{kind}`", text] for kind, text in ADDED.items()])
        + "\n"
        + table(["left out", "network", "seeds", "AUC", "gain over plain, paired by group",
                 "gain of each seed", "groups"], rows)
        + "\nPainting was made after a look at what seed 0 missed in both sources, which "
        "flatters it there; the other seeds chose nothing. The shipped bundle is trained longer, "
        "larger, and on all.\n"
    )  # fmt: skip


def _gain(row: Found) -> tuple[str, str]:
    if row["kind"] == PLAIN:
        return "", ""
    return figure(row, "gain"), ", ".join(f"{gain:+.3f}" for gain in row["each_gain"])


def _reflected(bundle: Bundle, found: Found) -> str:
    return (
        "## The same patient and scanner, with and without the tumor\n\n"
        "Slices of figshare's test patients, one half of the head reflected into the other, so "
        f"that slices of one patient show both labels: {found['n']} made pictures, "
        f"{found['n_without']} of them without a tumor, {found['n_patients']} patients (intervals "
        "by patient). The recipe trains on such pictures of other patients, which flatters it.\n\n"
        + table(["bundle", "AUC, tumor in the picture or reflected away"],
                [[f"`{bundle.version}`", figure(found, "auc")]])
    )  # fmt: skip


def _scope(bundle: Bundle, found: Mapping[str, Found]) -> str:
    first = next(iter(found.values()))
    rows = [
        [name, figure(row, "refused"), f"{row['auroc']:.3f}", share(row["accepted_at_95"])]
        for name, row in found.items()
    ]
    return (
        "## What is no head\n\n"
        f"`{bundle.version}` refuses what lies farther from its training scans than "
        f"{share(bundle.ood_reference.kept)} of validation; "
        f"{share(first['inside_refused'])} of the "
        f"{first['n_inside']} distinct test scans, which are heads, lie there too. Intervals: "
        "Wilson.\n\n"
        + table(["", "out of scope", "AUROC against test scans",
                 "accepted where 95 % of test scans are"], rows)
    )  # fmt: skip
