"""`evaluate`: cases and a predictor in, an Evaluation out."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tumorlens.errors import CasesError
from tumorlens.files import replacing
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.predictions.table import write_predictions
from tumorlens.progress import Steps, silent_steps
from tumorlens.records import Case, Evaluation, Prediction
from tumorlens.reports.card import says_where_from, write_card
from tumorlens.reports.evaluation.checklists import fill
from tumorlens.reports.evaluation.pdf import evaluation_pdf
from tumorlens.reports.page import render_page
from tumorlens.study.evaluation.baseline_comparison import compare
from tumorlens.study.evaluation.calibration import calibration_figures
from tumorlens.study.evaluation.checklist_answers import checklist_answers
from tumorlens.study.evaluation.conformal import conformal_figures
from tumorlens.study.evaluation.context import Context
from tumorlens.study.evaluation.controls import control_figures
from tumorlens.study.evaluation.curves import (
    precision_recall_points,
    roc_points,
    threshold_sweep,
    threshold_table,
)
from tumorlens.study.evaluation.decision import decision_figures
from tumorlens.study.evaluation.detection import detection_figures
from tumorlens.study.evaluation.explanation import explanation_figures
from tumorlens.study.evaluation.failures import (
    draw_failures,
    failure_figures,
    gallery,
    with_heatmaps,
)
from tumorlens.study.evaluation.figures import class_figures, type_figures
from tumorlens.study.evaluation.inference import answers_at, ask, ask_with_planes, readable
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.evaluation.localization import localise
from tumorlens.study.evaluation.mask_gallery import mask_gallery
from tumorlens.study.evaluation.plot_data import write_plot_data
from tumorlens.study.evaluation.plots import draw_plots
from tumorlens.study.evaluation.robustness import robustness_figures
from tumorlens.study.evaluation.subgroups import subgroup_figures

SCHEMA = 2
NO_CONTEXT = Context()


def evaluate(
    cases: Sequence[Case],
    predictor: Predictor,
    *,
    part: str,
    split: Mapping[str, Any],
    context: Context = NO_CONTEXT,
    against: Predictor | None = None,
    controls: bool = False,
    robustness: bool = False,
    explanations: bool = False,
    steps: Steps = silent_steps,
) -> Evaluation:
    """Predict cases and compare; `case.group` says which belong together.

    `split` is written into the figures as it is. `against` answers the same scans, to be
    compared; `controls` measures what something that cannot know would reach, `robustness` what
    damage to the scans does, `explanations` whether heatmaps say what moved the answer. Raises
    CasesError where no case can be read.
    """
    predictions, planes = ask_with_planes(cases, predictor, steps)
    read = readable(predictions)
    if not read:
        first = predictions[0].error if predictions else "no cases"
        raise CasesError("evaluation", f"has no readable scan (first: {first})", "Check the part.")
    seen = [cases[i] for i in read]
    answers = answers_at(read, cases, predictions, predictor)
    failures = failure_figures(cases, answers, read, conflicts=context.conflicts)
    figures: dict[str, Any] = {
        **_facts(cases, predictor, part=part, split=split, unread=len(cases) - len(read)),
        **_answer_figures(answers),
        "subgroups": subgroup_figures(seen, answers, copies=context.copies, planes=planes),
        "conformal": conformal_figures(answers, _validation(context, predictor, steps)),
        "localisation": localise(cases, predictions, predictor.bundle.spec),
        "against": _compare(cases, predictions, predictor, against, steps) if against else None,
        "controls": _controls(seen, answers, predictor, steps) if controls else None,
        "robustness": _robustness(seen, predictor, steps) if robustness else None,
        "explanation": _explanation(seen, answers, predictor, steps) if explanations else None,
        "failures": failures,
        "looks": None,
    }
    figures["checklists"] = fill(checklist_answers(figures, predictor.bundle))
    return Evaluation(figures, tuple(with_heatmaps(predictions, failures, predictor)), tuple(cases))


def _facts(
    cases: Sequence[Case],
    predictor: Predictor,
    *,
    part: str,
    split: Mapping[str, Any],
    unread: int,
) -> dict[str, Any]:
    bundle = predictor.bundle
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "bundle": bundle.version,
        "part": part,
        "split": dict(split),
        "trained_on_split": bundle.details.get("data", {}).get("split"),
        "n": len(cases),
        "unreadable": unread,
        "intervals": "95 %, bootstrap over groups, 1000 resamples, seed 0",
        "threshold_choice": dict(bundle.threshold_choice),
        "datasets": dict(Counter(case.dataset for case in cases)),
        "labels": dict(Counter(case.label for case in cases)),
    }


def _answer_figures(answers: LabeledPredictions) -> dict[str, Any]:
    """Give all figures that follow from the answers alone."""
    rows = answers.rows()

    def each(measure: Any) -> dict[str, Any]:
        return {name: measure(answers, some) for name, some in rows.items()}

    return {
        "decisions": dict(Counter(answers.decisions)),
        "detection": each(detection_figures),
        "roc": each(roc_points),
        "precision_recall": each(precision_recall_points),
        "thresholds": each(threshold_table),
        "sweep": each(threshold_sweep),
        "type": type_figures(answers),
        "classes": class_figures(answers),
        "calibration": calibration_figures(answers),
        "decision": decision_figures(answers),
    }


def _validation(context: Context, predictor: Predictor, steps: Steps) -> LabeledPredictions | None:
    """Answer the validation scans; None where there are none that can be read."""
    cases = context.validation
    if not cases:
        return None
    predictions = ask(cases, predictor, steps, "predicting validation")
    read = readable(predictions)
    return answers_at(read, cases, predictions, predictor) if read else None


def _compare(
    cases: Sequence[Case],
    predictions: Sequence[Prediction],
    predictor: Predictor,
    against: Predictor,
    steps: Steps,
) -> dict[str, Any] | None:
    """Compare on the scans that both could read; None where there are none."""
    found = ask(cases, against, steps, "predicting with the other bundle")
    both = sorted({*readable(predictions)} & {*readable(found)})
    if not both:
        return None
    bundle = against.bundle
    return {
        "bundle": bundle.version,
        "threshold": bundle.threshold,
        "trained_on_split": bundle.details.get("data", {}).get("split"),
        "n": len(both),
        "rows": compare(
            answers_at(both, cases, predictions, predictor),
            answers_at(both, cases, found, against),
        ),
    }


def _controls(
    cases: Sequence[Case], answers: LabeledPredictions, predictor: Predictor, steps: Steps
) -> list[dict[str, Any]]:
    with steps("negative controls") as report:
        return control_figures(cases, answers, predictor.bundle, progress=report)


def _robustness(cases: Sequence[Case], predictor: Predictor, steps: Steps) -> dict[str, Any]:
    with steps("damaging scans") as report:
        return robustness_figures(cases, predictor, progress=report)


def _explanation(
    cases: Sequence[Case], answers: LabeledPredictions, predictor: Predictor, steps: Steps
) -> dict[str, Any]:
    with steps("testing heatmaps") as report:
        found = explanation_figures(cases, answers, predictor)
        report(len(cases), len(cases))
    return found


def write_evaluation(evaluation: Evaluation, out: Path, *, bundle: Bundle | None = None) -> None:
    """Write evaluation.{json,html,pdf}, predictions.csv, plots' data, small pictures.

    With the evaluated `bundle`, also card.md, where the bundle says where it comes from.
    """
    out.mkdir(parents=True, exist_ok=True)
    figures = evaluation.figures
    write_predictions(evaluation.predictions, out / "predictions.csv")
    write_plot_data(figures, out)
    for name, drawn in draw_failures(evaluation.predictions, figures["failures"]):
        with replacing(out / name) as partial:
            partial.write_bytes(drawn)
    card = write_card(bundle, figures) if bundle and says_where_from(bundle) else ""
    shown = {
        "figures": figures,
        "plots": draw_plots(figures),
        "failures": gallery(evaluation.predictions, figures["failures"]),
        "examples": mask_gallery(evaluation, bundle),
    }
    written = {
        "evaluation.html": render_page("evaluation.html", **shown, has_card=bool(card)),
        "evaluation.json": json.dumps(figures, indent=1, allow_nan=False) + "\n",
        "evaluation.pdf": evaluation_pdf(**shown),
        "card.md": card,
    }
    for name, content in written.items():
        if content:
            with replacing(out / name) as partial:
                partial.write_bytes(content if isinstance(content, bytes) else content.encode())
