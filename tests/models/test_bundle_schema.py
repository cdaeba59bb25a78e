"""A bundle.json that cannot be true is refused by the name of its field, without a traceback."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tiny_bundle import write_graph

from tumorlens.errors import BundleError
from tumorlens.models.bundle import load_bundle, write_bundle
from tumorlens.models.engine import Engine
from tumorlens.predictions.predictor import Predictor, check_self_test, load_predictor

STORED = json.loads(
    (Path(__file__).parents[1] / "support/last_version/bundle.json").read_text(encoding="utf-8")
)
ODD = (None, "x", {"a": [10**400]})


@pytest.fixture
def folder(tiny_bundle, tmp_path) -> Path:
    """A copy that a test may spoil, with everything that a bundle.json may hold."""
    shutil.copytree(tiny_bundle.folder, tmp_path / "bundle")
    write(tmp_path / "bundle", STORED | {"sha256": tiny_bundle.graph_sha256})
    load_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def write(folder: Path, stored: object) -> None:
    (folder / "bundle.json").write_text(json.dumps(stored))


def changed(folder: Path, path: str, value: Any) -> None:
    stored = json.loads((folder / "bundle.json").read_text())
    *above, last = path.split(".")
    part = stored
    for name in above:
        part = part[int(name) if isinstance(part, list) else name]
    part[last] = value
    write(folder, stored)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("threshold", float("nan")), ("threshold", -0.1), ("threshold", 1.1), ("threshold", True),
        ("temperature", float("inf")), ("temperature", 0), ("temperature", -1),
        ("threshold_choice.threshold", 0.9), ("threshold_choice.n_tumor", 14),
        ("abstention.low", 0.9), ("abstention.high", float("-inf")), ("abstention.error", 2),
        ("scope.neighbors", 0), ("scope.neighbors", 7), ("scope.neighbors", 1.5),
        ("scope.limit", float("nan")), ("scope.kept", "all"), ("scope.references", [[0] * 12] * 6),
        ("scope.references", [[1e300] * 12] * 6), ("input.side", 10**6), ("input.side", 128.0),
        ("input.margin", 0.5), ("input.low", 99.9), ("input.ct_window", [40, 0]),
        ("atoms", []), ("atoms", ["ct_healthy", "zebra"]), ("atoms", ["ct_tumor", "mri_glioma"]),
        ("atoms", ["ct_healthy", "ct_tumor"] * 3), ("name", ""), ("name", "a\nb"),
        ("name", "x" * 188), ("name", 7), ("golden", {"ct_healthy": 1}), ("parameters", "many"),
        ("data.cases.train.ph/ct_tumor", "x"), ("environment.libraries.numpy", 2),
        ("eight_bit.val_auc_ct.full", "x"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_true_is_named(folder: Path, path: str, value: object):
    changed(folder, path, value)
    with pytest.raises(BundleError, match=r"bundle\.json") as caught:
        load_bundle(folder)
    field = path.split(".")[-1 if path.startswith("scope") else 0].replace("golden", "self_test")
    assert field in caught.value.fact or "is not a number" in caught.value.fact


@pytest.mark.parametrize(
    "text",
    ['{"schema": 1, "schema": 1}', "[" * 100_000, '{"schema": NaN}', '{"schema": ' + "9" * 5000],
    ids=["a key twice", "deep", "NaN", "a long number"],
)
def test_json_that_is_read_in_two_ways_is_refused(folder: Path, text: str):
    (folder / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match="is not JSON"):
        load_bundle(folder)


def test_whatever_stands_in_a_field_it_loads_or_is_refused(folder: Path):
    refused = 0
    for path in leaves(STORED):
        for value in ODD:
            write(folder, STORED | {"sha256": load_hash(folder)})
            changed(folder, path, value)
            try:
                load_bundle(folder)
            except BundleError:
                refused += 1
    assert refused > 80


def leaves(part: Any, path: str = "") -> Iterator[str]:
    for name, held in part.items():
        if name in ("recipe", "references", "cases", "libraries"):
            continue
        yield f"{path}{name}"
        if isinstance(held, dict):
            yield from leaves(held, f"{path}{name}.")


def load_hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()


def test_one_hash_stands_for_all_files(folder: Path):
    names = ["bundle.json", "card.md", "model.onnx"]
    lines = subprocess.run(["sha256sum", *names], cwd=folder, capture_output=True, check=True)
    assert load_bundle(folder).sha256 == hashlib.sha256(lines.stdout).hexdigest()


@pytest.mark.parametrize("name", ["bundle.json", "card.md"])
def test_another_version_stands_in_the_answers_where_any_file_is_another(folder: Path, name: str):
    before = load_bundle(folder)
    with (folder / name).open("a") as file:
        file.write("\n")
    after = load_bundle(folder)
    assert before.version != after.version
    assert before.graph_sha256 == after.graph_sha256


def test_weights_in_a_file_beside_the_graph_are_not_read(tiny_bundle, folder: Path, monkeypatch):
    import onnx

    model = onnx.load(tiny_bundle.graph)
    onnx.save_model(
        model, folder / "model.onnx", save_as_external_data=True, location="w.bin",
        size_threshold=0,
    )  # fmt: skip
    changed(folder, "sha256", load_hash(folder))
    monkeypatch.chdir(folder)
    with pytest.raises(BundleError, match="cannot be loaded"):
        Engine(load_bundle(folder))


def test_a_graph_of_other_shapes_than_the_bundle_says_is_refused(tiny_bundle):
    with pytest.raises(BundleError, match="5 atoms"):
        Engine(replace(tiny_bundle, atoms=tiny_bundle.atoms[:5]))
    with pytest.raises(BundleError, match="cannot be loaded"):
        Engine(replace(tiny_bundle, spec=replace(tiny_bundle.spec, side=48)))
    narrow = replace(tiny_bundle.ood_reference, references=np.eye(3, dtype=np.float32))
    with pytest.raises(BundleError, match="embeddings of 12 numbers"):
        Predictor(replace(tiny_bundle, ood_reference=narrow))


def test_a_graph_whose_weights_are_no_numbers_is_refused(tiny_bundle, tmp_path: Path):
    write_graph(tmp_path / "model.onnx", bias=np.full(6, np.nan, np.float32))
    with pytest.raises(BundleError, match="no number"):
        Engine(replace(tiny_bundle, folder=tmp_path, graph_sha256=""))


def test_a_graph_that_was_exchanged_after_loading_is_refused(tiny_bundle, folder: Path):
    bundle = load_bundle(folder)
    write_graph(folder / "model.onnx", bias=np.ones(6, np.float32))
    with pytest.raises(BundleError, match="altered"):
        Engine(bundle)


@pytest.fixture
def tested(tiny_bundle, tmp_path: Path) -> Path:
    """A bundle that keeps its answer to the self-test."""
    (tmp_path / "model.onnx").write_bytes(tiny_bundle.graph.read_bytes())
    bundle = replace(tiny_bundle, folder=tmp_path)
    write_bundle(replace(bundle, self_test=Predictor(bundle).answer_self_test()), "# card\n")
    return tmp_path


def test_the_self_test_holds_the_decision_and_the_distance(tested: Path):
    bundle = load_bundle(tested)
    assert bundle.self_test.decision in ("tumor", "no tumor", "uncertain", "out of scope")
    assert bundle.self_test.distance is not None
    assert "as when the bundle was made" in check_self_test(load_predictor(tested))


def test_a_setting_that_turns_the_answer_stops_prediction(tested: Path):
    changed(tested, "temperature", 4.0)
    with pytest.raises(BundleError, match="answers the self-test scan differently"):
        load_predictor(tested)


def test_a_setting_that_turns_the_decision_stops_prediction(tested: Path):
    known = load_bundle(tested).self_test
    p = sum(value for atom, value in known.atoms.items() if not atom.endswith("_healthy"))
    turned = p / 2 if known.decision == "no tumor" else (1 + p) / 2
    for path in ("threshold", "threshold_choice.threshold", "abstention.low", "abstention.high"):
        changed(tested, path, turned)
    changed(tested, "scope.limit", 2)
    with pytest.raises(BundleError, match="calls the self-test scan"):
        load_predictor(tested)


def test_thresholds_that_compare_with_nothing_are_found_without_a_stored_answer(tiny_bundle):
    band = replace(tiny_bundle.uncertainty_band, low=0.0, high=2.0)
    nan = replace(tiny_bundle.operating_point, threshold=float("nan"))
    for wrong in ({"uncertainty_band": band}, {"operating_point": nan}):
        with pytest.raises(BundleError, match="calls a tumor probability"):
            check_self_test(Predictor(replace(tiny_bundle, **wrong)))
