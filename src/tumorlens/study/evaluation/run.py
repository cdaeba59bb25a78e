"""`evaluate`: cases and a predictor in, an Evaluation out."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tumorlens.errors import CasesError
from tumorlens.files import write_file
from tumorlens.json_records import to_json
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import write_predictions
from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import Steps, silent_steps
from tumorlens.records import Case, Prediction
from tumorlens.reports.card import write_card
from tumorlens.reports.evaluation import (
    BaselineComparison,
    Evaluation,
    EvaluationResult,
    SplitFacts,
)
from tumorlens.reports.page import render_page
from tumorlens.reports.page_pdf import page_pdf
from tumorlens.study.data.masks import prepared_masks
from tumorlens.study.evaluation.checklists import fill_checklists
from tumorlens.study.evaluation.classification import (
    class_figures,
    conformal_figures,
    type_figures,
)
from tumorlens.study.evaluation.controls import control_figures
from tumorlens.study.evaluation.decision import calibration_figures, decision_figures
from tumorlens.study.evaluation.detection import (
    compare,
    detection_figures,
    precision_recall_points,
    roc_points,
    threshold_sweep,
    threshold_table,
)
from tumorlens.study.evaluation.explanation import explanation_figures
from tumorlens.study.evaluation.failures import (
    failure_figures,
    failure_files,
    failure_gallery,
    with_heatmaps,
)
from tumorlens.study.evaluation.froc import froc_figures
from tumorlens.study.evaluation.labeled_predictions import (
    LabeledPredictions,
    label_predictions,
    predict_cases,
    predict_with_planes,
    readable,
)
from tumorlens.study.evaluation.localization import localize, mask_gallery
from tumorlens.study.evaluation.plots import draw_plots, write_plot_data
from tumorlens.study.evaluation.robustness import robustness_figures
from tumorlens.study.evaluation.series_level import series_figures
from tumorlens.study.evaluation.subgroups import (
    Context,
    find_subgroups,
    lesion_sizes,
    same_level_figures,
    subgroup_figures,
)

NO_CONTEXT = Context()
NO_SPLIT = SplitFacts()
# Of what each modality is measured by.
BY_MODALITY = {
    "detection": detection_figures,
    "roc": roc_points,
    "precision_recall": precision_recall_points,
    "thresholds": threshold_table,
    "sweep": threshold_sweep,
}
# Of what follows from all answers alone.
OVERALL = {
    "type": type_figures,
    "classes": class_figures,
    "calibration": calibration_figures,
    "decision": decision_figures,
}


def evaluate(
    cases: Sequence[Case],
    predictor: Predictor,
    *,
    part: str,
    split: SplitFacts = NO_SPLIT,
    context: Context = NO_CONTEXT,
    baseline: Predictor | None = None,
    controls: bool = False,
    robustness: bool = False,
    explanations: bool = False,
    steps: Steps = silent_steps,
) -> Evaluation:
    """Predict cases and compare; `case.group` says which belong together.

    `baseline` answers the same scans, to be compared; `controls` measures what something that
    cannot know would reach, `robustness` what damage to the scans does, `explanations` whether
    heatmaps say what moved the answer. Raises CasesError where no case can be read.
    """
    bundle = predictor.bundle
    predictions, planes, candidates = predict_with_planes(cases, predictor, steps)
    read = _some_readable(predictions)
    seen, labeled = [cases[i] for i in read], label_predictions(cases, predictions, bundle)
    masks = prepared_masks(cases, bundle.spec)
    result = EvaluationResult(
        **_facts(cases, bundle, part=part, unread=len(cases) - len(read)), split=split,
        **_figures(labeled), series=series_figures(cases, predictions, bundle),
        subgroups=subgroup_figures(labeled, find_subgroups(
            seen, labeled, copies=context.copies, planes=planes,
            lesions=lesion_sizes(masks, read))),
        same_level=same_level_figures(seen, labeled),
        conformal=conformal_figures(labeled, _validation(context, predictor, steps)),
        localization=localize(cases, predictions, masks),
        froc=froc_figures(cases, candidates, masks),
        comparison=_compare(cases, predictions, predictor, baseline, steps),
        failures=failure_figures(cases, labeled, read, conflicts=context.conflicts),
        **_trials(seen, labeled, predictor, steps, planes=planes, controls=controls,
                  robustness=robustness, explanation=explanations),
    )  # fmt: skip
    return _evaluation(result, cases, predictions, predictor)


def _some_readable(predictions: Sequence[Prediction]) -> list[int]:
    if read := readable(predictions):
        return read
    first = predictions[0].error if predictions else "no cases"
    raise CasesError("evaluation", f"has no readable scan (first: {first})", "Check the part.")


def _evaluation(
    result: EvaluationResult,
    cases: Sequence[Case],
    predictions: Sequence[Prediction],
    predictor: Predictor,
) -> Evaluation:
    """Add what follows from the figures: checklists, and the images of failures."""
    result = replace(result, checklists=fill_checklists(result, predictor.bundle))
    return Evaluation(result, with_heatmaps(predictions, result.failures, predictor), tuple(cases))


def _facts(cases: Sequence[Case], bundle: Bundle, *, part: str, unread: int) -> dict[str, Any]:
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "bundle": bundle.version,
        "part": part,
        "trained_on_split": bundle.provenance.trained_on or None,
        "n": len(cases),
        "unreadable": unread,
        "intervals": "95 %, bootstrap over groups, 1000 resamples, seed 0",
        "threshold_choice": bundle.operating_point.to_json(),
        "datasets": dict(Counter(case.dataset for case in cases)),
        "labels": dict(Counter(case.label for case in cases)),
    }


def _figures(labeled: LabeledPredictions) -> dict[str, Any]:
    """Return all figures that follow from the answers alone."""
    rows = labeled.rows()
    return {
        "decisions": dict(Counter(labeled.decisions)),
        **{key: {name: measure(labeled, some) for name, some in rows.items()}
           for key, measure in BY_MODALITY.items()},
        **{key: measure(labeled) for key, measure in OVERALL.items()},
    }  # fmt: skip


def _validation(context: Context, predictor: Predictor, steps: Steps) -> LabeledPredictions | None:
    """Answer the validation scans; None where there are none that can be read."""
    cases = context.validation
    if not cases:
        return None
    predictions = predict_cases(cases, predictor, steps, "predicting validation")
    labeled = label_predictions(cases, predictions, predictor.bundle)
    return labeled if labeled.labels else None


def _compare(
    cases: Sequence[Case],
    predictions: Sequence[Prediction],
    predictor: Predictor,
    baseline: Predictor | None,
    steps: Steps,
) -> BaselineComparison | None:
    """Compare on the scans that both could read; None where there are none."""
    if baseline is None:
        return None
    found = predict_cases(cases, baseline, steps, "predicting with the other bundle")
    both = sorted({*readable(predictions)} & {*readable(found)})
    if not both:
        return None
    labeled, other = (
        label_predictions([cases[i] for i in both], [rows[i] for i in both], by.bundle)
        for rows, by in ((predictions, predictor), (found, baseline))
    )
    return BaselineComparison(
        bundle=baseline.bundle.version,
        threshold=baseline.bundle.threshold,
        trained_on_split=baseline.bundle.provenance.trained_on or None,
        n=len(both),
        rows=compare(labeled, other),
    )


def _trials(
    cases: Sequence[Case],
    labeled: LabeledPredictions,
    predictor: Predictor,
    steps: Steps,
    *,
    planes: Sequence[str],
    **wanted: bool,
) -> dict[str, Any]:
    """Measure what takes long, as far as it is wanted."""
    trials = {
        "controls": ("negative controls", lambda report: control_figures(
            cases, labeled, predictor.bundle, planes=planes, progress=report)),
        "robustness": ("damaging scans", lambda report: robustness_figures(
            cases, predictor, progress=report)),
        "explanation": ("testing heatmaps", lambda report: explanation_figures(
            cases, labeled, predictor, progress=report)),
    }  # fmt: skip
    found = {}
    for name, (title, measure) in trials.items():
        if wanted[name]:
            with steps(title) as report:
                found[name] = measure(report)
    return found


def write_evaluation(evaluation: Evaluation, out: Path, *, bundle: Bundle | None = None) -> None:
    """Write evaluation.{json,html,pdf}, predictions.csv, plots' data, small images.

    With the evaluated `bundle`, also card.md, where the bundle says where it comes from.
    """
    out.mkdir(parents=True, exist_ok=True)
    result = evaluation.result
    write_predictions(evaluation.predictions, out / "predictions.csv")
    write_plot_data(result, out)
    failures = failure_gallery(evaluation.predictions, result.failures)
    card = write_card(bundle, result) if bundle and bundle.provenance.is_complete else ""
    page = render_page(
        "evaluation.html",
        result=result,
        plots=draw_plots(result),
        failures=failures,
        examples=mask_gallery(evaluation, bundle),
        has_card=bool(card),
    )
    written = {
        **dict(failure_files(failures)),
        "evaluation.html": page,
        "evaluation.json": json.dumps(to_json(result), indent=1, allow_nan=False) + "\n",
        "evaluation.pdf": page_pdf(page, made=datetime.fromisoformat(result.created)),
        "card.md": card,
    }
    for name, content in written.items():
        if content:
            write_file(out / name, content)
