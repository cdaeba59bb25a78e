"""Build a release and try it as somebody would who has nothing but its files: `make release`.

Prints each step. Goes on where it stopped: what was tried with these very files is not tried
again (`dist/tried.csv`). Nothing is uploaded.
"""

import argparse
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
TRIED = DIST / "tried.csv"
COLUMNS = ("wheel", "python", "extra", "result", "seconds")
PYTHONS = ("3.11", "3.12", "3.13")
BASE = "base"  # the name of no extra
# What is run in an environment with one extra alone, besides `EVERYWHERE`.
EVERYWHERE = (
    ("tumorlens", "--version"),
    ("tumorlens", "doctor"),
    ("tumorlens", "predict", "{scan}", "--out", "predictions.csv"),
)
COMMANDS: Mapping[str, Sequence[Sequence[str]]] = {
    BASE: [("tumorlens", "predict", "{scan}", "--report", "report.html", "--heatmaps", "maps"),
           ("tumorlens", "bundle", "verify", "tumorlens-tiny")],
    "dicom": [("python", "-c", "import pydicom, highdicom, pynetdicom, dicomweb_client"),
              ("tumorlens", "dicom", "list", ".")],
    "nifti": [("python", "-c", "import tumorlens.images.nifti, nibabel")],
    "train": [("tumorlens", "demo", "--per-class", "20", "--epochs", "1", "--out", "demo")],
    "dashboard": [("python", "-c", "import tumorlens.services.dashboard.server, streamlit")],
    "service": [("python", "-c", "import tumorlens.services.http.server"),
                ("tumorlens", "keys", "list", "--store", "store.db")],
    "postgres": [("python", "-c", "import psycopg")],
    "client": [("python", "-c", "import tumorlens.client")],
    "lambda": [("python", "-c", "import awslambdaric, tumorlens.services.lambda_handler")],
    "scale": [("python", "-c", "import ray, pyarrow, fsspec, tumorlens.executors")],
    "tracking": [("python", "-c", "import mlflow, tensorboardX, huggingface_hub"),
                 ("tumorlens", "bundle", "publish", "tumorlens-tiny", "model", "--as", "mlflow")],
    "wandb": [("python", "-c", "import wandb")],
}  # fmt: skip


def main() -> None:
    """Check, build, look inside, install and try."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", help=f"default: {', '.join(PYTHONS)}")
    parser.add_argument("--extra", action="append", help="default: each")
    parser.add_argument("--draft", action="store_true", help="also with uncommitted changes")
    arguments = parser.parse_args()
    version = read_version()
    problems = source_problems(version, draft=arguments.draft)
    if problems:
        sys.exit("not ready:\n" + "\n".join(f"  {problem}" for problem in problems))
    print(f"== tumorlens {version}: build")
    wheel, archive = build(version)
    run("twine", "check", "--strict", str(wheel), str(archive))
    with zipfile.ZipFile(wheel) as opened:
        unlisted = without_license(opened.namelist(), (ROOT / "THIRD_PARTY.md").read_text())
    if unlisted:
        sys.exit(f"THIRD_PARTY.md says nothing of {', '.join(unlisted)}")
    failed = list(try_all(wheel, arguments.python or PYTHONS, arguments.extra or list(extras())))
    print(f"\n{wheel}\n{archive}\n{TRIED}")
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}")
    print(f"next: git tag v{version}, and upload the two files")


def read_version() -> str:
    """Return the version, which stands in one place."""
    text = (ROOT / "src/tumorlens/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.M)
    assert found, "src/tumorlens/__init__.py names no version"
    return found[1]


def extras() -> list[str]:
    """List what can be installed: without an extra, and with each but that of developers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [BASE, *(name for name in project["optional-dependencies"] if name != "dev")]


def source_problems(version: str, *, draft: bool = False) -> list[str]:
    """List what keeps these sources from being released."""
    found = []
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.search(r"^## (.+)$", changes, re.M)
    if not first or not re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", first[1]):
        found.append(f"CHANGELOG.md does not begin with `## {version} - YYYY-MM-DD`")
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    if f"\nversion: {version}\n" not in cited:
        found.append(f"CITATION.cff does not name version {version}")
    if missing := set(extras()) - set(COMMANDS):
        found.append(f"nothing is tried with the extra {', '.join(sorted(missing))}")
    if not draft and output("git", "status", "--porcelain"):
        found.append("there are changes that are not committed")
    return found


