"""A study of one set, from its scans to the files that people and the dashboard read."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tumorlens.inputs.prepare import InputSpec
from tumorlens.records import Case
from tumorlens.study.audit.groups import Groups
from tumorlens.study.explore.experiments import Experiment
from tumorlens.study.explore.judging import Evidence, judge
from tumorlens.study.explore.page import render_exploration
from tumorlens.study.explore.record import explore_figures, write_exploration
from tumorlens.study.explore.run import Steps, explore, silent
from tumorlens.study.explore.unseen import Unseen
from tumorlens.writing import replacing

PAGE = "explore.html"


def study_set(
    cases: Sequence[Case],
    spec: InputSpec,
    *,
    out: Path,
    cache: Path,
    groups: Groups,
    unseen: Unseen,
    experiments: Sequence[Experiment] = (),
    folders: Sequence[str],
    now: datetime,
    steps: Steps = silent,
) -> dict[str, Any]:
    """Explore a set, judge the hypotheses, and write explore.json, explore.html and the rest.

    Gives what stands in explore.json. `groups` are of the same cases in the same order; `unseen`
    and `experiments` are what networks reached, for hypotheses that ask for it.
    """
    found = explore(cases, spec, cache=cache, groups=groups, steps=steps)
    judgments = judge(Evidence(found, unseen, experiments))
    figures = explore_figures(found, judgments, folders=folders, now=now)
    with steps("drawing") as report:
        drawn = write_exploration(found, figures, out, progress=report)
        with replacing(out / PAGE) as partial:
            partial.write_text(render_exploration(figures, drawn), encoding="utf-8")
    return figures
