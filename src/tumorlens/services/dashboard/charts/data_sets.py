"""What is in a data set: sizes, gray levels, features, leaks, shortcuts, verdicts."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from tumorlens.language import translate
from tumorlens.records import Estimate
from tumorlens.services.dashboard.charts import shapes
from tumorlens.services.dashboard.studies import Record
from tumorlens.services.dashboard.texts import Translate, label_name, term

DIVERGING = [[0.0, "#542788"], [0.5, "#f7f7f7"], [1.0, "#b35806"]]  # purple to orange
MIN_SERIOUS_AUC = 0.75  # of a shortcut, as on the audit's own page
CHANCE = {"marks": (0.5,), "bounds": (0.3, 1.02)}
VERDICTS: Mapping[str, tuple[shapes.BadgeColor, str, str]] = {
    "supported": ("blue", ":material/check_circle:", shapes.BLUE),
    "not supported": ("red", ":material/cancel:", shapes.VERMILION),
    "undecided": ("gray", ":material/help:", shapes.GRAY),
}


# --- balance, sizes, gray levels ------------------------------------------------------------


def balance_bars(balance: Mapping[str, Record], t: Translate) -> go.Figure:
    """Draw scans by label, a bar for each part of the split; the mouse shows groups."""
    figure = go.Figure()
    total = 0
    parts = sorted(balance.items(), key=lambda row: row[0] == "test")  # it comes last everywhere
    for number, (part, held) in enumerate(parts):
        rows = {name: held.part(name) for name in held.values}
        counts = [row.count("n") for row in rows.values()]
        total += sum(counts)
        figure.add_bar(
            name=t("explore.no_split") if part == "none" else part,
            x=[label_name(label, t) for label in rows],
            y=counts,
            text=counts,
            textposition="outside",
            customdata=[row.count("n_groups") for row in rows.values()],
            hovertemplate="%{x}: %{y:,}<br>%{customdata:,} " + t("explore.groups"),
            marker_color=shapes.SERIES[number % len(shapes.SERIES)],
        )
    title, y = t("explore.balance", n=total), t("explore.scans")
    more = {"barmode": "group", "legend": shapes.LEGEND_BELOW}
    return shapes.lay_out(figure, title=title, y=y, height=400, **more)


def size_scatter(points: Sequence[Record], t: Translate) -> go.Figure:
    """Draw width against height as stored; the larger the dot, the more files."""
    figure = go.Figure()
    highest = max((point.count("n") for point in points), default=1)
    template = "%{x} x %{y}, %{customdata[1]}<br>" + t("explore.aspect")
    for label in dict.fromkeys(point.text("label") for point in points):
        own = [point for point in points if point.text("label") == label]
        sizes = [7 + 23 * math.sqrt(point.count("n") / highest) for point in own]
        figure.add_scatter(
            name=label_name(label, t),
            mode="markers",
            x=[point.count("width") for point in own],
            y=[point.count("height") for point in own],
            marker={"size": sizes, "color": shapes.LABELS.get(label, shapes.GRAY), "opacity": 0.55},
            customdata=[[p.count("n"), p.text("format"), p.number("aspect")] for p in own],
            hovertemplate=template + " %{customdata[2]}<br>n=%{customdata[0]:,}",
        )
    title = t("explore.sizes", n=sum(point.count("n") for point in points))
    return shapes.lay_out(figure, title=title, x=t("explore.width"), y=t("explore.height"))


def gray_levels(images: Mapping[str, Record], t: Translate) -> go.Figure:
    """Draw how often each gray level of the head occurs in each class; black is left out."""
    figure = go.Figure()
    for name, row in images.items():
        counts = np.array(row.items("histogram")[1:], float)
        shares = 100 * counts / max(counts.sum(), 1)
        figure.add_scatter(
            x=np.arange(1, len(counts) + 1),
            y=shares.round(4),
            mode="lines",
            name=f"{label_name(name, t)} (n={row.count('n'):,})",
            line={"color": shapes.LABELS.get(name, shapes.GRAY), "width": 1.8},
            hovertemplate="%{x}: %{y:.2f} %",
        )
    title = t("explore.histogram", n=sum(row.count("n") for row in images.values()))
    return shapes.lay_out(
        figure, title=title, x=t("explore.gray"), y=t("explore.share"), height=360
    )


# --- features -------------------------------------------------------------------------------


def feature_boxes(study: Record, feature: str, t: Translate) -> go.Figure:
    """Draw one feature by class: middle half as a box, whiskers to the 5th and 95th percentile."""
    figure = go.Figure()
    total = 0
    for label, features in study.table("distributions").items():
        row = features.part(feature)
        total += row.count("n")
        figure.add_box(
            x=[f"{label_name(label, t)} (n={row.count('n'):,})"],
            q1=[row.number("q25")],
            median=[row.number("q50")],
            q3=[row.number("q75")],
            lowerfence=[row.number("q05")],
            upperfence=[row.number("q95")],
            mean=[row.number("mean")],
            marker_color=shapes.LABELS.get(label, shapes.GRAY),
        )
    title = t("explore.feature", feature=term("feature", feature, t), n=total)
    return shapes.lay_out(figure, title=title, height=360, showlegend=False)


def single_dots(study: Record, t: Translate) -> go.Figure:
    """Draw how well each feature alone separates tumor from healthy."""
    rows = sorted(study.table("single").items(), key=lambda row: -(row[1].values["auc"] or 0))
    dots = [shapes.dot_of(row, term("feature", name, t), measure="auc", t=t) for name, row in rows]
    return shapes.interval_dots(dots, title=t("explore.single", n=study.count("n")), **CHANCE)


def model_dots(study: Record, t: Translate) -> go.Figure:
    """Draw what models of all features reach in cross-validation over whole groups."""
    rows = study.table("models").items()
    dots = [shapes.dot_of(row, term("model", name, t), measure="auc", t=t) for name, row in rows]
    return shapes.interval_dots(dots, title=t("explore.models", n=study.count("n")), **CHANCE)


def importance_dots(study: Record, model: str, t: Translate) -> go.Figure:
    """Draw how much AUC is lost when a feature is shuffled; bars are one standard deviation."""
    row = study.part("models").part(model)
    n = row.count("n")
    found = {
        name: (held.number("mean"), held.number("sd"))
        for name, held in row.table("importance").items()
    }
    dots = [
        shapes.Dot(
            term("feature", name, t),
            Estimate(mean, mean - sd, mean + sd, n),
            f"sd {sd:.3f}, n={n:,}",
        )
        for name, (mean, sd) in sorted(found.items(), key=lambda item: -item[1][0])
    ]
    title = t("explore.importance", model=term("model", model, t), n=n)
    return shapes.interval_dots(dots, title=title, axis=t("explore.lost"), marks=(0.0,))


def effect_rows(contrast: Record, t: Translate) -> list[dict[str, object]]:
    """Return the table of effect sizes of two classes, largest first."""
    rows = sorted(contrast.rows("rows"), key=lambda row: -abs(row.values["delta"] or 0))
    return [
        {
            t("explore.feature_column"): term("feature", row.text("feature"), t),
            t("explore.delta"): row.number("delta"),
            t("explore.cohen"): row.number("cohen_d"),
            t("explore.p_holm"): row.number("p_holm"),
        }
        for row in rows
    ]


def correlation_map(study: Record, t: Translate) -> go.Figure:
    """Draw Spearman's correlation of every two features."""
    names = [term("feature", name, t) for name in study.items("features")]
    cells = {"zmin": -1, "zmax": 1, "colorscale": DIVERGING, "xgap": 0, "ygap": 0}
    cells |= {"showscale": True, "hovertemplate": "%{x}, %{y}: %{z:.2f}<extra></extra>"}
    found = study.items("correlation")
    figure = shapes.count_map(found, found, rows=names, columns=names, **cells)
    return shapes.lay_out(figure, title=t("explore.correlation", n=study.count("n")), height=480)


