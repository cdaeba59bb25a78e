"""Ask what a network does outside its data: a source left out, a tumor reflected away, no head.

    python benchmarks/external_validation.py SETS --audit AUDIT --runs RUNS [--seeds N]
        [--split FILE] [--outside FOLDER ...] [--bundle NAME] [--out PAGE]

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
    from studies.baselines.bench import Bench
    from studies.external_validation.left_out import left_out_figures
    from studies.external_validation.page import write_page

    from tumorlens.models.bundle import load_bundle
    from tumorlens.settings import load_settings

    bench = Bench(data=arguments.data, runs=arguments.runs, audit=arguments.audit,
                  cache=load_settings().cache_folder, split=arguments.split)  # fmt: skip
    train_all(arguments.seeds, bench)
    bundle = load_bundle(arguments.bundle)
    text = write_page(
        bundle,
        left_out=left_out_figures(arguments.runs),
        reflected=ask_reflected(bundle, bench) if arguments.split else None,
        scope=ask_scope(bundle, bench, arguments.outside) if arguments.split else {},
    )
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text)


def train_all(seeds: int, bench: Any) -> None:
    """Train what is not trained yet, one trial after the other."""
    from studies.external_validation.left_out import all_trials, run_trial

    from tumorlens.cli.progress import TrainingBars
    from tumorlens.study.training.backend import load_backend

    if seeds:
        load_backend()
    for trial in all_trials(seeds):
        print(f"== {trial.name}", flush=True)
        with TrainingBars(trial.recipe.epochs) as bars:
            run_trial(trial, bench, callback=bars)


def read_test_part(bench: Any, names: tuple[str, ...]) -> list[Any]:
    """List the scans of some data sets in the test part of the split of all."""
    from studies.baselines.bench import read_sets

    return [case for case in read_sets(bench, names) if bench.joint.parts[case.key] == "test"]


def ask_reflected(bundle: Any, bench: Any) -> Any:
    """Ask for figshare's test patients with one half of the head reflected."""
    from studies.external_validation.reflected import reflect_cases, reflected_figures

    from tumorlens.predictions.predictor import Predictor

    predictor = Predictor(bundle)
    made = reflect_cases(read_test_part(bench, ("figshare",)), predictor, cache=bench.cache)
    return reflected_figures(made, predictor)


def ask_scope(bundle: Any, bench: Any, folders: list[Path]) -> dict[str, Any]:
    """Ask for pictures that are no heads, beside all test scans."""
    from studies.external_validation.left_out import SETS
    from studies.external_validation.scope import distances, scope_figures

    from tumorlens.images.readers import find_scans

    if not folders:
        return {}
    pictures = bench.joint.image_ids
    once = {pictures[case.key]: case.path for case in read_test_part(bench, SETS)}
    inside = distances(list(once.values()), bundle, cache=bench.cache)
    found = {}
    for folder in folders:
        outside = distances(find_scans([folder]), bundle, cache=bench.cache)
        found[folder.name] = scope_figures(outside, inside, limit=bundle.ood_reference.limit)
    return found


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--audit", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="0: train nothing")
    parser.add_argument("--split", type=Path, help="that the bundle was trained on")
    parser.add_argument("--outside", type=Path, nargs="*", default=[], help="folders of no heads")
    parser.add_argument("--bundle", default="", help="instead of the shipped one")
    parser.add_argument("--out", type=Path, help="the page to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
