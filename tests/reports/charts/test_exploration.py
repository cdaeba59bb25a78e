"""Charts of an exploration: each with its n, its classes and series told apart."""

import pytest
from support.stored_study import record

from tumorlens.json_records import Record
from tumorlens.labels import ATOMS
from tumorlens.language import LANGUAGES
from tumorlens.records import Estimate
from tumorlens.reports.charts import exploration
from tumorlens.reports.charts.shapes import LABELS, Dot, interval_dots, label_colors
from tumorlens.reports.charts.texts import translator

T = translator("en")
COUNTS = {"n": 9, "n_groups": 3}


def charts(language: str):
    explore, t = record("explore"), translator(language)
    modality, study = next(iter(explore.table("features").items()))
    return [
        exploration.balance_bars(explore.table("balance"), t),
        exploration.size_scatter(explore.part("sizes").rows("points"), t),
        exploration.gray_levels(explore.table("pictures"), t),
        exploration.feature_boxes(study, "mean", t),
        exploration.all_feature_boxes(study, t),
        exploration.single_dots(study, t),
        exploration.model_dots(study, t),
        exploration.importance_dots(study, t),
        exploration.correlation_map(study, t),
        exploration.frame_dots(explore.part("frames").part(modality), t),
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_chart_is_titled_with_its_n(language):
    titles = [chart.layout.title.text for chart in charts(language)]
    assert [title for title in titles if "n=" not in title] == []


def test_scans_stand_above_their_independent_groups():
    chart = exploration.balance_bars(record("explore").table("balance"), T)
    scans, groups = (sum(sum(bar.y) for bar in chart.data[at::2]) for at in (0, 1))
    assert 0 < groups <= scans
    assert [axis.title.text for axis in chart.select_yaxes()] == ["scans", "groups"]


def test_a_feature_that_never_varies_leaves_its_correlations_empty():
    study = Record(
        COUNTS | {"features": ["mean", "asm"], "correlation": [[1.0, None], [None, None]]}
    )
    assert exploration.correlation_map(study, T).data[0].z == ([1.0, None], [None, None])


def test_features_stand_by_the_most_that_any_model_loses_without_them():
    losses = {"a": {"mean": 0.1, "asm": 0.2}, "b": {"mean": 0.3, "asm": 0.0}}
    models = {
        model: {"n": 9, "importance": {f: {"mean": m, "sd": 0.0} for f, m in rows.items()}}
        for model, rows in losses.items()
    }
    chart = exploration.importance_dots(Record(COUNTS | {"models": models}), T)
    assert chart.layout.yaxis.categoryarray == ("ASM", "mean")  # from below


def test_dots_stand_in_the_order_given_with_their_intervals():
    figure = interval_dots(
        [
            Dot("a", Estimate(0.5, 0.4, 0.7, 9), "n=9"),
            Dot("b", Estimate(0.2, None, None, 3), "n=3"),
        ],
        title="t",
    )
    assert list(figure.layout.yaxis.categoryarray) == ["b", "a"]
    assert list(figure.data[0].error_x.array) == [pytest.approx(0.2), 0.0]
    assert list(figure.data[0].error_x.arrayminus) == [pytest.approx(0.1), 0.0]


def test_series_of_one_row_have_colors_and_symbols_of_their_own():
    rate = Estimate(0.5, 0.4, 0.7, 9)
    dots = [Dot("mean", rate, "", color, color) for color in ("#0072b2", "#d55e00")]
    figure = interval_dots(dots, title="t")
    assert [trace.name for trace in figure.data] == ["#0072b2", "#d55e00"]
    assert len({trace.marker.symbol for trace in figure.data}) == 2
    assert figure.layout.showlegend
    assert figure.layout.scattermode == "group"


def test_every_label_of_one_atom_has_a_color_of_its_own():
    assert len({LABELS[atom] for atom in ATOMS}) == len(ATOMS)


def test_labels_without_a_color_of_their_own_are_told_apart():
    colors = label_colors(["ct_tumor", "all ct", "all mri", "healthy"])
    assert colors["ct_tumor"] == LABELS["ct_tumor"]
    assert len(set(colors.values())) == 4
