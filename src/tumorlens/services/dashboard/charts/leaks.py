"""What an audit makes of a split, and what tells labels without a look at the brain."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tumorlens.services.dashboard.charts.colors import BLUE, GREY
from tumorlens.services.dashboard.charts.dots import dot_of, interval_dots
from tumorlens.services.dashboard.charts.names import label_name, term
from tumorlens.services.dashboard.texts import Say

SERIOUS = 0.75  # AUC from which a shortcut is serious, as the audit's own page has it


def verdict(audit: Mapping[str, Any], say: Say) -> tuple[str, str]:
    """Give what to make of the split, and "leaks", "clean" or "none"."""
    split = audit["split"]
    leaks = split["leaks"]
    total = leaks["groups"][0] if leaks else None
    if not split["name"] or total is None or not total["n"]:
        return say("audit.no_split"), "none"
    if not split["leaking"]:
        return say("audit.clean", n=f"{total['n']:,}"), "clean"
    copies = leaks["copies"][0]
    return say("audit.leaks", n=f"{total['n']:,}", share=f"{100 * total['share']:.1f} %",
               copies=f"{100 * copies['share']:.1f} %"), "leaks"  # fmt: skip


def leak_rows(audit: Mapping[str, Any], say: Say) -> list[dict[str, Any]]:
    """Give, for each label, how much of the test part is known from training."""
    leaks = audit["split"]["leaks"]
    if not leaks:
        return []
    pairs = zip(leaks["copies"], leaks["groups"], strict=True)
    return [
        {
            say("audit.label"): say("rows.all") if c["label"] == "all"
            else label_name(c["label"], say),
            say("audit.test_files"): c["n"],
            say("audit.with_copy"): c["in_train_or_val"],
            say("audit.with_group"): g["in_train_or_val"],
            say("audit.share"): g["share"],
        }
        for c, g in pairs
    ]  # fmt: skip


def set_rows(held: Mapping[str, Mapping[str, int]], say: Say) -> list[dict[str, Any]]:
    """Give files, pictures, groups and patients of each set or label."""
    return [
        {
            say("audit.name"): label_name(name, say),
            say("audit.files"): row["n"],
            say("audit.pictures"): row["pictures"],
            say("audit.groups"): row["groups"],
            say("audit.patients"): row["patients"],
        }
        for name, row in held.items()
    ]


def shared_map(shared: Mapping[str, Mapping[str, int]], title: str, say: Say) -> go.Figure:
    """Draw how many files of one place have a copy in another."""
    names = list(shared)
    shown = [say("explore.no_split") if name == "-" else name for name in names]
    counts = [[shared[a][b] for b in names] for a in names]
    figure = go.Figure(go.Heatmap(
        z=counts, x=shown, y=shown, text=counts, texttemplate="%{text:,}", showscale=False,
        colorscale=[[0.0, "#f4f8fb"], [1.0, "#0b4f7d"]], xgap=2, ygap=2,
        hovertemplate=say("audit.shared_cell"),
    ))  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True, title=say("audit.files_of"))
    figure.update_xaxes(automargin=True, title=say("audit.copy_in"))
    return figure.update_layout(title=title, height=170 + 50 * len(names),
                                margin={"l": 10, "r": 10, "t": 48, "b": 44})  # fmt: skip


def shortcut_dots(
    shortcuts: Sequence[Mapping[str, Any]], task: str, say: Say
) -> tuple[go.Figure, list[str]]:
    """Draw what each family of facts alone reaches on a task, as stored and as prepared.

    Gives the reasons of those that could not be measured too.
    """
    own = [row for row in shortcuts if row["task"] == task]
    known = [row for row in own if row["auc"] is not None]
    dots = [
        dot_of(row, ", ".join(term(part, row[part], say) for part in ("family", "stage")), "auc",
               groups=say("explore.groups"), color=BLUE if row["stage"] == "as stored" else GREY)
        for row in known
    ]  # fmt: skip
    n = f"{max((row['n'] for row in own), default=0):,}"
    reasons = sorted({row["reason"] for row in own if row["reason"]})
    return interval_dots(dots, title=say("audit.shortcuts", task=task, n=n), axis="AUC",
                         marks=(0.5, SERIOUS), bounds=(0.2, 1.02)), reasons  # fmt: skip
