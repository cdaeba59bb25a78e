"""A trained network becomes a bundle: exported, checked, calibrated, described."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.inputs.prepare import InputSpec
from tumorlens.json_records import to_json
from tumorlens.models.bundle import Bundle, OodReference, UncertaintyBand, load_bundle, write_bundle
from tumorlens.models.engine import Engine
from tumorlens.models.performance import OperatingPoint, Provenance
from tumorlens.predictions.decision import softmax
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Estimate
from tumorlens.reports.card import write_card
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.data.training_set import Subset, draw_ood_images
from tumorlens.study.training.loop import Trained
from tumorlens.study.training.packaging.bundle_performance import measure_validation
from tumorlens.study.training.packaging.export import check_round_trip, export_graph, quantize_graph
from tumorlens.study.training.packaging.operating_point import (
    MAX_REFERENCES,
    choose_balanced_threshold,
    choose_band,
    choose_band_by_risk,
    choose_scope,
    choose_scope_across_sources,
    choose_threshold,
    even_sample,
    source_weights,
)
from tumorlens.study.training.validation_metrics import best_temperature, validation_metrics

OOD_IMAGES, OOD_SEED = 200, 2_000_000  # drawn for the scope; training draws others
AT_ONCE = 64  # images that the engine is given
NOTHING = Estimate(None, None, None, 0)
CHECKED = 64  # validation scans compared between Keras and ONNX Runtime


def make_bundle(
    trained: Trained,
    recipe: Recipe,
    *,
    out: Path,
    name: str,
    spec: InputSpec,
    training: Subset,
    validation: Subset,
    provenance: Provenance,
) -> Bundle:
    """Export a network and choose on validation all that the predictor needs beside it.

    `provenance` holds what is known before: data, environment, where it started. Raises
    TrainingError if the exported graph does not answer as the network does, or if validation
    cannot give a threshold.
    """
    export_graph(trained.model, out, is_scope_untouched=recipe.is_scope_untouched)
    draft = draft_bundle(out, name, spec)
    round_trip = _round_trip(trained, draft, validation.images[:CHECKED])
    measure = partial(_metrics, draft, validation)
    eight_bit = quantize_graph(out, training.images, measure) if recipe.eight_bit else None
    logits, _ = run_engine(Engine(draft), validation.images)
    figures = to_json(validation_metrics(logits, validation.names, validation.strata))
    bundle = replace(
        with_choices(draft, recipe, validation=validation, logits=logits),
        ood_reference=_ood_reference(draft, training, validation, recipe),
        provenance=replace(
            provenance,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            recipe=recipe.to_json(),
            validation={"n": len(validation.cases), "epoch": trained.best_epoch, **figures},
            parameters=int(trained.model.count_params()),
            round_trip=round_trip,
            eight_bit=eight_bit,
        ),
    )
    bundle = replace(bundle, self_test=Predictor(bundle).answer_self_test())
    write_bundle(bundle, write_card(bundle))
    return load_bundle(out)


def _ood_reference(
    draft: Bundle, training: Subset, validation: Subset, recipe: Recipe
) -> OodReference:
    engine, ood = Engine(draft), draw_ood_images(OOD_IMAGES, draft.spec, first=OOD_SEED)
    if recipe.is_scope_untouched:
        rows = even_sample(training.sources, MAX_REFERENCES, seed=recipe.seed)
        training = training.take(rows)
    reference, inside, outside = (
        run_engine(engine, images)[1] for images in (training.images, validation.images, ood)
    )
    if recipe.is_scope_untouched:
        return choose_scope_across_sources(
            reference, training.sources, validation=inside, ood=outside
        )
    return choose_scope(reference, inside, ood=outside, seed=recipe.seed)


def with_choices(
    draft: Bundle, recipe: Recipe, *, validation: Subset, logits: NDArray[np.floating]
) -> Bundle:
    """Return a bundle with what is chosen on validation: temperature, threshold and band.

    `logits` are of validation.
    """
    temperature = best_temperature(logits, labels.label_mask(validation.names))
    probabilities = softmax(logits, temperature)
    scores = np.asarray(labels.tumor_probability(probabilities))
    choice, band = _choose_decisions(scores, validation, recipe)
    return replace(
        draft,
        temperature=temperature,
        operating_point=choice,
        uncertainty_band=band,
        performance=measure_validation(
            validation.names, probabilities, groups=validation.groups, threshold=choice.threshold
        ),
    )


def _choose_decisions(
    scores: NDArray[np.floating], validation: Subset, recipe: Recipe
) -> tuple[OperatingPoint, UncertaintyBand]:
    truth = validation.truth
    if recipe.max_risk > 0:
        weights = source_weights(truth, validation.sources)
        choice = choose_balanced_threshold(scores, truth, weights=weights)
        band = choose_band_by_risk(
            scores, truth, weights=weights, threshold=choice.threshold, risk=recipe.max_risk
        )
        return choice, band
    choice = choose_threshold(scores, truth, sensitivity=recipe.sensitivity_aim)
    error = 1 - recipe.sensitivity_aim
    return choice, choose_band(scores, truth, threshold=choice.threshold, error=error)


def _round_trip(trained: Trained, draft: Bundle, images: NDArray[np.uint8]) -> float:
    return check_round_trip(trained.model, run_engine(Engine(draft), images)[0], images)


def _metrics(draft: Bundle, validation: Subset) -> dict[str, float]:
    logits = run_engine(Engine(draft), validation.images)[0]
    return validation_metrics(logits, validation.names, validation.strata)


def draft_bundle(folder: Path, name: str, spec: InputSpec) -> Bundle:
    """Return a bundle that can be run but has nothing chosen yet."""
    return Bundle(
        folder=folder,
        name=name,
        sha256="",
        atoms=labels.ATOMS,
        spec=spec,
        temperature=1.0,
        operating_point=OperatingPoint(0.5, "none", "none", NOTHING, NOTHING),
        uncertainty_band=UncertaintyBand(0.5, 0.5, 0.0),
        ood_reference=OodReference(np.ones((1, 1), np.float32), 1, 2.0, 1.0),
    )


def run_engine(
    engine: Engine, images: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return logits [n, atoms] and embedding [n, D] of prepared images."""
    made = [engine.run(images[n : n + AT_ONCE]) for n in range(0, len(images), AT_ONCE)]
    return np.concatenate([m.logits for m in made]), np.concatenate([m.embedding for m in made])


def tumor_scores(bundle: Bundle, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return calibrated tumor probabilities of prepared images, [n], as the bundle in use does."""
    logits = run_engine(Engine(bundle), images)[0]
    return np.asarray(labels.tumor_probability(softmax(logits, bundle.temperature)), float)
