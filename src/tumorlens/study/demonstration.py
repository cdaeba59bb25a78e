"""The whole path once, on phantoms or on a labeled folder, with one page to look at."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import OutputError
from tumorlens.files import write_file
from tumorlens.models.bundle import Bundle, load_bundle
from tumorlens.outputs import DEMO_MARK, Outputs
from tumorlens.predictions.heatmaps import overlay
from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import Progress, TrainingCallback
from tumorlens.records import Case, Prediction
from tumorlens.reports.evaluation import Evaluation, SplitFacts
from tumorlens.reports.page import render_page
from tumorlens.study.audit.duplicates.copies import group_cases
from tumorlens.study.audit.page import write_audit
from tumorlens.study.audit.run import audit_cases
from tumorlens.study.data import splits
from tumorlens.study.data.groups import Groups
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
PAGES = {
    "audit/audit.html": "What is wrong with the set: copies, leaks, conflicts, shortcuts",
    "explore/explore.html": "What its classes look like, and what separates them",
    "evaluation/evaluation.html": "What the small network of this demo reaches",
    "shipped/evaluation.html": "What the bundle that ships with tumorlens reaches",
}  # that the demo makes, in the order in which its page links them
SPLIT = "split.csv"
EXPLORED = 30  # scans of each label; features and their models take long on more
GALLERY = 3  # scans of each label


@dataclass(frozen=True)
class _Demo:
    """What the stages work on, and whom they report to."""

    out: Path
    cache: Path
    folder: Path  # of the scans
    cases: tuple[Case, ...]  # with their parts
    groups: Groups
    split: splits.Split
    progress: Progress

    @property
    def test(self) -> list[Case]:
        return [case for case in self.cases if case.split == "test"]

    def steps(self, _what: str) -> AbstractContextManager[Progress]:
        """Report every step of a stage to one bar."""
        return nullcontext(self.progress)


def demonstrate(
    data: Path | None,
    *,
    out: Path,
    cache: Path,
    per_class: int,
    epochs: int | None,
    callback: TrainingCallback,
    progress: Progress,
    on_stage: Callable[[str], None],
) -> Path:
    """Run every stage once; returns the page `out/index.html`.

    Without `data` it runs on phantoms. `out` is a study folder: the dashboard shows it.
    `on_stage` hears what each stage does when it starts.
    """
    _claim(out, data)
    if data is None:
        on_stage(f"1/7 drawing {6 * per_class} phantoms (synthetic heads, no patient)")
        options = {"per_class": per_class, "seed": PHANTOM_SEED}
        data = write_phantoms(out / "phantoms", **options, progress=progress)
    else:
        on_stage(f"1/7 reading {data}")
    cases = read_cases(data)
    on_stage(f"2/7 splitting {len(cases)} scans by patient and image")
    demo = _split(cases, out, cache=cache, folder=data, progress=progress)
    on_stage("3/7 auditing the split")
    shipped = load_bundle()
    _audit(demo, shipped)
    on_stage("4/7 training a small network from scratch (recipe quick)")
    trained = _train(demo, epochs, callback)
    on_stage(f"5/7 evaluating it on {len(demo.test)} scans it has not seen")
    measured = _evaluate(demo, trained, "evaluation")
    on_stage(f"6/7 exploring {EXPLORED} scans of each label")
    _explore(demo, trained)
    on_stage("7/7 predicting the same scans with the bundle that ships with tumorlens")
    compared = _evaluate(demo, Predictor(shipped), "shipped", baseline=trained)
    return _write_page(demo, measured, compared)


def _split(
    cases: Sequence[Case], out: Path, *, cache: Path, folder: Path, progress: Progress
) -> _Demo:
    groups = group_cases(cases, progress=progress)
    parts = splits.split_cases(cases, groups)
    split = splits.write_split(out / SPLIT, cases, parts, groups=groups)
    placed = tuple(splits.apply_split(cases, split))
    return _Demo(out, cache, folder, placed, groups, split, progress)


def _audit(demo: _Demo, bundle: Bundle) -> None:
    parts = [case.split or "" for case in demo.cases]
    found = audit_cases(
        demo.cases, bundle, cache=demo.cache, parts=parts, split=SPLIT, steps=demo.steps
    )
    write_audit(found, demo.out / "audit", folders=[str(demo.folder)], now=datetime.now(UTC))


def _train(demo: _Demo, epochs: int | None, callback: TrainingCallback) -> Predictor:
    recipe = find_recipe("quick")
    recipe = replace(recipe, epochs=epochs or recipe.epochs)
    job = Job(recipe=recipe, split=demo.split, out=demo.out / "run", cache=demo.cache, name="demo")
    return Predictor(train(demo.cases, job, callback=callback, progress=demo.progress))


def _evaluate(
    demo: _Demo, predictor: Predictor, name: str, *, baseline: Predictor | None = None
) -> Evaluation:
    facts = SplitFacts(demo.split.fingerprint, len(demo.test), 0.0)
    found = evaluate(
        demo.test, predictor, part="test", split=facts, baseline=baseline, steps=demo.steps
    )
    write_evaluation(found, demo.out / name, bundle=predictor.bundle)
    return found


def _explore(demo: _Demo, trained: Predictor) -> None:
    rows = _first_of_each_label(demo.cases)
    study_set(
        [demo.cases[i] for i in rows],
        trained.bundle.spec,
        out=demo.out / "explore",
        cache=demo.cache,
        groups=demo.groups.take(rows),
        held_out=measure_held_out(demo.cases, demo.out / SPLIT, trained),
        folders=[str(demo.folder)],
        steps=demo.steps,
    )


def _first_of_each_label(cases: Sequence[Case]) -> list[int]:
    """Return the positions of the first EXPLORED cases of each label."""
    seen: Counter[str] = Counter()
    rows = []
    for position, case in enumerate(cases):
        seen[case.label] += 1
        if seen[case.label] <= EXPLORED:
            rows.append(position)
    return rows


def _claim(out: Path, data: Path | None) -> None:
    """Remove what an earlier demo left in `out`.

    Raises OutputError for a folder with other content, or with the `data` in it.
    """
    Outputs(data).claim_folder(out, mark=DEMO_MARK)
    if data is not None and data.resolve().is_relative_to(out.resolve()):
        raise OutputError(out, f"holds {data}, which is read", "Name a new or empty folder.")
    for name in ("phantoms", "run"):
        shutil.rmtree(out / name, ignore_errors=True)


def _write_page(demo: _Demo, own: Evaluation, shipped: Evaluation) -> Path:
    page = demo.out / "index.html"
    is_phantom = all((case.patient or "").startswith("phantom-") for case in demo.cases)
    plots = draw_plots(shipped.result)
    text = render_page(
        "demo.html",
        own=own.result,
        shipped=shipped.result,
        pages=PAGES,
        plots={name: plot for name, plot in plots.items() if name in PLOTS},
        gallery=_gallery(shipped) if is_phantom else [],
        is_phantom=is_phantom,
    )
    write_file(page, text)
    return page


def _gallery(evaluation: Evaluation) -> list[tuple[str, Prediction, NDArray[np.uint8]]]:
    """Pick the first few scans of each label: label, prediction, image with its heatmap."""
    rows = []
    for label in sorted({case.label for case in evaluation.cases}):
        pairs = zip(evaluation.cases, evaluation.predictions, strict=True)
        chosen = [(p, p.heatmap) for case, p in pairs if case.label == label and p.heatmap]
        rows += [(label, p, overlay(heatmap, side=256)) for p, heatmap in chosen[:GALLERY]]
    return rows
