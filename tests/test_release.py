"""What a release promises: one version, a license for everything in the wheel, each extra tried."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from tumorlens import __version__

ROOT = Path(__file__).parents[1]
LISTED = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", ROOT / "deploy/release.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_everything_in_the_wheel_has_a_license(release):
    files = [str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*")
             if path.is_file() and "__pycache__" not in path.parts]  # fmt: skip
    assert len(files) > 20
    assert release.without_license(files, LISTED) == []
    assert release.without_license(["tumorlens/new.js"], LISTED) == ["tumorlens/new.js"]


def test_no_row_of_the_licenses_is_about_nothing(release):
    for pattern in re.findall(r"^\| `([^`]+)` \|", LISTED, re.M):
        assert list((ROOT / "src").glob(pattern)), pattern


def test_every_package_that_is_installed_beside_it_is_listed_with_its_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed: dict[str, set[str]] = {}
    for extra, rows in {
        "(none)": project["dependencies"],
        **project["optional-dependencies"],
    }.items():
        for row in rows if extra != "dev" else ():
            needed.setdefault(re.split(r"[\[<>=~; ]", row)[0], set()).add(extra)
    rows = re.findall(r"^\| ([\w.-]+) \| (.+?) \| .+ \|$", LISTED, re.M)
    listed = {name: set(extras.split(", ")) for name, extras in rows if name != "package"}
    listed.pop("files", None)
    assert listed == needed


def test_the_sources_are_ready_and_each_extra_is_tried(release):
    assert release.read_version() == __version__
    assert release.source_problems(__version__, draft=True) == []
    assert len(release.source_problems("9.9.9", draft=True)) == 2


def test_the_manifests_name_this_version():
    for path in (ROOT / "deploy/kubernetes").glob("*.yaml"):
        for found in re.findall(r"tumorlens(?:-batch)?:(\d[\w.]*)", path.read_text()):
            assert found == __version__, path.name


def test_what_was_tried_with_these_files_is_not_tried_again(release, tmp_path: Path, monkeypatch):
    wheel, tried = tmp_path / "x.whl", []
    wheel.write_bytes(b"first")
    results = iter(("tumorlens doctor: broken", "ok", "ok"))
    monkeypatch.setattr(release, "TRIED", tmp_path / "tried.csv")
    monkeypatch.setattr(release, "find_python", lambda version: version)

    def try_extra(_wheel: Path, python: str, extra: str) -> str:
        tried.append((python, extra))
        return next(results)

    monkeypatch.setattr(release, "try_extra", try_extra)
    assert list(release.try_all(wheel, ["3.11"], ["base"])) == [
        "Python 3.11, base: tumorlens doctor: broken"
    ]
    assert list(release.try_all(wheel, ["3.11"], ["base"])) == []
    assert list(release.try_all(wheel, ["3.11"], ["base"])) == []
    wheel.write_bytes(b"second")
    assert list(release.try_all(wheel, ["3.11"], ["base"])) == []
    assert tried == [("3.11", "base")] * 3
