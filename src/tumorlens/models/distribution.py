"""Bundles on their way to others: published, fetched, and known by a list that somebody signed.

They are published in the repository layout of the Hugging Face hub, on the hub itself or in a
folder: the three files of a bundle and a README.md, which is its card with the metadata of the hub
on top. What is fetched counts only once it is whole and has the hash that was asked for.

Whoever can write the folder of a bundle can make files that fit together. A list from elsewhere
shows that they are others; a signature shows whose list it is. Signatures are those of OpenSSH
(`ssh-keygen -Y`), which also sign commits.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tumorlens import __version__
from tumorlens.errors import BundleError
from tumorlens.files import read_file, write_file
from tumorlens.models.bundle import CARD, GRAPH, SETTINGS, Bundle, load_bundle

HUB = "hf://"  # then OWNER/NAME
README, ATTRIBUTES = "README.md", ".gitattributes"
UNKNOWN_LICENSE = "unknown"
BUNDLE_FILES = (GRAPH, CARD, SETTINGS)  # the settings last: without them a folder is no bundle
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LARGE = "*.onnx filter=lfs diff=lfs merge=lfs -text\n"
_USE = """
## How to use it

```text
pip install tumorlens
tumorlens bundle fetch {source} --sha256 {sha256} --out {name}
tumorlens predict scans/ --bundle {name}
```

The graph alone is not the model: finding and cropping the head, temperature, threshold,
"uncertain" and "out of scope" are done by tumorlens (written by version {version}).
"""
NAMESPACE = "tumorlens"  # of signatures: one made for something else does not count
_LISTED = re.compile(r"^([0-9a-f]{64}) [ *](.+)$", re.M)
SIGNATURE_SECONDS = 30.0  # that ssh-keygen may take


@dataclass(frozen=True)
class Fetched:
    """A bundle that came from somewhere."""

    bundle: Bundle
    commit: str  # of the hub; "" from a folder
    is_pinned: bool  # whether the same call will always give these very files


def publish(
    bundle: Bundle, target: str, *, card: str = "", license: str = "", private: bool = True
) -> str:
    """Publish a bundle to `hf://OWNER/NAME`, a folder or a file:// URL; returns the hub's commit.

    `card` goes into README.md instead of the bundle's own, such as the one that an evaluation
    wrote. A new repository is `private` at first; of one that is there this stays as it is.
    """
    files = repository_files(bundle, target, card=card, license=license)
    if not target.startswith(HUB):
        for name, content in files.items():
            write_file(folder_of(target) / name, content)
        return ""
    repository = _repository_of(target)
    with TemporaryDirectory() as folder, _hub_errors(target):
        from huggingface_hub import HfApi

        for name, content in files.items():
            write_file(Path(folder) / name, content)
        api = HfApi(library_name="tumorlens", library_version=__version__)
        api.create_repo(repository, private=private, exist_ok=True)
        return api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=f"{bundle.version}"
        ).oid


def repository_files(
    bundle: Bundle, source: str, *, card: str = "", license: str = ""
) -> dict[str, bytes]:
    """Return the files of a repository that holds a bundle, by name."""
    files = {name: read_file(bundle.folder / name) for name in BUNDLE_FILES
             if name != CARD or (bundle.folder / CARD).exists()}  # fmt: skip
    text = card or files.get(CARD, b"").decode()
    readme = _with_metadata(text, license) + _USE.format(
        source=source, sha256=bundle.sha256, name=bundle.name, version=__version__
    )
    return {README: readme.encode(), ATTRIBUTES: _LARGE.encode(), **files}


def _with_metadata(card: str, license: str) -> str:
    """Return a card whose metadata name this library and, where one is given, a license."""
    head, text = "", card
    if card.startswith("---\n"):
        head, _, text = card[4:].partition("\n---\n")
    kept = [row for row in head.splitlines() if not row.startswith(("license:", "library_name:"))]
    found = re.search(r"^license: *(.+)$", head, re.M)
    chosen = license or (found[1] if found else UNKNOWN_LICENSE)
    lines = [f"license: {chosen}", "library_name: tumorlens", *kept]
    return "\n".join(["---", *lines, "---", text.rstrip(), ""])


def fetch(
    source: str,
    out: Path,
    *,
    revision: str = "",
    sha256: str = "",
    check: Callable[[Bundle], None] = lambda _bundle: None,
) -> Fetched:
    """Fetch a bundle into the folder `out`, which is written once all is verified.

    `revision` is a commit, tag or branch of the hub. `check` gets the verified bundle before it
    is written, and raises where it is not wanted. Raises BundleError.
    """
    if revision and not source.startswith(HUB):
        fix = "Leave out --revision, and name the hash with --sha256."
        raise BundleError(source, "is a folder, which has no revisions", fix)
    with TemporaryDirectory() as folder:
        commit = ""
        if source.startswith(HUB):
            commit = _download(source, Path(folder), revision)
            found = load_bundle(folder)
        else:
            found = load_bundle(folder_of(source))
        if sha256 and found.sha256 != sha256.strip().lower():
            fact = f"holds {found.version} with the hash {found.sha256}, another than was asked for"
            raise BundleError(source, fact, "Compare with who published it; nothing was written.")
        check(found)
        for name in BUNDLE_FILES:
            if (found.folder / name).exists():
                write_file(out / name, read_file(found.folder / name))
    is_pinned = bool(sha256) or (bool(commit) and revision == commit)
    return Fetched(load_bundle(out), commit, is_pinned)


def _download(source: str, folder: Path, revision: str) -> str:
    """Download the files of one commit, and return it."""
    repository = _repository_of(source)
    with _hub_errors(source):
        from huggingface_hub import HfApi

        api = HfApi(library_name="tumorlens", library_version=__version__)
        commit = api.model_info(repository, revision=revision or None).sha or ""
        if _COMMIT.fullmatch(revision) and commit != revision:
            fact = f"answers with commit {commit} instead of {revision}"
            raise BundleError(source, fact, "Ask who runs that hub.")
        api.snapshot_download(
            repository, revision=commit, local_dir=folder, allow_patterns=list(BUNDLE_FILES)
        )
    return commit


def folder_of(place: str) -> Path:
    """Return the folder that a path or a file:// URL names; raises BundleError for another URL."""
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    if "://" in place:
        fix = f"Name a folder, file://..., or {HUB}OWNER/NAME."
        raise BundleError(place, f"is no place for bundles ({parts.scheme})", fix)
    return Path(place)


def _repository_of(place: str) -> str:
    name = place.removeprefix(HUB)
    if not _REPOSITORY.fullmatch(name):
        raise BundleError(place, "names no repository", f"Write {HUB}OWNER/NAME.")
    return name


@contextmanager
def _hub_errors(place: str) -> Iterator[None]:
    """Turn what the hub's client raises into an error with a fix."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # Its bases are OSError and what the HTTP library raises, which changed with versions.
    failures: Any = (*HfHubHTTPError.__bases__, HFValidationError)
    try:
        yield
    except failures as e:
        first = next(iter(str(e).splitlines()), type(e).__name__)[:200]
        fix = "Check its name, the revision, your token (HF_TOKEN) and the network."
        raise BundleError(place, f"cannot be reached ({first})", fix) from e


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
            input=content, capture_output=True, timeout=SIGNATURE_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as e:
        fix = "Install OpenSSH 8.2 or newer, which checks signatures."
        raise BundleError("ssh-keygen", "cannot be run", fix) from e
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
