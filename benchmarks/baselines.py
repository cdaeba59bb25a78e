"""Put every earlier system beside ours on the same images, and write the table of it.

    python benchmarks/baselines.py DATA --audit AUDIT --runs RUNS [--weights FILE] [--only NAME ...]

DATA holds a folder for each data set (`tumorlens data fetch`), AUDIT is what `tumorlens audit` of
all of them wrote. Work goes on where a kill broke it off; what has its scores is not run again.
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
COMMAND = """## Again

```bash
tumorlens audit sets/* --out runs/audit --allow
python benchmarks/baselines.py sets --audit runs/audit --runs runs/baselines --out baselines.md
```

Work goes on where a kill broke it off. `--only NAME ...` runs some of it, `--page-only` writes the
page from what is there.
"""


def main() -> None:
    arguments = read_arguments()
    if not arguments.page_only:
        run_all(arguments)
    if arguments.out:
        arguments.out.write_text(page_of(arguments), encoding="utf-8")


def run_all(arguments: argparse.Namespace) -> None:
    from studies.baselines.jobs import epochs_of, plan_jobs
    from studies.baselines.sets import Sets

    from tumorlens.cli.progress import TrainingBars
    from tumorlens.settings import load_settings
    from tumorlens.study.experiments.runner import Listeners, run_jobs
    from tumorlens.study.training.backend import load_backend

    def with_bars(job: Any, _listeners: Any) -> None:
        print(f"== {job.folder.name}", flush=True)
        with TrainingBars(epochs_of(job.folder.name)) as bars:
            job.run(Listeners(bars))

    load_backend()
    sets = Sets(
        data=arguments.data, runs=arguments.runs, audit=arguments.audit,
        cache=load_settings().cache_folder, weights=arguments.weights, split=arguments.split,
        bundle=arguments.bundle,
    )  # fmt: skip
    jobs = plan_jobs(sets)
    for _ in run_jobs([jobs[name] for name in arguments.only or jobs], with_bars):
        pass


def page_of(arguments: argparse.Namespace) -> str:
    """Write the page from whatever has been run; nothing is trained."""
    from studies.baselines import page, sections
    from studies.baselines.runs import PRETRAINED, RUNS, STARTS
    from studies.baselines.sets import scores_file, scores_in

    from tumorlens.study.explore.held_out_performance import read_experiments
    from tumorlens.study.training.run_folder import read_history, read_json

    runs = arguments.runs
    folders = {run.name: runs / run.name for run in RUNS}
    scores = {name: scores_in(folder) for name, folder in folders.items()
              if (folder / scores_file(folder)).exists()}  # fmt: skip
    curves = {name: read_json(file) for name in STARTS
              if (file := runs / name / "size_curve.json").exists()}  # fmt: skip
    trials = read_experiments(arguments.experiments) if arguments.experiments else ()
    speed = read_json(arguments.speed) if arguments.speed else None
    return page.write_page(scores, sections=[
        page.mismatch_note(scores),
        sections.starts_section(curves, len(read_history(runs / PRETRAINED / "history.csv"))),
        sections.augmentation_section(trials),
        sections.cache_section(speed),
        sections.SHORT,
        sections.not_run_section(),
        COMMAND,
    ])  # fmt: skip


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--audit", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--weights", default="", help="of MobileNet, instead of a download")
    parser.add_argument("--split", type=Path, help="one grouped split of all sets")
    parser.add_argument("--bundle", type=Path, help="ours, trained on that split")
    parser.add_argument("--only", nargs="*", default=[], help="these runs, not all")
    parser.add_argument("--out", type=Path, help="the page to write")
    parser.add_argument("--page-only", action="store_true", help="train nothing")
    parser.add_argument("--experiments", type=Path, help="experiments.json of `tumorlens explore`")
    parser.add_argument("--speed", type=Path, help="what benchmarks/cached_head.py wrote")
    return parser.parse_args()


if __name__ == "__main__":
    main()
