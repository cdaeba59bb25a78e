"""Publishing a bundle and fetching it again, whole and as named; and whose list names it."""

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.loopback_hub import COMMIT, loopback_hub

from tumorlens.errors import BundleError
from tumorlens.models import distribution
from tumorlens.models.bundle import Bundle, load_bundle
from tumorlens.models.distribution import find_signer

SOURCE = "hf://owner/name"


@pytest.fixture
def use_hub(monkeypatch):
    """Send the client to an address; it reads that when it is loaded."""
    api = pytest.importorskip("huggingface_hub").HfApi

    def use(address: str) -> None:
        monkeypatch.setattr(
            "huggingface_hub.HfApi", lambda **options: api(endpoint=address, token=False, **options)
        )

    return use


@pytest.mark.parametrize("form", [str, Path.as_uri])
def test_what_is_published_into_a_folder_is_fetched_with_the_same_hash(
    tiny_bundle: Bundle, tmp_path: Path, form
):
    place = form(tmp_path / "pub lished")
    assert distribution.publish(tiny_bundle, place, license="cc-by-4.0") == ""
    found = distribution.fetch(place, tmp_path / "out", sha256=tiny_bundle.sha256.upper())
    assert found.bundle.sha256 == tiny_bundle.sha256
    assert found.is_pinned


def test_the_card_of_a_repository_keeps_the_metadata_and_names_hash_and_license():
    bundle = load_bundle("tumorlens-base")
    files = distribution.repository_files(bundle, SOURCE)
    readme = files["README.md"].decode()
    assert readme.startswith("---\nlicense: apache-2.0\nlibrary_name: tumorlens\n")
    assert readme.count("library_name") == 1
    assert "pipeline_tag: image-classification\n" in readme
    assert f"fetch {SOURCE} --sha256 {bundle.sha256}" in readme
    assert files["card.md"] == (bundle.folder / "card.md").read_bytes()


def test_another_hash_or_a_damaged_file_writes_no_bundle(tiny_bundle: Bundle, tmp_path: Path):
    source, out = tmp_path / "published", tmp_path / "out"
    distribution.publish(tiny_bundle, str(source))
    with pytest.raises(BundleError, match="another than was asked for"):
        distribution.fetch(str(source), out, sha256="f" * 64)
    (source / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="does not match"):
        distribution.fetch(str(source), out)
    assert not out.exists()


def test_from_the_hub_one_commit_is_fetched_and_it_pins(
    tiny_bundle: Bundle, tmp_path: Path, use_hub
):
    files = distribution.repository_files(tiny_bundle, SOURCE)
    with loopback_hub(files) as address:
        use_hub(address)
        found = distribution.fetch(SOURCE, tmp_path / "out", revision="main")
        assert (found.commit, found.is_pinned) == (COMMIT, False)
        assert distribution.fetch(SOURCE, tmp_path / "out", revision=COMMIT).is_pinned
        with pytest.raises(BundleError, match="instead of"):
            distribution.fetch(SOURCE, tmp_path / "out", revision="a" * 40)
    assert found.bundle.sha256 == tiny_bundle.sha256
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*distribution.BUNDLE_FILES}


def test_a_hub_that_does_not_answer_or_has_no_such_name_is_an_error_with_a_fix(
    tmp_path: Path, use_hub
):
    with loopback_hub({}) as address:
        use_hub(address)
        with pytest.raises(BundleError, match="HF_TOKEN"):
            distribution.fetch("hf://owner/other", tmp_path / "out")
    with pytest.raises(BundleError, match="HF_TOKEN"):
        distribution.fetch(SOURCE, tmp_path / "out")  # nobody listens there any more


def test_a_repository_is_private_at_first_and_its_commit_is_told(tiny_bundle: Bundle, monkeypatch):
    pytest.importorskip("huggingface_hub")
    calls = {}

    class Api:
        def __init__(self, **_options: str) -> None: ...

        def create_repo(self, repository: str, **options: bool) -> None:
            calls["create"] = repository, options

        def upload_folder(self, *, folder_path: str, **_options: str) -> SimpleNamespace:
            calls["files"] = {path.name for path in Path(folder_path).iterdir()}
            return SimpleNamespace(oid=COMMIT)

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    assert distribution.publish(tiny_bundle, SOURCE) == COMMIT
    assert calls["create"] == ("owner/name", {"private": True, "exist_ok": True})
    assert calls["files"] == {"README.md", ".gitattributes", *distribution.BUNDLE_FILES}


@pytest.mark.parametrize("place", ["hf://name", "s3://bucket/x", "hf://a/b/c"])
def test_what_is_no_place_is_said(place: str, tmp_path: Path):
    with pytest.raises(BundleError, match=r"Name a folder|OWNER/NAME"):
        distribution.fetch(place, tmp_path / "out")


def test_a_folder_has_no_revisions(tmp_path: Path):
    with pytest.raises(BundleError, match="--sha256"):
        distribution.fetch(str(tmp_path), tmp_path / "out", revision="main")


def ssh_keygen(*words: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs OpenSSH")
def test_a_list_counts_with_the_signature_of_an_allowed_signer_alone(tmp_path: Path):
    for name in ("jane", "other"):
        ssh_keygen("-t", "ed25519", "-N", "", "-f", tmp_path / name)
    file, signature, signers = (tmp_path / name for name in ("list", "list.sig", "signers"))
    file.write_text(f"{'a' * 64}  first\n")
    signers.write_text(f"jane@example.org {(tmp_path / 'jane.pub').read_text()}")
    ssh_keygen("-Y", "sign", "-n", "tumorlens", "-f", tmp_path / "jane", file)
    assert find_signer(file, signature, signers=signers) == "jane@example.org"
    file.write_text(f"{'b' * 64}  first\n")
    assert find_signer(file, signature, signers=signers) == ""
    for key, namespace in (("other", "tumorlens"), ("jane", "git")):
        signature.unlink()
        ssh_keygen("-Y", "sign", "-n", namespace, "-f", tmp_path / key, file)
        assert find_signer(file, signature, signers=signers) == ""


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(BundleError, match=r"list: cannot be read"):
        find_signer(tmp_path / "list", tmp_path / "list.sig", signers=tmp_path / "signers")
