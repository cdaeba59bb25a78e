"""The page of external validation, in Markdown: every figure on it is computed from scores."""

from collections.abc import Mapping, Sequence

from studies.baselines.page import table
from studies.external_validation.holdout import (
    COUNTERFACTUAL,
    FULL,
    GEOMETRIC,
    PHOTOMETRIC,
    SOURCES,
    STEPS,
    HoldoutFigures,
    HoldoutRun,
)
from studies.external_validation.reflected import ReflectedFigures
from studies.external_validation.scope import ScopeFigures

from tumorlens.models.bundle import Bundle
from tumorlens.reports.page import share

HEAD = """# External validation

!!! warning "Research use only"
    Not a medical device. Figures of a data set are not figures of a clinic.

For everybody: what to expect outside the training sets. Written by
`benchmarks/external_validation.py`: what a network does with a source it never saw, with
the same scanner with and without a tumor, and with what is no head. Why this decides, and what is
done about it: [The scanner or the tumor](../concepts/scanner-or-tumor.md). Intervals: 95 %,
bootstrap over groups (1000 resamples, seed 0) unless said otherwise.
"""
ADDED = {
    GEOMETRIC: "pose alone is augmented (turned, mirrored, moved, scaled); cases as they are",
    PHOTOMETRIC: "gray values, resolution, noise and rim too; data sets and labels balanced",
    COUNTERFACTUAL: "counterfactual images, the loss on locations, images out of distribution",
    FULL: "synthetic lesions: all of the recipe `default`",
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
    holdout: Sequence[HoldoutFigures],
    reflected: ReflectedFigures | None,
    scope: Mapping[str, ScopeFigures],
) -> str:
    """Return the page; what was not measured is left out of it."""
    parts = [HEAD, _holdout(holdout) if holdout else "",
             _reflected(bundle, reflected) if reflected else "",
             _scope(bundle, scope) if scope else "", COMMAND]  # fmt: skip
    return "\n".join(part for part in parts if part)


def _holdout(found: Sequence[HoldoutFigures]) -> str:
    recipe = HoldoutRun(found[0].source, FULL, 0).recipe()
    rows = [
        [" and ".join(SOURCES[row.source]), f"`{row.kind}`", str(len(row.gains)), str(row.auc),
         *_gain(row), str(row.n_groups)]
        for row in found
    ]  # fmt: skip
    return (
        "## A source left out\n\n"
        f"Each network is trained without the source and all that shares a group with it, for "
        f"{recipe.epochs} epochs of {STEPS} batches at {recipe.train_side} px, and tested at "
        f"{recipe.side} px for one file of each image of the source. All have the same network, "
        "scans, steps and schedule; each adds something to the one above:\n\n"
        + table(["network", "what it has"], [[f"`{kind}`", text] for kind, text in ADDED.items()])
        + "\n"
        + table(["left out", "network", "seeds", "AUC",
                 f"gain over {GEOMETRIC}, paired by group", "gain of each seed", "groups"], rows)
        + "\nSynthetic lesions were made after a look at what seed 0 missed in both sources, which "
        "flatters them there; the other seeds chose nothing. This is the recipe `default`"
        ", which trains longer and larger; that of the default bundle, with sources left out, at "
        "full length: [Results](results.md).\n"
    )  # fmt: skip


def _gain(row: HoldoutFigures) -> tuple[str, str]:
    if row.kind == GEOMETRIC:
        return "", ""
    return str(row.gain), ", ".join(f"{gain:+.3f}" for gain in row.gains)


def _reflected(bundle: Bundle, found: ReflectedFigures) -> str:
    return (
        "## The same patient and scanner, with and without the tumor\n\n"
        "Slices of figshare's test patients, one half of the head reflected into the other, so "
        f"that slices of one patient show both labels: {found.auc.n} made images, "
        f"{found.n_without} of them without a tumor, {found.n_patients} patients (intervals "
        "by patient). The recipe trains on such images of other patients, which flatters it.\n\n"
        + table(["bundle", "AUC, tumor in the image or reflected away"],
                [[f"`{bundle.version}`", str(found.auc)]])
    )  # fmt: skip


def _scope(bundle: Bundle, found: Mapping[str, ScopeFigures]) -> str:
    first = next(iter(found.values()))
    rows = [
        [name, str(row.refused), f"{row.auroc:.3f}", share(row.accepted_at_95)]
        for name, row in found.items()
    ]
    return (
        "## What is no head\n\n"
        f"`{bundle.version}` refuses what lies farther from its training scans than "
        f"{share(bundle.ood_reference.kept)} of validation; {share(first.inside_refused)} of the "
        f"{first.n_inside} distinct test scans, which are heads, lie there too. Intervals: "
        "Wilson.\n\n"
        + table(["", "out of scope", "AUROC against test scans",
                 "accepted where 95 % of test scans are"], rows)
    )  # fmt: skip