def frame_dots(frames: Record, t: Translate) -> go.Figure:
    """Draw each feature's AUC on the whole square and inside the head alone, in two colors."""

    def dots() -> Iterator[shapes.Dot]:
        for name, row in frames.table("features").items():
            for frame, color in (("whole", shapes.VERMILION), ("head_only", shapes.BLUE)):
                title = f"{term('feature', name, t)}, {t(f'explore.{frame}')}"
                found = row.part(frame).part("auc")
                yield shapes.dot_of(found, title, measure="auc", t=t, color=color)

    n = frames.part("head_share").count("n")
    return shapes.interval_dots(dots(), title=t("explore.frames", n=n), **CHANCE)


# --- leaks and shortcuts --------------------------------------------------------------------


def split_verdict(audit: Record, t: Translate) -> tuple[str, str]:
    """Return what to make of the split, and "leaks", "clean" or "none"."""
    split = audit.part("split")
    by_group, by_copy = (split.part("leaks").rows(kind)[:1] for kind in ("groups", "copies"))
    if not split.text("name") or not by_group or not by_group[0].count("n"):
        return t("audit.no_split"), "none"
    n = by_group[0].count("n")
    if not split.count("leaking"):
        return t("audit.clean", n=n), "clean"
    share, copies = (f"{100 * rows[0].number('share'):.1f} %" for rows in (by_group, by_copy))
    return t("audit.leaks", n=n, share=share, copies=copies), "leaks"


