"""The whole path once, on phantoms or on a labelled folder, with one page to look at."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tumorlens.errors import TumorlensError
from tumorlens.models.bundle import load_bundle
from tumorlens.predictions.heatmaps import overlay
from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import Progress, TrainingCallback
from tumorlens.records import Case
from tumorlens.reports.evaluation.result import Evaluation, SplitFacts
from tumorlens.reports.page import render_page
from tumorlens.study.audit.duplicates.groups import group_cases
from tumorlens.study.audit.page import write_audit
from tumorlens.study.audit.run import audit_cases
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases
from tumorlens.study.evaluation.plots import draw_plots
from tumorlens.study.evaluation.run import evaluate, write_evaluation
from tumorlens.study.explore.held_out_performance import measure_held_out
from tumorlens.study.explore.report import study_set
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import find_recipe
from tumorlens.study.training.run import Job, train

PHANTOM_SEED = 20_260  # the shipped bundle was trained on phantoms of another seed
PLOTS = ("roc", "calibration", "classes", "type")  # the others stand in the evaluations' pages
SPLIT = "split.csv"
EXPLORED = 30  # scans of each label; features and their models take long on more
SHOWN = 3  # scans of each label in the gallery


def demonstrate(
    data: Path | None,
    *,
    out: Path,
    cache: Path,
    per_class: int,
    epochs: int | None,
    callback: TrainingCallback,
    progress: Progress,
    say: Callable[[str], None],
) -> Path:
    """Run every stage once; returns the page `out/index.html`.

    `out` is a study folder: the dashboard shows it.
    """
    _claim(out)
    data = _phantoms(data, out=out, per_class=per_class, progress=progress, say=say)
    cases = read_cases(data)
    say(f"2/7 splitting {len(cases)} scans by patient and picture")
    groups = group_cases(cases, progress=progress)
    parts = splits.split_cases(cases, groups)
    split = splits.write_split(out / SPLIT, cases, parts, groups=groups)
    cases = splits.apply_split(cases, split)

    def steps(_what: str) -> AbstractContextManager[Progress]:
        return nullcontext(progress)

    say("3/7 auditing the split")
    shipped = load_bundle()
    audited = audit_cases(cases, shipped, cache=cache, parts=parts, split=SPLIT, steps=steps)
    write_audit(audited, out / "audit", folders=[str(data)], now=datetime.now(UTC))
    say("4/7 training a small network from scratch (recipe quick)")
    recipe = find_recipe("quick")
    recipe = replace(recipe, epochs=epochs or recipe.epochs)
    job = Job(recipe=recipe, split=split, out=out / "run", cache=cache, name="demo")
    own = Predictor(train(cases, job, callback=callback, progress=progress))
    test = [case for case in cases if case.split == "test"]
    say(f"5/7 evaluating it on {len(test)} scans it has not seen")
    facts = SplitFacts(split.fingerprint, len(test), 0.0)
    measured = evaluate(test, own, part="test", split=facts, steps=steps)
    write_evaluation(measured, out / "evaluation", bundle=own.bundle)
    say(f"6/7 exploring {EXPLORED} scans of each label")
    rows = _first_of_each_label(cases)
    study_set(
        [cases[i] for i in rows], job.spec, out=out / "explore", cache=cache,
        groups=groups.take(rows), held_out=measure_held_out(cases, out / SPLIT, own),
        folders=[str(data)], now=datetime.now(UTC), steps=steps,
    )  # fmt: skip
    say("7/7 predicting the same scans with the bundle that ships with tumorlens")
    compared = evaluate(
        test, Predictor(shipped), part="test", split=facts, baseline=own, steps=steps
    )
    write_evaluation(compared, out / "shipped", bundle=shipped)
    return _write_page(out, measured, compared, is_phantom=_are_phantoms(cases))


def _phantoms(
    data: Path | None,
    *,
    out: Path,
    per_class: int,
    progress: Progress,
    say: Callable[[str], None],
) -> Path:
    """Give the folder to work on: the one named, or phantoms drawn now."""
    if data is not None:
        say(f"1/7 reading {data}")
        return data
    say(f"1/7 drawing {6 * per_class} phantoms (synthetic heads, no patient)")
    return write_phantoms(
        out / "phantoms", per_class=per_class, seed=PHANTOM_SEED, progress=progress
    )


def _first_of_each_label(cases: Sequence[Case]) -> list[int]:
    """Give the positions of the first EXPLORED cases of each label."""
    seen: Counter[str] = Counter()
    rows = []
    for position, case in enumerate(cases):
        seen[case.label] += 1
        if seen[case.label] <= EXPLORED:
            rows.append(position)
    return rows


def _claim(out: Path) -> None:
    """Remove what an earlier demo left in `out`; refuse a folder that is not a demo's own.

    Raises TumorlensError for a folder with other content.
    """
    mark = out / ".tumorlens-demo"
    if out.exists() and any(out.iterdir()) and not mark.exists():
        fix = "Name a new or empty folder with --out."
        raise TumorlensError(out, "holds files that no demo made", fix)
    out.mkdir(parents=True, exist_ok=True)
    mark.touch()
    for name in ("phantoms", "run"):
        shutil.rmtree(out / name, ignore_errors=True)


def _are_phantoms(cases: Sequence[Case]) -> bool:
    return all((case.patient or "").startswith("phantom-") for case in cases)


def _write_page(out: Path, own: Evaluation, shipped: Evaluation, *, is_phantom: bool) -> Path:
    page = out / "index.html"
    plots = draw_plots(shipped.result)
    text = render_page(
        "demo.html",
        own=own.result,
        shipped=shipped.result,
        plots={name: plot for name, plot in plots.items() if name in PLOTS},
        gallery=_gallery(shipped) if is_phantom else [],
        is_phantom=is_phantom,
    )
    page.write_text(text, encoding="utf-8")
    return page


def _gallery(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Pick the first few scans of each label, with their pictures."""
    shown: list[dict[str, Any]] = []
    for label in sorted({case.label for case in evaluation.cases}):
        pairs = zip(evaluation.cases, evaluation.predictions, strict=True)
        chosen = [(c, p) for c, p in pairs if c.label == label and p.heatmap][:SHOWN]
        shown += [
            {"label": label, "prediction": p, "picture": overlay(p.heatmap, side=256)}
            for _, p in chosen
            if p.heatmap
        ]
    return shown
