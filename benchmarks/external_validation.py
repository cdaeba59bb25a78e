"""Ask what a network does outside its data: a source left out, a tumor reflected away, no head.

    python benchmarks/external_validation.py SETS --audit AUDIT --runs RUNS [--seeds N]
        [--split FILE] [--outside FOLDER ...] [--bundle NAME] [--out PAGE] [--on local|ray]

SETS holds a folder for each data set, AUDIT is what `tumorlens audit` of all of them wrote, FILE is
the split of the bundle. Trainings are kept in RUNS and not run again.
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    arguments = read_arguments()
    from studies.baselines.sets import Sets
    from studies.external_validation.holdout import holdout_figures
    from studies.external_validation.page import write_page

    from tumorlens.models.bundle import load_bundle
    from tumorlens.settings import load_settings

    sets = Sets(data=arguments.data, runs=arguments.runs, audit=arguments.audit,
                cache=load_settings().cache_folder, split=arguments.split)  # fmt: skip
    train_all(arguments, sets)
    bundle = load_bundle(arguments.bundle)
    text = write_page(
        bundle,
        holdout=holdout_figures(arguments.runs),
        reflected=ask_reflected(bundle, sets) if arguments.split else None,
        scope=ask_scope(bundle, sets, arguments.outside) if arguments.split else {},
    )
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text)


def train_all(arguments: argparse.Namespace, sets: Any) -> None:
    """Train what is not trained yet."""
    from studies.executors import open_executor
    from studies.external_validation.holdout import plan_jobs

    from tumorlens.study.experiments.runner import run_jobs

    jobs = plan_jobs(arguments.seeds, sets, epochs=arguments.epochs, steps=arguments.steps)
    named = {job.folder.name for job in jobs}
    if unknown := sorted(set(arguments.only) - named):
        raise SystemExit(f"{', '.join(unknown)}: no such run, only {', '.join(sorted(named))}.")
    jobs = [job for job in jobs if not arguments.only or job.folder.name in arguments.only]
    if not jobs:
        return
    with open_executor(arguments, epochs_of=lambda job: job.settings["run"].recipe().epochs) as e:
        for _ in run_jobs(jobs, e, on_start=lambda job: print(f"== {job.folder.name}", flush=True)):
            pass


def read_test_part(sets: Any, names: tuple[str, ...]) -> list[Any]:
    """List the scans of some data sets in the test part of the split of all."""
    cases, _ = sets.read(names)
    return [case for case in cases if sets.joint.parts[case.key] == "test"]


def ask_reflected(bundle: Any, sets: Any) -> Any:
    """Ask for figshare's test patients with one half of the head reflected."""
    from studies.external_validation.reflected import reflect_cases, reflected_figures

    from tumorlens.predictions.predictor import Predictor

    predictor = Predictor(bundle)
    made = reflect_cases(read_test_part(sets, ("figshare",)), predictor, cache=sets.cache)
    return reflected_figures(made, predictor)


def ask_scope(bundle: Any, sets: Any, folders: list[Path]) -> dict[str, Any]:
    """Ask for images that are no heads, beside all test scans."""
    from studies.external_validation.holdout import SETS
    from studies.external_validation.scope import distances, scope_figures

    from tumorlens.images.readers import find_scans

    if not folders:
        return {}
    image_ids = sets.joint.image_ids
    once = {image_ids[case.key]: case.path for case in read_test_part(sets, SETS)}
    inside = distances(list(once.values()), bundle, cache=sets.cache)
    found = {}
    for folder in folders:
        outside = distances(find_scans([folder]), bundle, cache=sets.cache)
        found[folder.name] = scope_figures(outside, inside, limit=bundle.ood_reference.limit)
    return found


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--audit", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="0: train nothing")
    parser.add_argument("--only", nargs="*", default=[], help="these runs, not all")
    parser.add_argument("--epochs", type=int, help="of each network; fewer for a trial run")
    parser.add_argument("--steps", type=int, help="of each epoch; fewer for a trial run")
    parser.add_argument("--split", type=Path, help="that the bundle was trained on")
    parser.add_argument("--outside", type=Path, nargs="*", default=[], help="folders of no heads")
    parser.add_argument("--bundle", default="", help="instead of the shipped one")
    parser.add_argument("--out", type=Path, help="the page to write")
    from studies.executors import add_executor_options

    add_executor_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
