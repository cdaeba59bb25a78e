"""Facts about the one artifact that crosses from the bench to the services."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tumorlens.errors import BundleError
from tumorlens.labels import ATOMS
from tumorlens.models.bundle import SHIPPED_DEFAULT, OodReference, load_bundle, write_bundle
from tumorlens.models.performance import Provenance


@pytest.fixture
def folder(tiny_bundle, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_bundle.folder, tmp_path / "bundle"))


def change(folder: Path, **fields: Any) -> None:
    path = folder / "bundle.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, **fields}))


def drop(folder: Path, *keys: str) -> None:
    path = folder / "bundle.json"
    stored = json.loads(path.read_text())
    part = stored
    for key in keys[:-1]:
        part = part[key]
    del part[keys[-1]]
    path.write_text(json.dumps(stored))


def test_a_bundle_comes_back_as_it_was_written(tiny_bundle):
    again = load_bundle(str(tiny_bundle.folder))
    assert again.atoms == ATOMS
    assert again.spec == tiny_bundle.spec
    assert again.uncertainty_band == tiny_bundle.uncertainty_band
    assert (again.name, again.temperature, again.threshold) == ("tiny", 1.3, 0.5)
    assert again.operating_point == tiny_bundle.operating_point
    assert again.operating_point.aim == "fixed"
    assert again.provenance == Provenance(recipe={"name": "tiny"})
    assert (again.ood_reference.neighbors, again.ood_reference.limit, again.ood_reference.kept) == (
        2,
        0.2,
        0.99,
    )


def test_the_version_is_the_name_and_the_first_digits_of_the_hash(tiny_bundle):
    assert tiny_bundle.version == f"tiny@{tiny_bundle.sha256[:12]}"
    assert len(tiny_bundle.sha256) == 64


def test_references_have_length_one(tiny_bundle):
    lengths = np.linalg.norm(tiny_bundle.ood_reference.references, axis=1)
    assert tiny_bundle.ood_reference.references.dtype == np.float32
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_references_lose_little_to_storage(tiny_bundle, folder):
    rng = np.random.default_rng(0)
    true = rng.normal(size=(20, 64))
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    reference = replace(tiny_bundle.ood_reference, references=true.astype(np.float32))
    write_bundle(replace(tiny_bundle, folder=folder, ood_reference=reference), "# card\n")
    read = load_bundle(folder).ood_reference.references
    assert (read * true).sum(axis=1).min() > 0.9999


def test_writing_leaves_three_files_and_a_row_of_references_per_line(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "bundle.json", "card.md", "model.onnx"]  # fmt: skip
    lines = (folder / "bundle.json").read_text().splitlines()
    rows = [line.strip().rstrip(",") for line in lines if line.strip().startswith("[")]
    assert len(rows) == 12
    assert all(len(json.loads(row)) == 12 for row in rows)


def test_the_hash_is_taken_from_the_graph_that_lies_there(tiny_bundle, folder):
    (folder / "model.onnx").write_bytes(b"another graph")
    write_bundle(replace(tiny_bundle, folder=folder), "# card\n")
    assert load_bundle(folder).sha256 != tiny_bundle.sha256


def test_an_interrupted_write_leaves_the_bundle_that_stood_there(tiny_bundle, folder, monkeypatch):
    def stop(self, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            write_bundle(replace(tiny_bundle, folder=folder, name="other"), "# card\n")
    assert load_bundle(folder).name == "tiny"


def test_a_run_folder_is_accepted_where_its_bundle_is_meant(folder):
    assert load_bundle(folder.parent).folder == folder


def test_one_flipped_bit_of_the_graph_is_refused(folder):
    graph = folder / "model.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"model\.onnx.*altered"):
        load_bundle(folder)


def test_a_graph_that_was_cut_short_is_refused(folder):
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(BundleError, match="cut short"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "bundle.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name) as caught:
        load_bundle(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "bundle/bundle.json"])
def test_what_is_no_folder_is_refused(folder, name):
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load_bundle(folder.parent / name)


@pytest.mark.parametrize("text", ["", "{", "not json", "\xff\xfe", "NaN,"])
def test_settings_that_are_not_json_are_refused(folder, text):
    (folder / "bundle.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match="JSON"):
        load_bundle(folder)


@pytest.mark.parametrize("text", ["[]", "7", "null", '"text"', "{}", '{"schema": 2}'])
def test_another_schema_is_refused(folder, text):
    (folder / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match="schema"):
        load_bundle(folder)


@pytest.mark.parametrize(
    "keys",
    [("name",), ("sha256",), ("atoms",), ("input",), ("temperature",), ("threshold",),
     ("threshold_choice",), ("abstention",), ("scope",), ("abstention", "low"),
     ("abstention", "error"), ("scope", "references"), ("scope", "neighbors"), ("scope", "limit"),
     ("scope", "kept")],
    ids=".".join,
)  # fmt: skip
def test_a_missing_field_is_named(folder, keys):
    drop(folder, *keys)
    with pytest.raises(BundleError, match=keys[-1]) as caught:
        load_bundle(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": "hot"},
        {"temperature": None},
        {"threshold": [0.5]},
        {"atoms": 6},
        {"abstention": [0.4, 0.6]},
        {"scope": []},
        {"scope": {"references": "many", "neighbors": 1, "limit": 1, "kept": 1}},
        {"scope": {"references": [[1, 0], [1]], "neighbors": 1, "limit": 1, "kept": 1}},
        {"scope": {"references": [1, 0], "neighbors": 1, "limit": 1, "kept": 1}},
        {"input": None},
        {"input": {"side": 64, "version": 99}},
        {"input": {"side": 64, "denoise": True}},
    ],
    ids=str,
)
def test_a_field_of_another_kind_is_refused(folder, fields):
    change(folder, **fields)
    with pytest.raises(BundleError):
        load_bundle(folder)


def test_fields_this_version_does_not_know_are_kept(folder):
    change(folder, metrics={"auc": 0.9})
    again = load_bundle(folder)
    assert again.provenance.unknown["metrics"] == {"auc": 0.9}
    write_bundle(again, "# card\n")
    assert json.loads((folder / "bundle.json").read_text())["metrics"] == {"auc": 0.9}


def test_a_bundle_is_frozen(tiny_bundle):
    with pytest.raises(AttributeError):
        tiny_bundle.threshold = 0.1
    assert isinstance(tiny_bundle.ood_reference, OodReference)


def test_a_shipped_bundle_is_loaded_by_its_name():
    assert load_bundle(SHIPPED_DEFAULT).folder == load_bundle().folder


def test_a_folder_of_the_name_of_a_shipped_bundle_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED_DEFAULT).mkdir()
    with pytest.raises(BundleError, match=r"holds no bundle\.json"):
        load_bundle(SHIPPED_DEFAULT)
