"""Put every earlier system beside ours on the same images, and write the table of it.

    python benchmarks/baselines.py DATA --audit AUDIT --runs RUNS [--weights FILE] [--only ARM ...]

DATA holds a folder for each data set (`tumorlens data fetch`), AUDIT is what `tumorlens audit` of
all of them wrote. Work goes on where a kill broke it off; arms whose answers are there are not run
again.
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

Work goes on where a kill broke it off. `--only ARM ...` runs some of it, `--page-only` writes the
page from what is there.
"""


def main() -> None:
    arguments = read_arguments()
    if not arguments.page_only:
        run_all(arguments)
    if arguments.out:
        arguments.out.write_text(page_of(arguments), encoding="utf-8")


def run_all(arguments: argparse.Namespace) -> None:
    from studies.baselines.bench import Bench

    from tumorlens.settings import load_settings
    from tumorlens.study.training.backend import load_backend

    load_backend()
    bench = Bench(
        data=arguments.data, runs=arguments.runs, audit=arguments.audit,
        cache=load_settings().cache_folder, weights=arguments.weights, split=arguments.split,
        bundle=arguments.bundle,
    )  # fmt: skip
    for name in arguments.only or every_name():
        print(f"== {name}", flush=True)
        run_one(name, bench)


def every_name() -> list[str]:
    from studies.baselines.arms import ARMS, SOURCES
    from studies.baselines.starts import PRETRAINED, STARTS

    return [*SOURCES, *(arm.name for arm in ARMS), PRETRAINED, *STARTS]


def run_one(name: str, bench: Any) -> None:
    from studies.baselines import run, run_starts
    from studies.baselines.arms import ARMS, SOURCES
    from studies.baselines.starts import PRETRAINED

    from tumorlens.cli.progress import TrainingBars
    from tumorlens.study.recipes import find_pretraining

    arms = {arm.name: arm for arm in ARMS}
    if name in SOURCES:
        with TrainingBars(SOURCES[name].epochs_run) as bars:
            run.run_source(SOURCES[name], bench, callback=bars)
    elif name in arms:
        with TrainingBars(arms[name].made.epochs) as bars:
            run.run_arm(arms[name], bench, callback=bars)
    elif name == PRETRAINED:
        with TrainingBars(find_pretraining("vicreg").recipe.epochs) as bars:
            run_starts.run_pretraining(bench, callback=bars)
    else:
        run_starts.run_start(name, bench)


def page_of(arguments: argparse.Namespace) -> str:
    """Write the page from whatever has been run; nothing is trained."""
    from studies.baselines import page, sections
    from studies.baselines.arms import ARMS
    from studies.baselines.bench import ANSWERS_FILE, read_answers
    from studies.baselines.starts import PRETRAINED, STARTS

    from tumorlens.study.explore.held_out_performance import read_experiments
    from tumorlens.study.training.run_folder import read_json

    runs = arguments.runs
    answers = {
        arm.name: read_answers(runs / arm.name)
        for arm in ARMS if (runs / arm.name / ANSWERS_FILE).exists()
    }  # fmt: skip
    curves = {name: read_json(file) for name in STARTS
              if (file := runs / name / "size_curve.json").exists()}  # fmt: skip
    trials = read_experiments(arguments.experiments) if arguments.experiments else ()
    speed = read_json(arguments.speed) if arguments.speed else None
    return page.write_page(answers, sections=[
        page.mismatch_note(answers),
        sections.starts_section(curves, epochs_of(runs / PRETRAINED)),
        sections.augmentation_section(trials),
        sections.cache_section(speed),
        sections.SHORT,
        sections.not_run_section(),
        COMMAND,
    ])  # fmt: skip


def epochs_of(run: Path) -> int:
    """Count the epochs of a run."""
    history = run / "history.csv"
    return len(history.read_text().splitlines()) - 1 if history.exists() else 0


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
