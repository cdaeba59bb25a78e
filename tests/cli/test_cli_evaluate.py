"""`tumorlens evaluate`: what it prints of another bundle, of controls and of how often."""

import json
import sys
from pathlib import Path

import pytest

from tumorlens import cli
from tumorlens.study.phantom import write_phantoms


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("set") / "set", per_class=3, seed=6, side=80)


pytestmark = pytest.mark.usefixtures("without_plots")


@pytest.fixture
def evaluate(scans, tiny_bundle, tmp_path, monkeypatch, capsys):
    def run(*words: str) -> tuple[str, dict]:
        out = tmp_path / "results"
        given = ["tumorlens", "evaluate", str(scans), "--bundle", str(tiny_bundle.folder),
                 "--out", str(out), "--no-robustness", "--no-explanations", *words]  # fmt: skip
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr().err
        assert not ended.value.code, said
        return said, json.loads((out / "evaluation.json").read_text())

    return run


def test_another_bundle_and_each_evaluation_of_the_scans_are_printed(evaluate, tiny_bundle):
    words = ("--against", str(tiny_bundle.folder), "--no-controls")
    evaluate(*words)
    said, found = evaluate(*words)
    assert f"AUC minus that of {tiny_bundle.version}: 0.000" in said
    assert "evaluation 2 of these scans" in said
    assert found["looks"]["same_scans"] == 2
    assert found["against"]["bundle"] == tiny_bundle.version
    assert found["controls"] is None


def test_controls_are_measured_unless_they_are_left_out(evaluate):
    said, found = evaluate()
    assert "control mri: labels shuffled" in said
    assert found["controls"]
