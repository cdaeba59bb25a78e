"""An evaluation on paper: the figures of the page, its plots and its images."""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from fpdf.fonts import FontFace

from tumorlens.language import translate
from tumorlens.reports.evaluation.result import EvaluationResult, Failure, Gallery, MaskExample
from tumorlens.reports.page import share
from tumorlens.reports.pdf import FONT, Document, image_of, printable

_METADATA = re.compile(r"<metadata>.*?</metadata>", re.S)
_HALF, _WHOLE = 88.0, 180.0  # mm
_WIDE = {"subgroups", "controls", "robustness"}
Rows = list[tuple[str, ...]]  # of a table, the first one its head
_IMAGE = (58.0, 29.0)  # mm


def evaluation_pdf(
    *,
    result: EvaluationResult,
    plots: Mapping[str, str],
    failures: Gallery[Failure],
    examples: Gallery[MaskExample] | None,
) -> bytes:
    """Return the bytes of the PDF of an evaluation; `plots` are SVG texts by name."""
    made = datetime.fromisoformat(result.created)
    pdf = Document(translate("Evaluation of {0}").format(result.bundle), made=made)
    pdf.add_page()
    pdf.heading("Evaluation", size=17)
    pdf.text_block(_where_from(result), quiet=True)
    for warning in _warnings(result):
        pdf.warning(warning)
    for title, section, names in SECTIONS:
        _section(pdf, title, section(result), [plots[name] for name in names if name in plots],
                 wide=bool(_WIDE & set(names)))  # fmt: skip
    for kind, title in (("hits", "Strongest evidence inside the marked tumor"),
                        ("misses", "Strongest evidence outside it")):  # fmt: skip
        rows = [
            (f"{row.label}, {row.case}", image) for row, image in (examples or {}).get(kind, ())
        ]
        if examples:
            _gallery(pdf, title, rows)
    for kind, title in (("false_negatives", "Missed tumors"), ("false_positives", "False alarms")):
        rows = [(_failure_caption(row), image) for row, image in failures[kind]]
        _gallery(pdf, f"{title}: {result.failures[kind].total}, the worst first", rows)
    for name, items in result.checklists.items():
        cells = [(row.number, row.topic, row.answer) for row in items]
        _section(pdf, name, [("item", "topic", "this run"), *cells], [], widths=(10, 50, 120))
    return bytes(pdf.output())


def _where_from(r: EvaluationResult) -> str:
    sets = ", ".join(f"{name} ({count})" for name, count in r.datasets.items())
    return (
        f"Bundle {r.bundle}, part {r.part}, split {r.split.fingerprint or 'none'}, "
        f"{r.n} scans ({r.unreadable} unreadable) of {sets}, {r.created}. Intervals: {r.intervals}."
    )


def _warnings(r: EvaluationResult) -> Iterable[str]:
    if r.split.share:
        yield (
            f"This split leaks: {share(r.split.share)} of its {r.split.n} test scans have a "
            "relative in training or validation. These figures flatter."
        )
    if not r.split.fingerprint:
        yield "No split was given: nothing says that the bundle did not train on these scans."
    elif r.split.fingerprint != r.trained_on_split:
        yield "The bundle was trained with another split: it may have seen some of these scans."
    if not r.calibration.calibrated:
        yield "This bundle has no calibration: its probabilities are those of the network."


def _section(
    pdf: Document,
    title: str,
    rows: Rows,
    plots: Sequence[Any],
    *,
    wide: bool = False,
    widths: tuple[int, ...] | None = None,
) -> None:
    """Print a table, its first row the head, and plots below it; nothing where both are empty."""
    if not rows and not plots:
        return
    pdf.heading(title)
    if rows:
        _table(pdf, rows, widths)
    _plots(pdf, plots, width=_WHOLE if wide else _HALF)


def _table(pdf: Document, rows: Rows, widths: tuple[int, ...] | None) -> None:
    head = any(rows[0])
    pdf.set_font(FONT, "", 6.5 if len(rows[0]) > 5 else 7.5)
    with pdf.table(
        borders_layout="HORIZONTAL_LINES", text_align="LEFT", line_height=3.6, padding=0.6,
        first_row_as_headings=head, headings_style=FontFace(emphasis="BOLD"), col_widths=widths,
        repeat_headings=1 if head else 0,
    ) as table:  # fmt: skip
        for cells in rows if head else rows[1:]:
            table.row([printable(translate(cell)) for cell in cells])
    pdf.ln(2)


