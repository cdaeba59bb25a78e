"""The tables of an evaluation as rows of text, the first one the head, for paper."""

from collections.abc import Callable, Mapping
from typing import Any

from tumorlens.reports.page import figure, figure_at, share

Figures = Mapping[str, Any]
_NAMES = {"all": "all", "ct": "CT", "mri": "MRI"}
Rows = list[tuple[str, ...]]


def _operating_point(f: Figures) -> Rows:
    choice, found = f["threshold_choice"], f["detection"]["all"]
    looks = f["looks"]
    rows: Rows = [
        ("flagged at", f"{found['threshold']:.4f}, fixed on {choice['part']} before these scans "
                       f"were read (n={choice['n']}, {choice['aim']})"),
        ("there", f"sensitivity {choice['sensitivity']:.3f}, specificity "
                  f"{choice['specificity']:.3f}"),
        ("here", f"sensitivity {figure(found, 'sensitivity', 'n_tumor')}, specificity "
                 f"{figure(found, 'specificity', 'n_healthy')}"),
    ]  # fmt: skip
    if looks:
        told = f"{looks['same_scans']} at these scans, {looks['same_part']} at this part"
        rows.append(("look", told))
    return [("", ""), *rows]


def _detection(f: Figures) -> Rows:
    head = ("", "AUC", "sensitivity", "specificity", "accuracy", "F1")
    return [head, *((_NAMES[name], *_rates(row)) for name, row in f["detection"].items())]


def _rates(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        figure(row, "auc"), figure(row, "sensitivity", "n_tumor"),
        figure(row, "specificity", "n_healthy"), figure(row, "accuracy"), figure(row, "f1"),
    )  # fmt: skip


def _predictive(f: Figures) -> Rows:
    first = f["detection"]["all"]["predictive_values"]
    head = (
        "",
        *(f"{name} at {share(row['prevalence'])}" for row in first for name in ("PPV", "NPV")),
    )
    return [head, *(
        (_NAMES[name], *(figure(row | {"n": found["n"]}, key)
                         for row in found["predictive_values"] for key in ("ppv", "npv")))
        for name, found in f["detection"].items()
    )]  # fmt: skip


def _type(f: Figures) -> Rows:
    found = f["type"]
    if not found:
        return []
    rates = (figure(found, "accuracy"), figure(found, "macro_f1"))
    return [("accuracy, given a tumor", "macro F1"), rates]


def _calibration(f: Figures) -> Rows:
    found = f["calibration"]
    rows = [("as answered", found)]
    if found["before"]:
        rows.insert(0, ("before the temperature", found["before"]))
    names = ("ece", "brier", "slope", "intercept")
    head = ("", "calibration error", "Brier score", "slope (1)", "intercept (0)")
    return [head, *((title, *(figure(row, name) for name in names)) for title, row in rows)]


def _subgroups(f: Figures) -> Rows:
    head = ("", "", "AUC", "sensitivity", "specificity", "F1", "type accuracy")
    return [head, *(
        (kind, name, *_rates(found["detection"])[:3], figure(found["detection"], "f1"),
         figure(found["type"], "accuracy") if found["type"] else "-")
        for kind, names in f["subgroups"].items() for name, found in names.items()
    )]  # fmt: skip


def _decision(f: Figures) -> Rows:
    found, risk = f["decision"]["abstention"], f["decision"]["risk_coverage"]
    return [
        ("no answer", "wrong among the answered", "mean error over all coverages"),
        (figure(found, "abstained"), figure(found | {"n": found["answered"]}, "error"),
         f"{risk['aurc']:.4f} (best possible {risk['best']:.4f}, n={risk['n']})"),
    ]  # fmt: skip


def _conformal(f: Figures) -> Rows:
    if not f["conformal"]:
        return []
    sets = [row for rows in f["conformal"].values() for row in rows]
    return [("promised", "class", "measured coverage", "names in a set"), *(
        (share(row["promised"]), name, figure(found, "coverage"), figure(row, "size"))
        for row in sets for name, found in row["classes"].items()
    )]  # fmt: skip


def _against(f: Figures) -> Rows:
    found = f["against"]
    if not found:
        return []
    head = (f"minus {found['bundle']}", "AUC", "sensitivity", "specificity", "McNemar's p")
    names = ("auc", "sensitivity", "specificity")
    return [head, *(
        (_NAMES[name], *(figure(row, f"{key}_difference") for key in names),
         f"{row['mcnemar']['all']['p']:.3g}")
        for name, row in found["rows"].items()
    )]  # fmt: skip


def _localisation(f: Figures) -> Rows:
    found = f["localisation"]
    if not found:
        return []
    rows: Rows = [
        ("", "heatmap", "the middle of the head"),
        ("strongest place in the tumor", figure(found, "pointing"), figure(found, "centre_prior")),
        ("evidence inside it", figure(found, "energy"), figure(found, "energy_prior")),
    ]
    for i, at in enumerate(found["iou_at"]):
        both = (figure_at(found, name, i) for name in ("iou", "iou_prior"))
        rows.append((f"IoU at {at} of the top", *both))
    return rows


def _explanation(f: Figures) -> Rows:
    found = f["explanation"] or {}
    rows: Rows = []
    if found.get("deletion"):
        deletion = found["deletion"]
        rows += [(f"area under deletion, {name}", figure(deletion, f"area_{name}"))
                 for name in ("heatmap", "middle", "random")]  # fmt: skip
    if found.get("randomization"):
        rows += [(f"rank correlation, {row['stage']}", figure(row, "correlation"))
                 for row in found["randomization"]["rows"]]  # fmt: skip
    return [("", ""), *rows] if rows else []


def _controls(f: Figures) -> Rows:
    if not f["controls"]:
        return []
    return [("task", "control", "its AUC", "the model's"), *(
        (row["task"], f"{row['control']}, {row['detail']}",
         row["reason"] or "not measurable" if row["auc"] is None else figure(row, "auc"),
         figure(row["model"], "auc") if row["model"] else "-")
        for row in f["controls"]
    )]  # fmt: skip


def _robustness(f: Figures) -> Rows:
    if not f["robustness"]:
        return []
    return [("", "damage", "AUC", "sensitivity", "specificity", "out of scope"), *(
        (_NAMES[row["task"]], f"{row['perturbation']} {row['strength'] or ''}",
         figure(row, "auc"), figure(row, "sensitivity", "n_tumor"),
         figure(row, "specificity", "n_healthy"), figure(row, "out_of_scope"))
        for row in f["robustness"]["rows"]
    )]  # fmt: skip


SECTIONS: tuple[tuple[str, Callable[[Figures], Rows], tuple[str, ...]], ...] = (
    ("Operating point", _operating_point, ()),
    ("Detection", _detection, ("roc", "precision_recall")),
    ("What an answer is worth", _predictive, ()),
    ("Type", _type, ("type",)),
    ("Calibration", _calibration, ("calibration", "classes")),
    ("Subgroups", _subgroups, ("subgroups",)),
    ("Acting on the answers", _decision, ("net_benefit", "risk_coverage")),
    ("Sets of answers", _conformal, ()),
    ("Against another bundle", _against, ()),
    ("Where it looked", _localisation, ()),
    ("What the heatmaps are worth", _explanation, ("deletion",)),
    ("Negative controls", _controls, ("controls",)),
    ("How much damage it bears", _robustness, ("robustness",)),
)