def build(version: str) -> tuple[Path, Path]:
    """Build wheel and sdist unless they are there for this commit; return their paths."""
    commit, mark = output("git", "rev-parse", "HEAD"), DIST / "commit"
    files = DIST / f"tumorlens-{version}-py3-none-any.whl", DIST / f"tumorlens-{version}.tar.gz"
    changed = output("git", "status", "--porcelain")
    is_there = all(file.exists() for file in files) and mark.exists()
    if is_there and not changed and mark.read_text() == commit:
        print(f"there already, of commit {commit[:12]}")
        return files
    # With the time of the commit in it, the same sources make the same bytes.
    os.environ["SOURCE_DATE_EPOCH"] = output("git", "log", "-1", "--format=%ct")
    run(sys.executable, "-m", "hatchling", "build", "-d", str(DIST))
    mark.write_text("" if changed else commit)  # what a draft built is built again
    return files


def without_license(names: Sequence[str], listed: str) -> list[str]:
    """Return the files of a wheel, but for its own Python, that a THIRD_PARTY.md does not name."""
    patterns = re.findall(r"^\| `([^`]+)` \|", listed, re.M)
    data = [name for name in names if not name.endswith(".py") and ".dist-info/" not in name]
    return [name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)]


def try_all(wheel: Path, pythons: Sequence[str], chosen: Sequence[str]) -> Iterator[str]:
    """Try each extra on each Python that is here; yield what failed."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()[:12]
    for python in pythons:
        interpreter = find_python(python)
        if not interpreter:
            print(f"== Python {python} is not here: not tried")
            continue
        for extra in chosen:
            done = [row for row in read_tried() if row[:3] == [digest, python, extra]]
            if done and done[-1][3] == "ok":
                print(f"== Python {python}, {extra}: tried already")
                continue
            print(f"== Python {python}, {extra}", flush=True)
            started = time.monotonic()
            result = try_extra(wheel, interpreter, extra)
            seconds = f"{time.monotonic() - started:.0f}"
            keep([digest, python, extra, result, seconds])
            print(f"   {result} after {seconds} s", flush=True)
            if result != "ok":
                yield f"Python {python}, {extra}: {result}"


def find_python(version: str) -> str:
    """Return an interpreter that runs and is of a version; "" where there is none."""
    found = [shutil.which(f"python{version}") or "",
              *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]  # fmt: skip
    shown = f"import sys; print('.'.join(map(str, sys.version_info[:2])) == '{version}')"
    for path in filter(None, found):
        done = subprocess.run([path, "-c", shown], capture_output=True, text=True, check=False)
        if done.stdout.strip() == "True":
            return path
    return ""


def try_extra(wheel: Path, interpreter: str, extra: str) -> str:
    """Install the wheel with one extra into a clean environment, and run its commands in it."""
    with TemporaryDirectory(dir=DIST) as name:
        folder, wanted = Path(name), str(wheel) + ("" if extra == BASE else f"[{extra}]")
        bin_folder = folder / "env/bin"
        environment = {
            "HOME": name, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "TUMORLENS_CACHE": str(folder / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3",
        }  # fmt: skip
        setup = (
            ("uv", "venv", "--quiet", "--python", interpreter, str(folder / "env")),
            ("uv", "pip", "install", "--quiet", "--python", str(bin_folder / "python"),
             "--constraint", str(ROOT / "requirements.lock"), wanted),
        )  # fmt: skip
        for command in setup:
            if error := failure_of(command, folder, {"PATH": os.environ["PATH"]}):
                return error
        scan = next((folder / "env").glob("lib/*/site-packages/tumorlens/predictions/*.png"))
        for command in (*EVERYWHERE, *COMMANDS[extra]):
            words = [word.format(scan=scan) for word in command]
            words[0] = str(bin_folder / words[0])
            if error := failure_of(words, folder, environment):
                return error
    return "ok"


def failure_of(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Run a command; return what it said last where it failed, "" where it did not."""
    print("   $", " ".join((Path(command[0]).name, *command[1:])), flush=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=folder, env={**kept, **environment}, check=False,
                          capture_output=True, text=True)  # fmt: skip
    if not done.returncode:
        return ""
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return f"{Path(command[0]).name} {' '.join(command[1:3])}: {said[-1][:300] if said else '?'}"


def read_tried() -> list[list[str]]:
    """Return the rows of what was tried, oldest first."""
    if not TRIED.exists():
        return []
    with TRIED.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def keep(row: Sequence[str]) -> None:
    """Add a row to what was tried."""
    is_new = not TRIED.exists()
    with TRIED.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, row] if is_new else [row])


def run(*command: str) -> None:
    """Run a command of the release itself, and end where it fails."""
    print("$", " ".join(command), flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def output(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
