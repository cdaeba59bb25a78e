"""Put every earlier system beside ours on the same images, and write the table of it.

    python benchmarks/reproduce.py DATA --audit AUDIT --runs RUNS [--weights FILE] [--only ARM ...]

DATA holds a folder for each data set (`tumorlens data fetch`), AUDIT is what `tumorlens audit` of
all of them wrote. Work goes on where a kill broke it off; arms whose answers are there are not run
again.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    arguments = read_arguments()
    from tumorlens.cli.progress import TrainingBars
    from tumorlens.settings import load_settings
    from tumorlens.study.reproductions.arms import ARMS, SOURCES
    from tumorlens.study.training.backend import load_backend

    wanted = [arm for arm in ARMS if not arguments.only or arm.name in arguments.only]
    load_backend()
    from tumorlens.study.reproductions.run import Bench, run_arm, run_source

    bench = Bench(
        data=arguments.data, runs=arguments.runs, audit=arguments.audit,
        cache=load_settings().cache_folder, weights=arguments.weights,
    )  # fmt: skip
    sources = {arm.start for arm in wanted if arm.start} | set(arguments.only) & set(SOURCES)
    for name in sorted(sources):
        print(f"== {name}", flush=True)
        with TrainingBars(SOURCES[name].made.epochs) as bars:
            run_source(SOURCES[name], bench, watcher=bars)
    for arm in wanted:
        print(f"== {arm.name}", flush=True)
        with TrainingBars(arm.made.epochs) as bars:
            run_arm(arm, bench, watcher=bars)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--audit", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--weights", default="")
    parser.add_argument("--only", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
