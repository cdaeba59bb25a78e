"""Evaluate a shipped bundle again and write its page of results, all in one command.

    python docs/make_results.py SETS --split FILE [--bundle BUNDLE] [--out DIR] [--only NAME ...]
        [--strangers BUNDLE --strangers-split FILE] [--page FILE]

SETS is a folder that holds the public sets by name, as `tumorlens data fetch` leaves them; FILE is
the split of the bundle. STRANGERS is a network of the same recipe that never saw some of the sets.
Each evaluation goes to DIR/NAME and stays there: `--keep` writes the page from what stands there.
What follows the mark in the page is written by hand and kept.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumorlens.models.bundle import SHIPPED_DEFAULT, Bundle, load_bundle
from tumorlens.records import Estimate
from tumorlens.reports.page import share

PAGE = Path(__file__).with_name("reference") / "results.md"
MARK = "<!-- what follows is written by hand -->"
Found = Mapping[str, Any]
HEAD = """# {title}

!!! warning "Research use only"
    Not a medical device.

How well the shipped bundles do, for everybody who uses one. Written by `docs/make_results.py` from
`evaluation.json` files; how to read them:
[Read an evaluation](../how-to/read-an-evaluation.md). Thresholds are chosen on validation; each
evaluation of a test part is counted. Intervals: {intervals}.

Bundle: `{bundle.version}`, {made.parameters:,} parameters, recipe `{made.recipe[name]}`,
seed {made.recipe[seed]}, epoch {made.validation[epoch]} chosen on {made.validation[n]} validation
images, split `{made.data.split}`.
"""

ANOTHER_SPLIT = """!!! warning "Another split"
    This bundle was trained with another split than the one evaluated here (`{}`): it has seen some
    of these scans, and the figures flatter.