def leak_rows(audit: Record, t: Translate) -> list[dict[str, object]]:
    """Return, for each label, how much of the test part is known from training."""
    leaks = audit.part("split").part("leaks")
    return [
        {
            t("audit.label"): t("rows.all") if label == "all" else label_name(label, t),
            t("audit.test_files"): by_copy.count("n"),
            t("audit.with_copy"): by_copy.count("in_train_or_val"),
            t("audit.with_group"): by_group.count("in_train_or_val"),
            t("audit.share"): by_group.number("share"),
        }
        for by_copy, by_group in zip(leaks.rows("copies"), leaks.rows("groups"), strict=True)
        for label in [by_copy.text("label")]
    ]


def set_rows(held: Mapping[str, Record], t: Translate) -> list[dict[str, str | int]]:
    """Return files, images, groups and patients of each set or label."""
    columns = {"n": "files", "pictures": "images", "groups": "groups", "patients": "patients"}
    return [
        {t("audit.name"): label_name(name, t)}
        | {t(f"audit.{title}"): row.count(key) for key, title in columns.items()}
        for name, row in held.items()
    ]


def shared_map(shared: Mapping[str, Record], title: str, t: Translate) -> go.Figure:
    """Draw how many files of one place have a copy in another."""
    names = [t("explore.no_split") if name == "-" else name for name in shared]
    counts = [[row.count(name) for name in shared] for row in shared.values()]
    cells = {"texttemplate": "%{text:,}", "hovertemplate": t("audit.shared_cell")}
    figure = shapes.count_map(counts, counts, rows=names, columns=names, **cells)
    x, y = t("audit.copy_in"), t("audit.files_of")
    return shapes.lay_out(figure, title=title, x=x, y=y, height=170 + 50 * len(names))


def shortcut_dots(
    shortcuts: Sequence[Record], task: str, t: Translate
) -> tuple[go.Figure, list[str]]:
    """Draw what each family of facts alone reaches on a task, as stored and as prepared.

    Returns the reasons of those that could not be measured too.
    """

    def dot(row: Record) -> shapes.Dot:
        name = ", ".join(term(part, row.text(part), t) for part in ("family", "stage"))
        color = shapes.BLUE if row.text("stage") == "as stored" else shapes.GRAY
        return shapes.dot_of(row, name, measure="auc", t=t, color=color)

    own = [row for row in shortcuts if row.text("task") == task]
    n = max((row.count("n") for row in own), default=0)
    title, marks = t("audit.shortcuts", task=translate(task), n=n), (0.5, MIN_SERIOUS_AUC)
    reasons = sorted({row.words("reason") for row in own} - {""})
    return shapes.interval_dots(
        map(dot, own), title=title, marks=marks, bounds=(0.2, 1.02)
    ), reasons


# --- hypotheses -----------------------------------------------------------------------------


def findings_figure(findings: Sequence[Record], measure: str, t: Translate) -> go.Figure:
    """Draw the findings of one measure, colored by the verdict of each."""
    own = [row for row in findings if row.text("measure") == measure and has_value(row)]

    def dot(row: Record) -> shapes.Dot:
        color = VERDICTS[row.text("verdict")][2]
        return shapes.Dot(row.words("where"), row.estimate("value"), _counts(row, t), color)

    n, n_groups = (sum(row.values[key] or 0 for row in own) or None for key in ("n", "n_groups"))
    axis = translate(measure)
    title = f"{axis} ({shapes.count_text(n, n_groups, t=t)})"
    bounds = (0.0, 1.05) if measure == "AUC" or measure.startswith("p,") else None
    return shapes.interval_dots(map(dot, own), title=title, axis=axis, bounds=bounds)


def has_value(finding: Record) -> bool:
    """Whether a finding has a figure."""
    return finding.values["value"] is not None


def finding_text(finding: Record, t: Translate) -> str:
    """Write a finding with its interval and counts."""
    where, note = finding.words("where"), finding.words("note")
    verdict = t(f"verdict.{finding.text('verdict')}")
    if not has_value(finding):
        return f"{where}: {note} ({verdict})"
    value = finding.estimate("value")
    inside = ", ".join(filter(None, [shapes.interval_text(value), _counts(finding, t)]))
    figure = f"{where}: {finding.words('measure')} {value.value:.3f} ({inside})"
    return f"{figure}{f'; {note}' if note else ''} ({verdict})"


def _counts(row: Record, t: Translate) -> str:
    return shapes.count_text(row.values["n"], row.values["n_groups"], t=t)


def finding_rows(findings: Sequence[Record], t: Translate) -> list[dict[str, object]]:
    """Return the findings as a table."""
    columns = {"where": "where", "measure": "measure"}
    columns |= {"value": "value", "value_low": "low", "value_high": "high"}
    return [
        {t(f"hypotheses.{title}"): row.values[key] for key, title in columns.items()}
        | {
            "n": row.values["n"],
            t("explore.groups"): row.values["n_groups"],
            t("hypotheses.verdict"): t(f"verdict.{row.text('verdict')}"),
        }
        for row in findings
    ]
