"""What hosts are given to run the dashboard is in step with the package."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from tumorlens.services.dashboard import CONFIG, streamlit_command

ROOT = Path(__file__).parents[3]
HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


def pins(path: Path) -> set[tuple[str, str]]:
    return set(PIN.findall(path.read_text(encoding="utf-8")))


def direct(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    return {re.split(r"[\[<>=~;! ]", line)[0].lower() for line in wanted}


def options(command: list[str]) -> dict[str, str]:
    return dict(part.removeprefix("--").split("=", 1) for part in command if "=" in part)


def test_exported_requirements_are_pins_of_the_lock():
    found = pins(ROOT / "deploy/requirements.txt")
    assert found
    assert found - pins(ROOT / "requirements.lock") == set()


def test_exported_requirements_hold_all_that_the_dashboard_names():
    path = ROOT / "deploy/requirements.txt"
    assert direct("dashboard") - {name for name, _ in pins(path)} == set()


def test_exported_requirements_are_checked_by_hashes_of_the_lock():
    text = (ROOT / "deploy/requirements.txt").read_text(encoding="utf-8")
    known = set(HASH.findall((ROOT / "requirements.lock").read_text(encoding="utf-8")))
    for requirement in re.split(r"\n(?=[a-z])", text)[1:]:
        found = HASH.findall(requirement)
        assert found, requirement
        assert set(found) <= known, requirement


def test_exported_requirements_leave_the_bench_out():
    names = {name for name, _ in pins(ROOT / "deploy/requirements.txt")}
    assert names & {"tensorflow", "tensorflow-cpu", "keras", "scikit-learn", "pytest"} == set()


def test_hosts_that_start_streamlit_read_the_same_settings():
    copied = (ROOT / ".streamlit/config.toml").read_text(encoding="utf-8")
    assert tomllib.loads(copied) == tomllib.loads(CONFIG.read_text(encoding="utf-8"))


def test_the_procfile_starts_the_command_on_the_ports_of_the_host():
    kind, command = (ROOT / "deploy/Procfile").read_text(encoding="utf-8").split(":", 1)
    words = shlex.split(command)
    assert kind == "web"
    assert words[:5] == ["PYTHONPATH=src", "python", "-m", "tumorlens", "dashboard"]
    assert words[words.index("--port") + 1] == "$PORT"


def test_no_use_is_reported_and_no_email_is_asked_for():
    found = options(streamlit_command("localhost", 1, opens=False))
    assert found["browser.gatherUsageStats"] == "false"
    assert found["server.showEmailPrompt"] == "false"


def test_uploads_are_capped_and_guarded():
    found = options(streamlit_command("0.0.0.0", 1, opens=False))
    assert found["server.maxUploadSize"] == "64"
    assert found["server.enableXsrfProtection"] == "true"


@pytest.mark.parametrize(("host", "guarded"), [("localhost", True), ("0.0.0.0", False)])
def test_this_machine_alone_is_served_under_its_own_names_alone(host, guarded):
    command = streamlit_command(host, 8501, opens=False)
    names = [part for part in command if part.startswith("--server.allowedHosts=")]
    assert bool(names) == guarded
    assert options(command)["server.address"] == host


@pytest.mark.parametrize("kind", ["light", "dark"])
def test_badges_can_be_read_on_their_ground(kind):
    theme = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["theme"][kind]
    for name in ("red", "orange", "blue", "green", "violet", "gray"):
        assert contrast(theme[f"{name}TextColor"], theme[f"{name}BackgroundColor"]) >= 4.5
    assert contrast(theme["textColor"], theme["backgroundColor"]) >= 7


def contrast(one: str, other: str) -> float:
    """The contrast of two colors by WCAG 2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