def _plots(pdf: Document, plots: Sequence[Any], *, width: float) -> None:
    """Print SVG plots, two in a row where they are narrow."""
    for start in range(0, len(plots), 2 if width < _WHOLE / 2 else 1):
        row = plots[start : start + (2 if width < _WHOLE / 2 else 1)]
        heights = [width * _shape(str(plot)) for plot in row]
        if pdf.will_page_break(max(heights)):
            pdf.add_page()
        top = pdf.get_y()
        pdf.set_fill_color(0)  # of letters, which the plots leave to the page
        for at, plot in enumerate(row):
            data = io.BytesIO(_METADATA.sub("", str(plot)).encode())
            pdf.image(data, pdf.l_margin + at * (width + 4), top, w=width)
        pdf.set_y(top + max(heights) + 2)


def _shape(svg: str) -> float:
    """Return height by width of an SVG text."""
    box = re.search(r'viewBox="\S+ \S+ (\S+) ([^"]+)"', svg)
    return float(box[2]) / float(box[1]) if box else 0.75


def _gallery(pdf: Document, title: str, rows: Sequence[tuple[str, Any]]) -> None:
    """Print small images under their captions, three in a row, with what is hidden left gray."""
    pdf.heading(title)
    if not rows:
        pdf.text_block("None.")
        return
    width, height = _IMAGE
    for start in range(0, len(rows), 3):
        if pdf.will_page_break(height + 10):
            pdf.add_page()
        top = pdf.get_y()
        for at, (caption, image) in enumerate(rows[start : start + 3]):
            x = pdf.l_margin + at * (width + 3)
            if image is None:
                pdf.set_fill_color(200, 200, 200)
                pdf.rect(x, top, width, height, style="F")
            else:
                pdf.image(image_of(image), x, top, width, height)
            pdf.set_xy(x, top + height + 0.5)
            pdf.set_font(FONT, "", 6.5)
            pdf.multi_cell(width, 2.9, printable(caption)[:150], align="L")
        pdf.set_xy(pdf.l_margin, top + height + 9.5)


def _failure_caption(row: Failure) -> str:
    elsewhere = f"; elsewhere {', '.join(row.other_labels)}" if row.other_labels else ""
    hidden = f" ({row.hidden})" if row.hidden else ""
    answer = f"{row.label}, {row.tumor_probability:.3f}, {row.decision}{elsewhere}"
    return f"{answer}. {row.case}{hidden}"


_NAMES = {"all": "all", "ct": "CT", "mri": "MRI"}


def _operating_point(r: EvaluationResult) -> Rows:
    choice, found, accesses = r.threshold_choice, r.detection["all"], r.test_accesses
    rows: Rows = [
        ("flagged at", f"{found.threshold:.4f}, fixed on {choice['part']} before these scans "
                       f"were read (n={choice['n']}, {choice['aim']})"),
        ("there", f"sensitivity {choice['sensitivity']:.3f}, specificity "
                  f"{choice['specificity']:.3f}"),
        ("here", f"sensitivity {found.sensitivity}, specificity {found.specificity}"),
    ]  # fmt: skip
    if accesses:
        counted = f"{accesses.same_scans} of these scans, {accesses.same_part} of this part"
        rows.append(("evaluation", counted))
    return [("", ""), *rows]


def _detection(r: EvaluationResult) -> Rows:
    head = ("", "AUC", "sensitivity", "specificity", "accuracy", "F1")
    return [head, *(
        _row(_NAMES[name], d.auc, d.sensitivity, d.specificity, d.accuracy, d.f1)
        for name, d in r.detection.items()
    )]  # fmt: skip


def _row(*cells: object) -> tuple[str, ...]:
    return tuple(str(cell) for cell in cells)


def _predictive(r: EvaluationResult) -> Rows:
    values = r.detection["all"].predictive_values
    head = [f"{name} at {share(row.prevalence)}" for row in values for name in ("PPV", "NPV")]
    return [("", *head), *(
        _row(_NAMES[name], *(cell for row in d.predictive_values for cell in (row.ppv, row.npv)))
        for name, d in r.detection.items()
    )]  # fmt: skip


def _type(r: EvaluationResult) -> Rows:
    if not r.type:
        return []
    return [("accuracy, given a tumor", "macro F1"), _row(r.type.accuracy, r.type.macro_f1)]


def _calibration(r: EvaluationResult) -> Rows:
    parts = [("before the temperature", r.calibration.before), ("as answered", r.calibration)]
    head = ("", "calibration error", "Brier score", "slope (1)", "intercept (0)")
    return [head, *(
        _row(title, c.ece, c.brier, c.slope, c.intercept) for title, c in parts if c
    )]  # fmt: skip


