"""Pages for radiologists: drop in slices, see the answer of the network and why to doubt it.

Streamlit is started by its own command with the settings of config.toml.
"""

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

LOOPBACK = ("localhost", "127.0.0.1", "::1")
CONFIG = Path(__file__).with_name("config.toml")
SERVER = Path(__file__).with_name("server.py")


def streamlit_command(host: str, port: int, *, opens: bool) -> list[str]:
    """Return the command that serves the dashboard; `opens` lets it open a browser.

    On loopback, names other than this machine's own are refused: a page of another site cannot
    reach the dashboard by a name that it made point here.
    """
    stored = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    chosen = {"server.address": host, "server.port": port, "server.headless": not opens}
    options = dict(_flat(stored)) | chosen
    flags = [f"--{name}={_flag_text(value)}" for name, value in options.items()]
    if host in LOOPBACK:
        flags += [f"--server.allowedHosts={name}" for name in LOOPBACK]
    return [sys.executable, "-m", "streamlit", "run", str(SERVER), *flags]


def _flat(stored: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values of nested tables by their dotted names."""
    for name, value in stored.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _flag_text(value: object) -> str:
    """Write a value as Streamlit's command line reads it."""
    return value if isinstance(value, str) else json.dumps(value)
