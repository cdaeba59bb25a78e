"""What one evaluation can answer of the items of reporting guidelines, from its own record."""

from collections.abc import Callable, Mapping
from typing import Any

from tumorlens.models.bundle import Bundle
from tumorlens.reports.evaluation.checklists import NOT_ESTABLISHED
from tumorlens.reports.limits import KNOWN_LIMITS, NOT_FOR
from tumorlens.reports.page import figure, share

Figures = Mapping[str, Any]


def checklist_answers(figures: Figures, bundle: Bundle) -> dict[str, str]:
    """Give the answers by name; one whose facts were not recorded says "not established"."""
    found = {}
    for name, answer in ANSWERS.items():
        try:
            found[name] = answer(figures, bundle)
        except (KeyError, TypeError):  # a bundle or figures that did not record it
            found[name] = NOT_ESTABLISHED
    return found


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in found.items())


def _training_sets(bundle: Bundle) -> set[str]:
    return {name.split("/")[0] for name in bundle.details["data"]["cases"]["train"]}


def _technology(_f: Figures, b: Bundle) -> str:
    return f"deep learning: a convolutional network, {b.details['recipe']['network']}"


def _sources(f: Figures, _b: Bundle) -> str:
    return f"{_counts(f['datasets'])}; representativeness {NOT_ESTABLISHED}"


def _preprocessing(_f: Figures, b: Bundle) -> str:
    return (
        f"head found and cropped, all else blanked, {b.spec.side} x {b.spec.side} pixels, clipped "
        f"at percentiles {b.spec.low:g} and {b.spec.high:g}; one function in training and use"
    )


def _subset(f: Figures, _b: Bundle) -> str:
    return f"part {f['part']} of split {f['split']['fingerprint'] or 'none'}, n={f['n']}"


def _missing(f: Figures, _b: Bundle) -> str:
    return f"{f['unreadable']} of {f['n']} scans could not be read and are left out; none imputed"


def _conflicts(f: Figures, _b: Bundle) -> str:
    wrong = sum(f["failures"][kind]["with_conflict"] for kind in f["failures"])
    return (
        f"{NOT_ESTABLISHED} between raters; {wrong} of the errors are pictures with another label "
        "elsewhere"
    )


def _partition(f: Figures, _b: Bundle) -> str:
    if not f["split"]["fingerprint"]:
        return f"{NOT_ESTABLISHED}: no split was given"
    return (
        f"by whole groups, split {f['split']['fingerprint']}; {share(f['split']['share'] or 0)} of "
        f"{f['split']['n']} test scans have a relative in training or validation"
    )


def _disjoint(f: Figures, _b: Bundle) -> str:
    if not f["split"]["fingerprint"]:
        return f"{NOT_ESTABLISHED}: no split was given"
    return "patient where recorded, picture with its copies, neighboring slices that were found"


def _sample_size(f: Figures, _b: Bundle) -> str:
    row = f["detection"]["all"]
    return f"{NOT_ESTABLISHED} in advance; n={row['n']} scans of {row['n_groups']} groups"


def _model(_f: Figures, b: Bundle) -> str:
    return (
        f"{b.details['recipe']['network']}, {b.details['parameters']:,} parameters; graph "
        f"{b.sha256[:12]} is in the bundle"
    )


def _software(_f: Figures, b: Bundle) -> str:
    return _counts(b.details["environment"]["libraries"])


def _initialization(_f: Figures, b: Bundle) -> str:
    weights = b.details["recipe"]["weights"]
    return f"random, seed {b.details['recipe']['seed']}" if weights == "none" else str(weights)


def _training(_f: Figures, b: Bundle) -> str:
    r = b.details["recipe"]
    return (
        f"recipe {r['name']}: {r['epochs']} epochs at most, batches of {r['batch']}, learning rate "
        f"{r['learning_rate']:g}, weight decay {r['weight_decay']:g}, seed {r['seed']}"
    )


def _selection(_f: Figures, b: Bundle) -> str:
    v = b.details["validation"]
    return f"epoch {v['epoch']}, chosen on {v['n']} validation pictures"


def _measures(f: Figures, _b: Bundle) -> str:
    listed = "AUC, sensitivity, specificity, accuracy, F1, PPV and NPV, calibration, net benefit"
    return f"{listed}, risk against coverage{', localization' if f['localisation'] else ''}"


def _uncertainty(f: Figures, _b: Bundle) -> str:
    return f"{f['intervals']}; DeLong and Wilson beside it"


def _robustness(f: Figures, _b: Bundle) -> str:
    return (
        f"noise, blur, contrast, rotation, JPEG, resolution, inversion on {f['robustness']['n']} "
        "scans"
    )


def _explanation(f: Figures, _b: Bundle) -> str:
    found = "class activation maps"
    if f["localisation"]:
        found += f"; pointing {figure(f['localisation'], 'pointing')}"
    deletion = (f.get("explanation") or {}).get("deletion")
    if deletion:
        found += f"; area under deletion {figure(deletion, 'area_heatmap')}"
    return found


def _internal(f: Figures, b: Bundle) -> str:
    own = set(f["datasets"]) & _training_sets(b)
    return _of_sets(f, own)


def _external(f: Figures, b: Bundle) -> str:
    return _of_sets(f, set(f["datasets"]) - _training_sets(b))


def _of_sets(f: Figures, names: set[str]) -> str:
    found = f["subgroups"]["data set"]
    rows = [f"{name}: AUC {figure(found[name]['detection'], 'auc')}" for name in sorted(names)]
    return "; ".join(rows) or f"{NOT_ESTABLISHED} in this run"


def _flow(f: Figures, _b: Bundle) -> str:
    return f"{f['n']} scans, {f['unreadable']} excluded because they could not be read"


