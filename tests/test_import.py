"""Facts about importing: it does nothing, and nothing heavy comes along."""

import json
import subprocess
import sys

import pytest

import tumorlens

HEAVY = [
    "cv2",
    "fsspec",
    "keras",
    "onnxruntime",
    "pyarrow",
    "ray",
    "sklearn",
    "streamlit",
    "tensorflow",
]
ENTRANCES = ["tumorlens", "tumorlens.cli", "tumorlens.__main__"]


@pytest.fixture(scope="module", params=ENTRANCES)
def loaded(request):
    """The modules that one import brings into a fresh process."""
    child = f"import {request.param}, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", HEAVY)
def test_importing_brings_nothing_heavy_along(loaded, name):
    assert "tumorlens" in loaded
    assert name not in loaded


def test_the_package_itself_brings_none_of_its_own_modules_along():
    child = "import tumorlens, sys; print([m for m in sys.modules if m.startswith('tumorlens.')])"
    done = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", tumorlens.__all__)
def test_every_public_name_resolves_to_what_bears_it(name):
    found = getattr(tumorlens, name)
    assert found.__name__ == name
    assert found.__doc__


def test_there_are_at_most_twelve_public_names():
    assert 0 < len(tumorlens.__all__) <= 12
    assert list(tumorlens.__all__) == sorted(set(tumorlens.__all__))


def test_dir_lists_the_public_names():
    assert set(tumorlens.__all__) <= set(dir(tumorlens))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="zebra"):
        _ = tumorlens.zebra