"""


@dataclass(frozen=True)
class Run:
    """One evaluation of the page."""

    name: str
    title: str
    options: tuple[str, ...] = ("--no-controls", "--no-robustness", "--no-explanations")
    of: str = ""  # the set it is a part of
    only: str = ""  # what the names of its files hold

    def folders(self, asked: argparse.Namespace) -> list[Path]:
        """Return the folders with its scans; one with links for a part of a set."""
        if self.name == "phantoms":
            return [asked.phantoms]
        if self == ALL:
            return [folder for run in RUNS if not run.of for folder in run.folders(asked)]
        whole = asked.sets / (self.of or self.name)
        return [_links(whole, self.only, asked.out / "parts" / whole.name) if self.of else whole]


MAIN, MASKS = "multimodal", "figshare"
_HT: Mapping[str, Any] = {"of": "lgg", "only": "TCGA_HT_"}
RUNS = (
    Run("lgg-ht", "lgg, one hospital **left out** (the slices of site HT alone)", **_HT),
    Run(MAIN, "multimodal (CT and MRI)", ()),
    Run(MASKS, "figshare (three types, with masks)", ("--no-controls", "--no-robustness")),
    Run("lgg", "lgg, all of its test part"),
    Run("heads", "heads (no tumor, other diseases)"),
    Run("bohaju", "bohaju (BraTS 2015 slices)"),
    Run("br35h", "Br35H"),
    Run("navoneel", "navoneel"),
    Run("phantoms", "phantoms"),
)
# For the controls: most of what could tell a label differs between sets, not within one.
ALL = Run("all", "all sets at once", ("--no-robustness", "--no-explanations"))
# What a second network of the same recipe never saw: sets with copies of one another, at once.
STRANGERS = (
    Run("bohaju", "bohaju, **left out**"),
    Run("br35h", "Br35H, **left out**"),
    Run("navoneel", "navoneel, **left out**"),
    Run("lgg-ht", "lgg, one hospital **left out**", **_HT),
)


def main() -> None:
    """Evaluate, then write the page."""
    asked = _arguments()
    started = time.perf_counter()
    runs = (*RUNS, ALL)
    found = _evaluate_all(runs, asked, bundle=asked.bundle, split=asked.split, out=asked.out)
    strange = {}
    if asked.strangers:
        strange = _evaluate_all(
            STRANGERS, asked, bundle=asked.strangers, split=asked.strangers_split,
            out=asked.out / "strangers",
        )  # fmt: skip
    text = "\n".join(_page(found, strange, load_bundle(asked.bundle)))
    by_hand = asked.page.read_text(encoding="utf-8").partition(MARK)[2]
    asked.page.write_text(f"{text}\n{MARK}\n\n{by_hand.lstrip()}", encoding="utf-8")
    print(f"{asked.page.name} after {time.perf_counter() - started:.0f} s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("--phantoms", type=Path, default=Path("runs/phantoms"))
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--bundle", default="")
    parser.add_argument("--out", type=Path, default=Path("runs/results"))
    parser.add_argument("--only", nargs="*", choices=[run.name for run in (*RUNS, ALL)])
    parser.add_argument("--strangers", default="", help="bundle of a network that never saw sets")
    parser.add_argument("--strangers-split", type=Path, help="its split")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--keep", action="store_true", help="evaluate nothing, write the page")
    return parser.parse_args()


def _evaluate_all(
    runs: Sequence[Run], asked: argparse.Namespace, *, bundle: str, split: Path, out: Path
) -> dict[str, Found]:
    """Evaluate a bundle on test parts, as a user would; or read what stands there."""
    chosen = [run for run in runs if not asked.only or run.name in asked.only]
    for run in () if asked.keep else chosen:
        options = ["--bundle", bundle, "--split", str(split), "--out", str(out / run.name)]
        subprocess.run(
            [sys.executable, "-m", "tumorlens", "evaluate", *map(str, run.folders(asked)),
             "--part", "test", *options, *run.options],
            check=True,
        )  # fmt: skip
    return {run.name: _read(out / run.name) for run in chosen}


def _links(whole: Path, only: str, part: Path) -> Path:
    """Write a folder like a set, whose tables name some of its files alone."""
    part.mkdir(parents=True, exist_ok=True)
    for entry in whole.iterdir():
        if entry.suffix == ".csv":
            head, *rows = entry.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [row for row in rows if only in row]
            (part / entry.name).write_text(head + "".join(kept), encoding="utf-8")
        elif not (part / entry.name).is_symlink():
            (part / entry.name).symlink_to(entry.resolve())
    return part


def _read(folder: Path) -> Found:
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def _page(
    found: Mapping[str, Found], strange: Mapping[str, Found], bundle: Bundle
) -> Iterator[str]:
    first, whole = next(iter(found.values())), found.get(ALL.name)
    found = {name: row for name, row in found.items() if name != ALL.name}
    title = "Results" if bundle.name == SHIPPED_DEFAULT else f"Results of {bundle.name}"
    yield HEAD.format(
        title=title, intervals=first["intervals"], bundle=bundle, made=bundle.provenance
    )
    if first["trained_on_split"] != first["split"]["fingerprint"]:
        yield ANOTHER_SPLIT.format(first["split"]["fingerprint"])
    if strange:
        yield from _strangers(strange)
    titles = {run.name: run.title for run in RUNS}
    named = [(titles[name], row) for name, row in found.items()]
    yield "## Detection, on test parts\n"
    yield from _detection(named)
    yield from _same_level(named, "## Slices at the same level of the head\n")
    yield from _sizes(named)
    yield "## Type, calibration, decisions\n"
    yield from _rest(named)
    if MAIN in found:
        yield from _of_main(found[MAIN], titles[MAIN])
    if whole:
        yield f"## Negative controls: {ALL.title}\n"
        yield (
            "What one fact alone gives away is in the labels of these sets, whatever a network "
            "does; training shows its scans so that source, sequence and level give less away.\n"
        )
        yield from _controls(whole)
    for name, row in found.items():
        yield from _heatmaps(titles[name], row)


def _strangers(found: Mapping[str, Found]) -> Iterator[str]:
    """Print what a network of the same recipe does on sets that it never saw."""
    first = next(iter(found.values()))
    titles = {run.name: run.title for run in STRANGERS}
    named = [(titles[name], row) for name, row in found.items()]
    yield "## Sources left out\n"
    yield (
        f"Another network of the same recipe (`{first['bundle']}`, split "
        f"`{first['trained_on_split']}`) that saw none of these sets, and nothing that shares a "
        "group with them; its threshold and band are chosen on the validation part of the sets "
        "that it saw. **This is what to expect of scans from elsewhere.**\n"
    )
    yield from _detection(named)
    yield from _same_level(named, "At the same level of the head:\n")
    yield from _rest(named)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"
    yield ""


def figure(found: Found, name: str, n: str = "n") -> str:
    """Write a figure with its interval and n."""
    value, low, high = (found.get(f"{name}{end}") for end in ("", "_low", "_high"))
    return "not measurable here" if value is None else str(Estimate(value, low, high, found[n]))


def figure_at(found: Found, name: str, at: int) -> str:
    """Write one figure of a row of them, such as the overlaps at several shares."""
    one = {f"{name}{end}": found[f"{name}{end}"][at] for end in ("", "_low", "_high")}
    return figure({**one, "n": found["n"]}, name)


def _detection(named: Sequence[tuple[str, Found]]) -> Iterator[str]:
    rows = [
        (title, modality, figure(row, "auc"), figure(row, "sensitivity", "n_tumor"),
         figure(row, "specificity", "n_healthy"), figure(row, "f1"), str(row["n_groups"]))
        for title, found in named for modality, row in found["detection"].items()
        if modality != "all" or len(found["detection"]) > 2
    ]  # fmt: skip
    yield from _table(("", "scans", "AUC", "sensitivity", "specificity", "F1", "groups"), rows)


def _same_level(named: Sequence[tuple[str, Found]], heading: str) -> Iterator[str]:
    kinds = ("auc", "unmatched", "level_alone")
    rows = [
        (title, name, *(figure({**row, "n": row["tumors"] + row["healthy"]}, k) for k in kinds))
        for title, found in named for name, row in (found["same_level"] or {}).items()
    ]  # fmt: skip
    if rows:
        yield heading
        yield (
            "Tops and bottoms of heads hold no tumor, so the level of a slice alone tells much, "
            "without a look at the brain. So a slice with a tumor is compared with those without "
            "one within .05 of the stack. n counts slices.\n"
        )
        head = ("", "source and sequence", "AUC at the same level", "all pairs", "level alone")
        yield from _table(head, rows)


def _sizes(named: Sequence[tuple[str, Found]]) -> Iterator[str]:
    rows = [
        (title, name, figure(row["detection"], "sensitivity", "n_tumor"),
         figure(row["detection"], "auc") if row["detection"]["n_healthy"] else "-",
         figure(row["type"], "accuracy") if row["type"] else "-")
        for title, found in named
        for name, row in found["subgroups"].get("size of the tumor", {}).items()
    ]  # fmt: skip
    if rows:
        yield "## By the size of the tumor\n"
        yield (
            "Where masks exist: quarters by the share of the prepared image that is marked, the "
            "sensitivity at the bundle's own threshold, the AUC beside all scans without a tumor.\n"
        )
        yield from _table(("", "size", "sensitivity", "AUC", "type accuracy"), rows)


def _rest(named: Sequence[tuple[str, Found]]) -> Iterator[str]:
    rows = []
    for title, found in named:
        kind, looks, asked = found["type"], found["looks"], found["decision"]["abstention"]
        listed = ", ".join(f"{what} {count}" for what, count in found["decisions"].items())
        rows.append((
            title, figure(kind, "accuracy") if kind else "-",
            figure(found["calibration"], "ece"), figure(found["calibration"], "brier"),
            share(asked["answered"] / asked["n"]), figure(asked, "error", "answered"), listed,
            str(looks["same_scans"]) if looks else "-",
        ))  # fmt: skip
    head = ("", "type accuracy", "calibration error", "Brier score", "answered",
            "wrong among the answered", "decisions", "evaluation")  # fmt: skip
    yield from _table(head, rows)


def _of_main(found: Found, title: str) -> Iterator[str]:
    """Print what the page of the main test part says, without its pictures."""
    yield f"## {title}: the page of its test part\n"
    missed, alarms = (found["failures"][k] for k in ("false_negatives", "false_positives"))
    yield (
        f"{missed['total']} tumors were missed, {alarms['total']} healthy scans flagged; "
        f"{missed['with_conflict']} and {alarms['with_conflict']} of them are images with "
        "another label elsewhere.\n"
    )
    yield from _predictive(found)
    yield from _subgroups(found)
    yield from _acting(found)
    yield from _conformal(found)
    yield "### Negative controls\n"
    yield from _controls(found)
    yield from _robustness(found)
    counts = ", ".join(
        f"{name} {sum(row['established'] for row in rows)} of {len(rows)}"
        for name, rows in found["checklists"].items()
    )
    yield f"Items of reporting guidelines that the run establishes wholly: {counts}.\n"


def _predictive(found: Found) -> Iterator[str]:
    yield "### What an answer is worth\n"
    first = found["detection"]["all"]["predictive_values"]
    head = (
        "",
        *(f"{name} at {share(row['prevalence'])}" for row in first for name in ("PPV", "NPV")),
    )
    rows = [
        (name, *(figure(value | {"n": row["n"]}, key)
                 for value in row["predictive_values"] for key in ("ppv", "npv")))
        for name, row in found["detection"].items()
    ]  # fmt: skip
    yield from _table(head, rows)


def _subgroups(found: Found) -> Iterator[str]:
    yield "### Subgroups\n"
    rows = [
        (kind, name, figure(row["detection"], "auc"),
         figure(row["detection"], "sensitivity", "n_tumor"),
         figure(row["detection"], "specificity", "n_healthy"))
        for kind, names in found["subgroups"].items() if len(names) > 1
        for name, row in names.items()
    ]  # fmt: skip
    yield from _table(("", "", "AUC", "sensitivity", "specificity"), rows)


def _acting(found: Found) -> Iterator[str]:
    yield "### Acting on the answers\n"
    decision, calibration = found["decision"], found["calibration"]
    abstention = decision["abstention"]
    answered, risk = abstention | {"n": abstention["answered"]}, decision["risk_coverage"]
    yield f"- no answer: {figure(abstention, 'abstained')}"
    yield f"- wrong among the answered: {figure(answered, 'error')}"
    yield (
        f"- mean error over all coverages {risk['aurc']:.4f} (best possible with these errors "
        f"{risk['best']:.4f}, n={risk['n']})"
    )
    benefit = decision["net_benefit"]
    if benefit:
        useful = benefit["better_than_both"]
        told = f"{useful[0]} to {useful[-1]} ({len(useful)} of 99)" if useful else "none"
        yield f"- threshold probabilities at which it beats flagging all and none: {told}"
    stages = [("as answered", calibration), ("before the temperature", calibration["before"])]
    for stage, row in stages:
        if row:
            line = f"slope {figure(row, 'slope')}, intercept {figure(row, 'intercept')}"
            yield f"- calibration {stage}: {line}"
    yield ""


def _conformal(found: Found) -> Iterator[str]:
    if not found["conformal"]:
        return
    yield "### Sets of answers\n"
    sets = [row for rows in found["conformal"].values() for row in rows]
    rows = [
        (share(row["promised"]), name, figure(one, "coverage"), figure(row, "size"))
        for row in sets for name, one in row["classes"].items()
    ]  # fmt: skip
    yield from _table(("promised", "class", "measured coverage", "names in a set"), rows)


def _controls(found: Found) -> Iterator[str]:
    if not found["controls"]:
        return
    rows = [
        (row["task"], f"{row['control']}, {row['detail']}", figure(row, "auc"),
         figure(row["model"], "auc") if row["model"] else "-")
        for row in found["controls"]
        if row["auc"] is not None
        and (not row["control"].startswith("tree on") or "all facts" in row["control"])
    ]  # fmt: skip
    yield from _table(("task", "control", "its AUC", "the model's"), rows)


def _robustness(found: Found) -> Iterator[str]:
    if not found["robustness"]:
        return
    yield f"### Damage, on {found['robustness']['n']} of these scans\n"
    rows = [
        (row["task"], damage_of(row), figure(row, "auc"),
         figure(row, "sensitivity", "n_tumor"), figure(row, "specificity", "n_healthy"),
         figure(row, "out_of_scope"))
        for row in found["robustness"]["rows"]
        if row["auc"] is not None
    ]  # fmt: skip
    yield from _table(("", "damage", "AUC", "sensitivity", "specificity", "out of scope"), rows)


def damage_of(row: Found) -> str:
    """Name a row's damage with its strength; a scan as stored has none."""
    return f"{row['perturbation']} {row['strength']:g}" if row["strength"] else row["perturbation"]