def _characteristics(f: Figures, _b: Bundle) -> str:
    return f"labels {_counts(f['labels'])}; age, sex and disease stage {NOT_ESTABLISHED}"


def _performance(f: Figures, _b: Bundle) -> str:
    return "; ".join(f"{name}: AUC {figure(row, 'auc')}" for name, row in f["detection"].items())


def _rates(f: Figures, _b: Bundle) -> str:
    row = f["detection"]["all"]
    return (
        f"at {row['threshold']:.4f}: sensitivity {figure(row, 'sensitivity', 'n_tumor')}, "
        f"specificity {figure(row, 'specificity', 'n_healthy')}"
    )


def _failures(f: Figures, _b: Bundle) -> str:
    missed, alarms = (f["failures"][k]["total"] for k in ("false_negatives", "false_positives"))
    return f"{missed} missed tumors and {alarms} false alarms; the worst are shown with heatmaps"


def _protocol(_f: Figures, b: Bundle) -> str:
    return (
        f"recipe {b.details['recipe']['name']}, split and bundle are stored; every look at a test "
        "part is counted"
    )


def _clusters(f: Figures, _b: Bundle) -> str:
    kinds = [kind for kind, names in f["subgroups"].items() if len(names) > 1]
    return f"subgroups by {', '.join(kinds)}; intervals by groups"


def _imbalance(f: Figures, b: Bundle) -> str:
    row = f["detection"]["all"]
    return (
        f"{row['n_tumor']} of {row['n']} with a tumor; sampled towards even strata in training "
        f"(balance {b.details['recipe']['balance']:g}), nothing resampled here"
    )


def _fairness(f: Figures, b: Bundle) -> str:
    return f"{NOT_ESTABLISHED}: age, sex, origin are not recorded; {_clusters(f, b)}"


def _output(f: Figures, b: Bundle) -> str:
    c = f["threshold_choice"]
    return (
        f"tumor probability, type given a tumor; threshold {b.threshold:.4f} chosen on {c['part']} "
        f"(n={c['n']}: {c['aim']}), uncertain between {b.abstention.low:.3f} and "
        f"{b.abstention.high:.3f}"
    )


def _differences(f: Figures, b: Bundle) -> str:
    other = set(f["datasets"]) - _training_sets(b)
    if other:
        return f"sets not trained on: {', '.join(sorted(other))}; scanners {NOT_ESTABLISHED}"
    parted = f["split"]["fingerprint"]
    groups = "other groups" if parted else f"whether other groups {NOT_ESTABLISHED}"
    return f"same sets as in training, {groups}; scanners {NOT_ESTABLISHED}"


def _events(f: Figures, _b: Bundle) -> str:
    rows = f["detection"].items()
    return "; ".join(f"{name}: {row['n_tumor']} tumors of {row['n']} scans" for name, row in rows)


def _poor_input(f: Figures, b: Bundle) -> str:
    outside = f["decisions"].get("out of scope", 0)
    return (
        f"unreadable files get an error, scans unlike training none ({outside} of {f['n']} here; "
        f"limit keeps {b.scope.kept:.1%} of validation)"
    )


def _constant(text: str) -> Callable[[Figures, Bundle], str]:
    return lambda _f, _b: text


ANSWERS: Mapping[str, Callable[[Figures, Bundle], str]] = {
    "technology": _technology,
    "purpose": _constant(
        "tells whether a CT or MRI slice of a head shows a tumor and, on MRI, of which type; "
        "research use only"
    ),
    "aim": lambda f, _b: f["threshold_choice"]["aim"],
    "design": _constant("retrospective, on collections that existed before"),
    "goal": _constant("evaluation of a trained bundle"),
    "sources": _sources,
    "eligibility": _constant(
        f"every file of the named folders; how patients came into them {NOT_ESTABLISHED}"
    ),
    "preprocessing": _preprocessing,
    "subset": _subset,
    "deidentification": _constant(
        f"all outside the head is blanked before the network; of the files {NOT_ESTABLISHED}"
    ),
    "missing": _missing,
    "acquisition": _constant(f"{NOT_ESTABLISHED}: scanners and sequences are not recorded"),
    "reference": _constant(f"the labels of the collections; how they were made {NOT_ESTABLISHED}"),
    "conflicts": _conflicts,
    "partition": _partition,
    "disjoint": _disjoint,
    "sample_size": _sample_size,
    "model": _model,
    "software": _software,
    "initialization": _initialization,
    "training": _training,
    "selection": _selection,
    "ensemble": _constant("none"),
    "measures": _measures,
    "uncertainty": _uncertainty,
    "robustness": _robustness,
    "explanation": _explanation,
    "internal": _internal,
    "external": _external,
    "flow": _flow,
    "characteristics": _characteristics,
    "performance": _performance,
    "rates": _rates,
    "failures": _failures,
    "limitations": _constant(" ".join(KNOWN_LIMITS)),
    "implications": _constant(f"research use only; not to be used to: {NOT_FOR}"),
    "protocol": _protocol,
    "availability": _constant("code under Apache-2.0; bundle and data by their own terms"),
    "predictors": _constant("the pixels of one slice, nothing else"),
    "no_subjective": _constant("none is assessed by a person"),
    "clusters": _clusters,
    "updating": _constant("none"),
    "prediction": _constant("by the ONNX graph of the bundle, divided by its temperature"),
    "imbalance": _imbalance,
    "fairness": _fairness,
    "output": _output,
    "differences": _differences,
    "data_sharing": _constant("public collections, by their own terms; nothing is redistributed"),
    "events": _events,
    "poor_input": _poor_input,
}