def _subgroups(r: EvaluationResult) -> Rows:
    head = ("", "", "AUC", "sensitivity", "specificity", "F1", "type accuracy")
    return [head, *(
        _row(kind, name, d.auc, d.sensitivity, d.specificity, d.f1,
             found.type.accuracy if found.type else "-")
        for kind, names in r.subgroups.items() for name, found in names.items()
        for d in (found.detection,)
    )]  # fmt: skip


def _same_level(r: EvaluationResult) -> Rows:
    if not r.same_level:
        return []
    head = ("", "with tumor", "without", "AUC, same level", "AUC, all levels", "level alone")
    return [head, *(
        _row(name, str(found.tumors), str(found.healthy), found.auc, found.unmatched,
             found.level_alone)
        for name, found in r.same_level.items()
    )]  # fmt: skip


def _decision(r: EvaluationResult) -> Rows:
    found, risk = r.decision.abstention, r.decision.risk_coverage
    best = f"{risk.aurc:.4f} (best possible {risk.best:.4f}, n={risk.n})"
    return [
        ("no answer", "wrong among the answered", "mean error over all coverages"),
        _row(found.abstained, found.error, best),
    ]


def _conformal(r: EvaluationResult) -> Rows:
    if not r.conformal:
        return []
    return [("promised", "class", "measured coverage", "names in a set"), *(
        _row(share(sets.promised), name, found.coverage, sets.size)
        for rows in r.conformal.values() for sets in rows for name, found in sets.classes.items()
    )]  # fmt: skip


def _comparison(r: EvaluationResult) -> Rows:
    if not r.comparison:
        return []
    head = (f"minus {r.comparison.bundle}", "AUC", "sensitivity", "specificity", "McNemar's p")
    return [head, *(
        _row(_NAMES[name], row.auc_difference, row.sensitivity_difference,
             row.specificity_difference, f"{row.mcnemar['all']['p']:.3g}")
        for name, row in r.comparison.rows.items()
    )]  # fmt: skip


def _localization(r: EvaluationResult) -> Rows:
    found = r.localization
    if not found:
        return []
    overlaps = zip(found.iou_at, found.iou, found.iou_prior, strict=True)
    return [
        ("", "heatmap", "the center of the head"),
        _row("strongest evidence in the tumor", found.pointing, found.center_prior),
        _row("evidence inside it", found.energy, found.energy_prior),
        *(_row(f"IoU at {at} of the top", own, prior) for at, own, prior in overlaps),
    ]


def _explanation(r: EvaluationResult) -> Rows:
    rows: Rows = []
    deletion = r.explanation and r.explanation.deletion
    if deletion:
        orders = {"heatmap": deletion.area_heatmap, "center": deletion.area_middle,
                  "random": deletion.area_random}  # fmt: skip
        rows += [_row(f"area under deletion, {name}", area) for name, area in orders.items()]
    if r.explanation and r.explanation.randomization:
        rows += [_row(f"rank correlation, {row.stage}", row.correlation)
                 for row in r.explanation.randomization.rows]  # fmt: skip
    return [("", ""), *rows] if rows else []


def _controls(r: EvaluationResult) -> Rows:
    if not r.controls:
        return []
    return [("task", "control", "its AUC", "the model's"), *(
        _row(row.task, f"{row.control}, {row.detail}",
             row.reason or row.auc, row.model.auc if row.model else "-")
        for row in r.controls
    )]  # fmt: skip


def _robustness(r: EvaluationResult) -> Rows:
    if not r.robustness:
        return []
    return [("", "damage", "AUC", "sensitivity", "specificity", "out of scope"), *(
        _row(_NAMES[row.task], f"{row.perturbation} {row.strength or ''}",
             row.auc, row.sensitivity, row.specificity, row.out_of_scope)
        for row in r.robustness.rows
    )]  # fmt: skip


SECTIONS: tuple[tuple[str, Callable[[EvaluationResult], Rows], tuple[str, ...]], ...] = (
    ("Operating point", _operating_point, ()),
    ("Detection", _detection, ("roc", "precision_recall")),
    ("At the same level of the head", _same_level, ()),
    ("What an answer is worth", _predictive, ()),
    ("Type", _type, ("type",)),
    ("Calibration", _calibration, ("calibration", "classes")),
    ("Subgroups", _subgroups, ("subgroups",)),
    ("Acting on the answers", _decision, ("net_benefit", "risk_coverage")),
    ("Sets of answers", _conformal, ()),
    ("Compared with another bundle", _comparison, ()),
    ("Where it looked", _localization, ()),
    ("What the heatmaps are worth", _explanation, ("deletion",)),
    ("Negative controls", _controls, ("controls",)),
    ("How much damage it bears", _robustness, ("robustness",)),
)
