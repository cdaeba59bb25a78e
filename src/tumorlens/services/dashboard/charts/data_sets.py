"""What an audit and an exploration found: leaks, shortcuts, effects, verdicts."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from tumorlens.json_records import Record
from tumorlens.language import translate
from tumorlens.reports.charts import shapes
from tumorlens.reports.charts.texts import Translate, label_name, term
from tumorlens.services.dashboard.charts.answers import BadgeColor

MIN_SERIOUS_AUC = 0.75  # of a shortcut, as on the audit's own page
VERDICTS: Mapping[str, tuple[BadgeColor, str, str]] = {
    "supported": ("blue", ":material/check_circle:", shapes.BLUE),
    "not supported": ("red", ":material/cancel:", shapes.VERMILION),
    "undecided": ("gray", ":material/help:", shapes.GRAY),
}


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
    names = [t("chart.no_split") if name == "-" else name for name in shared]
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
        name = ", ".join(row.words(part) for part in ("family", "stage"))
        color = shapes.BLUE if row.text("stage") == "as stored" else shapes.GRAY
        return shapes.dot_of(row, name, measure="auc", t=t, color=color)

    own = [row for row in shortcuts if row.text("task") == task]
    n = max((row.count("n") for row in own), default=0)
    title, marks = t("audit.shortcuts", task=translate(task), n=n), (0.5, MIN_SERIOUS_AUC)
    reasons = sorted({row.words("reason") for row in own} - {""})
    return shapes.interval_dots(
        map(dot, own), title=title, marks=marks, bounds=(0.2, 1.02)
    ), reasons


# --- effects and hypotheses ------------------------------------------------------------------


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
            t("chart.groups"): row.values["n_groups"],
            t("hypotheses.verdict"): t(f"verdict.{row.text('verdict')}"),
        }
        for row in findings
    ]
