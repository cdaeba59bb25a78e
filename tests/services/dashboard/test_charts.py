"""What pages show, as figures and data, without Streamlit."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.spanish import english_on
from support.stored_study import record, stored

from tumorlens.json_records import Record
from tumorlens.language import LANGUAGES, using_language
from tumorlens.models.bundle import UncertaintyBand
from tumorlens.models.performance import ReliabilityBin, ValidationPerformance, predictive_values
from tumorlens.predictions.predictor import summarize
from tumorlens.records import Estimate, Heatmap, Prediction
from tumorlens.reports.charts.shapes import DECISIONS
from tumorlens.services.dashboard import charts
from tumorlens.services.dashboard.charts.answers import (
    decision_text,
    probability_scale,
    similar_text,
    small_text,
    type_bars,
    type_text,
    zones,
)
from tumorlens.services.dashboard.charts.data_sets import (
    effect_rows,
    finding_text,
    findings_figure,
    leak_rows,
    shared_map,
    split_verdict,
)
from tumorlens.services.dashboard.charts.evaluation import (
    class_matrix,
    detection_matrix,
    learning_curves,
    pair_rows,
    rates_at,
    reliability,
    roc_curves,
    same_scans,
)
from tumorlens.services.dashboard.texts import translator

T = translator("en")
HEAT = Heatmap(np.eye(6, dtype=np.float32), np.full((48, 48), 100, np.uint8))


def title_of(figure) -> str:
    return figure.to_plotly_json()["layout"]["title"]["text"]


def answer(bundle, *chances: float) -> Prediction:
    """Decide on six probabilities of atoms, near the training scans."""
    return summarize("a.png", np.array(chances, float), 0.0, bundle=bundle)


def test_charts_know_nothing_of_streamlit():
    for path in Path(charts.__file__).parent.glob("*.py"):
        assert "import streamlit" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("threshold", "low", "high"),
    [(0.3, 0.2, 0.4), (0.15, 0.16, 0.86), (0.9, 0.2, 0.4), (0.5, 0.5, 0.5)],
)
def test_the_zones_of_the_scale_are_what_the_predictor_decides(threshold, low, high, tiny_bundle):
    band = UncertaintyBand(low, high, 0.05)
    bundle = replace(
        tiny_bundle,
        operating_point=replace(tiny_bundle.operating_point, threshold=threshold),
        uncertainty_band=band,
    )
    found = zones(threshold, band)
    assert found[0][1] == 0.0
    assert found[-1][2] == 1.0
    for (_, _, end), (_, start, _) in itertools.pairwise(found):
        assert end == start
    for name, start, end in found:
        p = (start + end) / 2
        assert answer(bundle, 0, 0, 1 - p, p, 0, 0).decision == name


def test_the_scale_marks_the_probability_and_the_threshold(tiny_bundle):
    prediction = answer(tiny_bundle, 0, 0, 0.1, 0.9, 0, 0)
    figure, alt = probability_scale(prediction, tiny_bundle.uncertainty_band, T)
    mark = re.search(r'd="M[-0-9.]+ 33L([0-9.]+) 24.*?fill="(#\w+)"', figure)
    assert float(mark[1]) == pytest.approx(10 + 620 * 0.9, abs=0.1)
    assert mark[2] == DECISIONS["tumor"]
    assert f"threshold {tiny_bundle.threshold:.3f}" in figure
    assert alt == f"Probability of a tumor: 0.900; threshold {tiny_bundle.threshold:.3f}"


def test_types_are_drawn_likeliest_on_top(tiny_bundle):
    figure, _ = type_bars(answer(tiny_bundle, 0, 0, 0.1, 0.2, 0.6, 0.1), T)
    assert figure.index(">meningioma<") < figure.index(">glioma<")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("chances", [(0, 0, 0.1, 0.9, 0, 0), (0.9, 0.1, 0, 0, 0, 0),
                                     (0, 0, 0.5, 0.5, 0, 0), (0.1, 0.9, 0, 0, 0, 0)])  # fmt: skip
def test_every_answer_has_words_in_every_language(tiny_bundle, chances, language):
    prediction, t = answer(tiny_bundle, *chances), translator(language)
    words = [write(prediction, tiny_bundle, t) for write in (decision_text, similar_text)]
    words += [write(prediction, t) for write in (type_text, small_text)]
    assert all(words)
    assert "{" not in "".join(words)


def test_an_answer_out_of_scope_says_that_its_probability_means_nothing(tiny_bundle):
    prediction = summarize("a.png", np.eye(6)[3], 9.0, bundle=tiny_bundle)
    assert "means nothing" in decision_text(prediction, tiny_bundle, T)


def measured(*edges: tuple[float, float]) -> ValidationPerformance:
    rate = Estimate(0.9, 0.8, 0.95, 10)
    bins = tuple(ReliabilityBin(143, 31, (a + b) / 2, a, b, 0.16, 0.29) for a, b in edges)
    return ValidationPerformance(300, 150, 250, rate, rate, rate, bins)


def test_similar_scans_are_written_with_interval_and_n(tiny_bundle):
    bundle = replace(tiny_bundle, performance={"mri": measured((0.0, 1.0))})
    words = similar_text(answer(bundle, 0, 0, 0.5, 0.5, 0, 0), bundle, T)
    assert "Among 143 MRI validation scans" in words
    assert "0.217 (0.160-0.290, n=143)" in words


def test_a_bundle_that_recorded_nothing_says_so(tiny_bundle):
    words = similar_text(answer(tiny_bundle, 0, 0, 0.5, 0.5, 0, 0), tiny_bundle, T)
    assert "not recorded in this bundle" in words


def test_the_threshold_asked_for_is_read_from_the_sweep():
    sweep = record("evaluation").part("sweep").part("all")
    rates = rates_at(sweep, sweep.items("threshold")[40], prevalence=0.1)
    assert rates.sensitivity.value == sweep.items("sensitivity")[40]
    assert rates.specificity.low == sweep.items("specificity_low")[40]
    assert rates.sensitivity.n == sweep.count("n_tumor")


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_beyond_the_sweep_is_its_end(threshold):
    sweep = record("evaluation").part("sweep").part("all")
    rates = rates_at(sweep, threshold, prevalence=0.1)
    assert rates.threshold == sweep.items("threshold")[0 if threshold == 0 else -1]


def test_predictive_values_follow_from_counted_people():
    found, missed, alarms, clear = 90, 10, 45, 855  # of 1,000 people, 100 with a tumor
    ppv, npv = predictive_values(0.9, 0.95, 0.1)
    assert ppv == pytest.approx(found / (found + alarms))
    assert npv == pytest.approx(clear / (clear + missed))


@pytest.mark.parametrize("sensitivity", [0.0, None])
def test_a_predictive_value_that_is_open_is_none(sensitivity):
    column = {"threshold": [0.5], "n": 9, "n_tumor": 4, "n_healthy": 5}
    for name, value in (("sensitivity", sensitivity), ("specificity", 1.0)):
        column |= {f"{name}{end}": [value] for end in ("", "_low", "_high")}
    assert rates_at(Record(column), 0.5, prevalence=0.1).ppv.value is None


def test_the_interval_of_a_predictive_value_holds_it():
    sweep = record("evaluation").part("sweep").part("all")
    for at in range(20, 90, 5):
        value = rates_at(sweep, sweep.items("threshold")[at], prevalence=0.2).ppv
        if None not in (value.value, value.low, value.high):
            assert value.low <= value.value <= value.high


def test_every_chart_is_titled_with_its_n():
    audit, found = record("audit"), record("evaluation")
    copies = audit.part("copies").table("by_dataset")
    drawn = [
        shared_map(copies, T("audit.by_dataset", n=audit.count("n")), T),
        roc_curves(found, T),
        reliability(found.part("calibration"), T),
        detection_matrix(found.part("detection").part("all"), T),
        class_matrix(found.part("classes"), T),
    ]
    assert [title_of(chart) for chart in drawn if "n=" not in title_of(chart)] == []


def test_findings_of_groups_alone_are_counted_in_groups():
    figures = {"value": 0.1, "value_low": 0.05, "value_high": 0.2, "n": None, "n_groups": 71}
    texts = {"where": "CT", "measure": "p", "verdict": "undecided", "note": "nowhere"}
    row = Record(figures | texts)
    assert title_of(findings_figure([row], "p", T)) == "p (71 groups)"
    assert finding_text(row, T) == "CT: p 0.100 (0.050-0.200, 71 groups); nowhere (undecided)"


def test_what_records_say_is_told_in_spanish_where_the_page_is():
    with using_language("es"):
        t, hypotheses = translator("es"), record("explore").rows("hypotheses")
        told = [finding_text(row, t) for one in hypotheses for row in one.rows("findings")]
        told += [one.words("reason") for one in hypotheses]
        told += [record("evaluation").words("intervals")]
    assert english_on("<p>".join(told)) == []


def test_the_audit_says_what_leaks_and_what_does_not():
    audit = stored("audit")
    text, kind = split_verdict(Record(audit), T)
    assert kind == "leaks"
    assert "33.3 %" in text
    nothing = {"name": "", "leaking": 0, "leaks": None}
    assert split_verdict(Record({"split": nothing}), T)[1] == "none"
    clean = audit["split"] | {"leaking": 0}
    assert split_verdict(record("audit", split=clean), T)[1] == "clean"


def test_the_table_of_leaks_has_a_row_for_each_label_of_the_test_part():
    rows = leak_rows(record("audit"), T)
    assert rows[0]["label"] == "all"
    assert rows[0]["test files (n)"] == sum(row["test files (n)"] for row in rows[1:])


def test_effects_are_listed_largest_first():
    study = next(iter(record("explore").table("features").values()))
    deltas = [abs(row["Cliff's delta"]) for row in effect_rows(study.rows("contrasts")[0], T)]
    assert deltas == sorted(deltas, reverse=True)


def test_two_evaluations_of_the_same_scans_are_known_as_such():
    one = record("evaluation")
    assert same_scans(one, record("evaluation"))
    assert not same_scans(one, record("evaluation", part="val"))
    assert len(pair_rows(one, one, T)) == 3 * len(one.table("detection"))


def test_learning_curves_mark_the_epoch_of_least_validation_loss():
    history = [{"epoch": e, "loss": 1.0, "val_loss": loss, "val_auc_ct": 0.5, "val_auc_mri": 0.5,
                "val_type_accuracy": 0.5} for e, loss in enumerate([3.0, 1.0, 2.0], 1)]  # fmt: skip
    loss, figures = learning_curves(history, T)
    assert loss.layout.shapes[0].x0 == figures.layout.shapes[0].x0 == 2


@pytest.mark.parametrize("kind", ["explore", "audit", "evaluation"])
def test_the_stored_study_is_finite_json(kind):
    assert "NaN" not in json.dumps(stored(kind))


def test_the_stored_evaluation_names_drawn_heads_alone():
    worst = stored("evaluation")["failures"]["false_positives"]["worst"]
    assert {row["case"].split("/")[0] for row in worst} == {"p"}  # the phantoms' folder