def _heatmaps(title: str, found: Found) -> Iterator[str]:
    place, tried = found["localisation"], found["explanation"] or {}
    if not place and not tried:
        return
    yield f"## Heatmaps: {title}\n"
    rows = []
    if place:
        rows.append(("strongest spot in the marked tumor", figure(place, "pointing"),
                     figure(place, "centre_prior")))  # fmt: skip
        rows.append(("evidence inside it", figure(place, "energy"), figure(place, "energy_prior")))
        for i, at in enumerate(place["iou_at"]):
            both = (figure_at(place, name, i) for name in ("iou", "iou_prior"))
            rows.append((f"IoU at {at} of the top", *both))
    if tried.get("deletion"):
        deletion = tried["deletion"]
        areas = [figure(deletion, f"area_{name}") for name in ("heatmap", "middle")]
        rows.append(("mean probability under deletion (low is good)", *areas))
        rows.append(("the same, cells drawn at random", "-", figure(deletion, "area_random")))
    yield from _table(("", "heatmap", "the middle of the head"), rows)
    if tried.get("randomization"):
        shuffled = [(row["stage"], figure(row, "correlation"))
                    for row in tried["randomization"]["rows"]]  # fmt: skip
        yield from _table(("weights shuffled", "rank correlation with the own evidence"), shuffled)


if __name__ == "__main__":
    main()
