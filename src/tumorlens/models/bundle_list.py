"""Lists of bundles that are kept elsewhere, and who signed them.

Whoever can write the folder of a bundle can make files that fit together. A list from elsewhere
shows that they are others; a signature shows whose list it is. Signatures are those of OpenSSH
(`ssh-keygen -Y`), which also sign commits.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tumorlens.errors import BundleError
from tumorlens.files import read_file
from tumorlens.models.bundle import Bundle

NAMESPACE = "tumorlens"  # of signatures: one made for something else does not count
_LISTED = re.compile(r"^([0-9a-f]{64}) [ *](.+)$", re.M)
_SECONDS = 30.0


def find_in_list(bundle: Bundle, file: Path) -> str:
    """Compare a bundle with a list of `HASH  NAME` lines; returns what is wrong, "" is nothing.

    Raises BundleError for a file that holds no such line.
    """
    try:
        text = read_file(file).decode()
    except (OSError, ValueError) as e:
        raise BundleError(file, "cannot be read", "Give a text of hashes and names.") from e
    listed = [(hash, name.strip()) for hash, name in _LISTED.findall(text)]
    if not listed:
        raise BundleError(file, "lists no bundle", "`tumorlens bundle show` prints such a line.")
    if (bundle.sha256, bundle.name) in listed:
        return ""
    is_known = bundle.name in [name for _, name in listed]
    fact = "has another hash than the list" if is_known else "is not in the list"
    return f"{bundle.version} {fact} {file}"


def find_signer(file: Path, signature: Path, *, signers: Path) -> str:
    """Return who of the allowed signers signed a file; "" where none of them did.

    `signers` is an `allowed_signers` file of OpenSSH, with a line `NAME KEY` for each. Raises
    BundleError where a file or `ssh-keygen` cannot be read or run.
    """
    try:
        content = read_file(file)
        for other in (signature, signers):
            read_file(other)
    except OSError as e:
        name = e.filename or file
        raise BundleError(name, "cannot be read", "Give list, signature and signers.") from e
    given = ("-n", NAMESPACE, "-s", str(signature.resolve()), "-f", str(signers.resolve()))
    found = _ssh_keygen(["-Y", "find-principals", *given], b"")
    for name in found.splitlines():
        if _ssh_keygen(["-Y", "verify", "-I", name, *given], content):
            return name
    return ""


def _ssh_keygen(arguments: Sequence[str], content: bytes) -> str:
    """Return what ssh-keygen prints; "" where it refuses."""
    try:
        done = subprocess.run(
            ["ssh-keygen", *arguments],
            input=content, capture_output=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as e:
        fix = "Install OpenSSH 8.2 or newer, which checks signatures."
        raise BundleError("ssh-keygen", "cannot be run", fix) from e
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
