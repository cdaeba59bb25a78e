"""The commands about a bundle."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tumorlens.cli import app
from tumorlens.errors import BundleError
from tumorlens.models.bundle import SHIPPED, load_bundle

LIST = Path(__file__).parents[2] / "docs/reference/shipped-bundles.sha256"
runner = CliRunner()


def test_a_bundle_is_verified_by_the_line_that_was_shown_of_it(tiny_bundle, tmp_path: Path):
    folder = str(tiny_bundle.folder)
    shown = runner.invoke(app, ["bundle", "show", folder])
    assert shown.stdout == f"{tiny_bundle.sha256}  tiny\n"
    kept = tmp_path / "list"
    kept.write_text(shown.stdout)
    assert runner.invoke(app, ["bundle", "verify", folder, "--list", str(kept)]).exit_code == 0
    for line in (f"{'f' * 64}  tiny\n", f"{tiny_bundle.sha256}  other\n"):
        kept.write_text(line)
        assert runner.invoke(app, ["bundle", "verify", folder, "--list", str(kept)]).exit_code == 1
    kept.write_text("nothing")
    done = runner.invoke(app, ["bundle", "verify", folder, "--list", str(kept)])
    assert isinstance(done.exception, BundleError)


def test_a_bundle_is_verified_by_its_hash(tiny_bundle):
    command = ["bundle", "verify", str(tiny_bundle.folder), "--expect"]
    assert runner.invoke(app, [*command, tiny_bundle.sha256]).exit_code == 0
    assert runner.invoke(app, [*command, "f" * 64]).exit_code == 1


@pytest.mark.parametrize("folder", sorted(SHIPPED.iterdir()), ids=lambda folder: folder.name)
def test_the_docs_list_the_shipped_bundles(folder: Path):
    bundle = load_bundle(folder)
    line = f"{bundle.sha256}  {bundle.name}"
    assert line in LIST.read_text().splitlines(), (
        "run `tumorlens bundle show` and put its line there"
    )


def test_the_command_that_publish_prints_fetches_the_same_bundle(
    tiny_bundle, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shown = runner.invoke(app, ["bundle", "publish", str(tiny_bundle.folder), "published"])
    assert shown.exit_code == 0
    program, *words = shown.stdout.splitlines()[-1].split()
    assert program == "tumorlens"
    assert runner.invoke(app, words).stdout == "tiny\n"
    assert load_bundle("tiny").sha256 == tiny_bundle.sha256
    changed = [*words[:-3], "f" * 64, *words[-2:]]
    assert isinstance(runner.invoke(app, changed).exception, BundleError)


def test_a_list_that_does_not_name_the_bundle_stops_the_fetch(tiny_bundle, tmp_path: Path):
    source, kept, out = (str(tmp_path / name) for name in ("published", "list", "out"))
    runner.invoke(app, ["bundle", "publish", str(tiny_bundle.folder), source])
    Path(kept).write_text(f"{'f' * 64}  tiny\n")
    done = runner.invoke(app, ["bundle", "fetch", source, "--list", kept, "--out", out])
    assert isinstance(done.exception, BundleError)
    assert not (tmp_path / "out" / "bundle.json").exists()


def test_a_signature_without_signers_is_refused(tiny_bundle, tmp_path: Path):
    command = ["bundle", "verify", str(tiny_bundle.folder), "--signature", str(tmp_path / "sig")]
    assert runner.invoke(app, command).exit_code == 2
