"""Put every earlier system beside ours on the same images, and write the table of it.

    python benchmarks/baselines.py DATA --audit AUDIT --runs RUNS [--weights DIR] [--only NAME ...]
        [--on local|ray]

DATA holds a folder for each data set (`tumorlens data fetch`), AUDIT is what `tumorlens audit` of
all of them wrote, `--weights` a folder of what `benchmarks/weights_from_wheel.py` wrote. Work goes
on where a kill broke it off; what has its scores is not run again. The figures of every finished
run are kept in `studies/baselines/results.json`, and the page is written from there.
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
PAGE = Path(__file__).resolve().parents[1] / "docs/reference/baselines.md"
COMMAND = """## Again

```bash
make baselines SETS=sets
python benchmarks/baselines.py sets --audit runs/audit --runs runs/baselines --only navoneel-ours
```

After `make strangers`, the first line does all of it, in nights on two cores, and goes on where it
broke off; the second one row. `--list` names the rows and which are done, `--page-only` writes the
page alone.
"""


def main() -> None:
    arguments = read_arguments()
    if arguments.list:
        list_jobs(arguments)
        return
    failed = {} if arguments.page_only else run_all(arguments)
    write_page(arguments)
    if failed:
        raise SystemExit("\n".join(f"{name}: {error}" for name, error in failed.items()))


def jobs_of(arguments: argparse.Namespace) -> Any:
    from studies.baselines.jobs import plan_jobs
    from studies.baselines.sets import Sets

    from tumorlens.settings import load_settings

    return plan_jobs(Sets(
        data=arguments.data, runs=arguments.runs, audit=arguments.audit,
        cache=load_settings().cache_folder, weights=arguments.weights, split=arguments.split,
        bundle=arguments.bundle, strangers=arguments.strangers,
    ))  # fmt: skip


def list_jobs(arguments: argparse.Namespace) -> None:
    for name, job in jobs_of(arguments).items():
        print(f"{'done' if job.is_done else 'to do':6} {name}")


def run_all(arguments: argparse.Namespace) -> dict[str, str]:
    """Do what is to do, row by row; return what failed, by the row, once all others are done."""
    from studies.baselines.jobs import epochs_of, waves_of
    from studies.executors import open_executor

    from tumorlens.study.experiments.runner import run_jobs
    from tumorlens.study.training.backend import load_backend

    failed: dict[str, str] = {}

    def on_start(job: Any) -> None:
        print(f"== {job.folder.name}", flush=True)

    def on_error(job: Any, error: Exception) -> None:
        failed[job.folder.name] = str(error)
        print(f"== {job.folder.name} failed: {error}", flush=True)

    jobs = jobs_of(arguments)
    if unknown := sorted(set(arguments.only) - set(jobs)):
        raise SystemExit(f"{', '.join(unknown)}: no such row. --list names them all.")
    load_backend()
    left = {name: jobs[name] for name in arguments.only or jobs if not jobs[name].is_done}
    with open_executor(arguments, epochs_of=lambda job: epochs_of(job.folder.name)) as executor:
        for wave in waves_of(left):
            for _ in run_jobs(wave, executor, on_start=on_start, on_error=on_error):
                write_page(arguments)
    return failed


def write_page(arguments: argparse.Namespace) -> None:
    """Collect figures from whatever has been run, and write the page from all that are known."""
    from studies.baselines import page, sections
    from studies.baselines.results import collect, read_results, write_results
    from studies.baselines.runs import PRETRAINED, RUNS, STARTS
    from studies.baselines.sets import scores_file, scores_in

    from tumorlens.study.explore.held_out_performance import read_experiments
    from tumorlens.study.training.run_folder import read_history, read_json

    runs, before = arguments.runs, arguments.out.read_text() if arguments.out.exists() else ""
    results = collect(runs, read_results(arguments.results))
    write_results(results, arguments.results)
    scores = {run.name: scores_in(runs / run.name) for run in RUNS
              if (runs / run.name / scores_file(runs / run.name)).exists()}  # fmt: skip
    curves = {name: read_json(file) for name in STARTS
              if (file := runs / name / "size_curve.json").exists()}  # fmt: skip
    trials = read_experiments(arguments.experiments) if arguments.experiments else ()
    speed = read_json(arguments.speed) if arguments.speed else None
    epochs = len(read_history(runs / PRETRAINED / "history.csv"))
    weights = runs / "xception-weights.json"
    made = {
        "Are Xception's weights those of ImageNet": sections.weights_section(
            read_json(weights) if weights.exists() else None
        ),
        "Scored against labels in another order": page.mismatch_note(scores, results),
        "What pretraining is worth": sections.starts_section(curves, epochs),
        '"Augmentation helps generalization"': sections.augmentation_section(trials),
        "Cached features": sections.cache_section(speed),
    }
    more = [text or sections.kept_section(before, heading) for heading, text in made.items()]
    text = page.write_page(results, sections=[*more, page.machines(results), COMMAND])
    arguments.out.write_text(text, encoding="utf-8")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--audit", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="a folder of NETWORK.weights.h5")
    parser.add_argument("--split", type=Path, help="the grouped split that ours was trained on")
    parser.add_argument("--bundle", type=Path, help="ours, trained on that split; default: shipped")
    parser.add_argument("--strangers", type=Path, help="the run of `make strangers`")
    parser.add_argument("--only", nargs="*", default=[], help="these rows, not all")
    parser.add_argument("--list", action="store_true", help="name the rows and which are done")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--results", type=Path, help="default: studies/baselines/results.json")
    parser.add_argument("--page-only", action="store_true", help="train nothing")
    parser.add_argument("--experiments", type=Path, help="experiments.json of `tumorlens explore`")
    parser.add_argument("--speed", type=Path, help="what benchmarks/cached_head.py wrote")
    from studies.executors import add_executor_options

    add_executor_options(parser)
    found = parser.parse_args()
    from studies.baselines.results import RESULTS_FILE

    found.results = found.results or RESULTS_FILE
    return found


if __name__ == "__main__":
    main()
