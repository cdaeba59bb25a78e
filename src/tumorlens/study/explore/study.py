"""A study of one set or several, from scans to the files that people and the dashboard read."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tumorlens.files import replacing
from tumorlens.inputs.prepare import InputSpec
from tumorlens.progress import Steps, silent_steps
from tumorlens.records import Case
from tumorlens.study.data.groups import Groups
from tumorlens.study.explore.experiments import Experiment, read_experiments
from tumorlens.study.explore.held_out_performance import Unseen
from tumorlens.study.explore.hypothesis_tests import Evidence, judge
from tumorlens.study.explore.page import render_exploration
from tumorlens.study.explore.record import explore_figures, write_exploration
from tumorlens.study.explore.run import explore

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
    now: datetime | None = None,
    steps: Steps = silent_steps,
) -> dict[str, Any]:
    """Explore a set, judge the hypotheses, and write explore.json, explore.html and the rest.

    Gives what stands in explore.json. `groups` are of the same cases in the same order; `unseen`
    and `experiments` are what networks reached, for hypotheses that ask for it. `now` dates it.
    """
    found = explore(cases, spec, cache=cache, groups=groups, steps=steps)
    judgments = judge(Evidence(found, unseen, experiments))
    figures = explore_figures(found, judgments, folders=folders, now=now or datetime.now(UTC))
    with steps("drawing") as report:
        drawn = write_exploration(found, figures, out, progress=report)
        with replacing(out / PAGE) as partial:
            partial.write_text(render_exploration(figures, drawn), encoding="utf-8")
    return figures


def study_sets(
    cases: Sequence[Case],
    groups: Groups,
    *,
    out: Path,
    cache: Path,
    results: Path,
    now: datetime | None = None,
    steps: Steps = silent_steps,
    told: Callable[[str], None] = lambda _name: None,
) -> dict[str, dict[str, Any]]:
    """Study each data set into a folder of its own; hypotheses on networks by `results`, a file.

    Gives what stands in each explore.json. `groups`, of the same cases, are of all sets together;
    `told` hears the name of each set that begins.
    """
    experiments = read_experiments(results)
    unseen = Unseen({}, reason="no network was trained on this set")
    found = {}
    for name in dict.fromkeys(case.dataset for case in cases):
        told(name)
        own = [i for i, case in enumerate(cases) if case.dataset == name]
        found[name] = study_set(
            [cases[i] for i in own], InputSpec(), out=out / name, cache=cache,
            groups=groups.take(own), unseen=unseen, experiments=experiments, folders=[name],
            now=now, steps=steps,
        )  # fmt: skip
    return found
