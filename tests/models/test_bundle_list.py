"""Whose list it is: signatures of OpenSSH."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tumorlens.errors import BundleError
from tumorlens.models.bundle_list import find_signer


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
