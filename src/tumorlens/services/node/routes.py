"""Where results go: a TOML file of rules.

    [[route]]
    from = "CT_1"            # title of who sent the series; without: anybody
    modality = "mri"         # ct | mri; without: both
    description = "*t1*"     # of the series, with * and ?, capitals or not; without: any
    to = ["ORTHANC@127.0.0.1:4242", "https://pacs.example/dicom-web"]
    tls = {ca = "pacs-ca.pem", certificate = "node.pem", key = "node.key"}  # without: none to AE@

Files are named from the folder of the rules; of `tls` each may lack. A series goes to the
destinations of every rule that it meets, once to each.
"""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from tumorlens.errors import SettingsError
from tumorlens.json_records import JsonObject
from tumorlens.services.node.send import Destination, parse_destination
from tumorlens.services.node.tls import TlsFiles

_KEYS = {"from": str, "modality": str, "description": str, "to": list, "tls": dict}
_TLS_KEYS = {"ca", "certificate", "key"}
_FIX = 'See "Run a DICOM node" in the documentation for an example.'


@dataclass(frozen=True)
class Route:
    """One rule; "" matches anything."""

    to: tuple[Destination, ...]
    caller: str = ""
    modality: str = ""
    description: str = ""

    def meets(self, *, caller: str, modality: str, description: str) -> bool:
        """Return whether a series is one that this rule is for."""
        return (
            self.caller in ("", caller)
            and self.modality in ("", modality)
            and fnmatchcase(description.lower(), self.description.lower() or "*")
        )


def read_routes(path: Path) -> tuple[Route, ...]:
    """Read the rules; raises SettingsError for what is none."""
    try:
        stored = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise SettingsError(path, f"is no TOML ({e})", _FIX) from e
    given = stored.get("route")
    rows = [row for row in given if isinstance(row, dict)] if isinstance(given, list) else []
    if stored.keys() - {"route"} or not rows or rows != given:
        raise SettingsError(path, "holds no [[route]], or something else beside", _FIX)
    routes = tuple(_route(path, row) for row in rows)
    _check_logins(path, (to for route in routes for to in route.to))
    return routes


def _check_logins(path: Path, found: Iterable[Destination]) -> None:
    """Raise SettingsError where a destination stands twice, with other passwords or files."""
    known: dict[str, Destination] = {}
    for to in found:
        if known.setdefault(str(to), to) != to:
            raise SettingsError(path, f"names {to} with different logins or TLS files", _FIX)


def _route(path: Path, row: JsonObject) -> Route:
    for key, value in row.items():
        if key not in _KEYS or not isinstance(value, _KEYS[key]):
            raise SettingsError(path, f"holds a route with {key} = {value!r}", _FIX)
    to = row.get("to") or []
    if not to or not all(isinstance(text, str) for text in to):
        raise SettingsError(path, "holds a route that leads nowhere", _FIX)
    if row.get("modality", "ct") not in ("ct", "mri"):
        raise SettingsError(path, f"holds the modality {row['modality']!r}", "Name ct or mri.")
    tls = _tls(path, row["tls"]) if "tls" in row else None
    return Route(
        tuple(replace(parse_destination(text), tls=tls) for text in to),
        row.get("from", ""),
        row.get("modality", ""),
        row.get("description", ""),
    )


def _tls(path: Path, row: JsonObject) -> TlsFiles:
    if row.keys() - _TLS_KEYS or not all(isinstance(name, str) for name in row.values()):
        raise SettingsError(path, f"holds tls = {row!r}", "Name files: ca, certificate, key.")
    tls = TlsFiles(**{key: path.parent / name for key, name in row.items()})
    tls.context()  # files that do not fit are an error now, not at the first series
    return tls


def destinations(
    routes: Sequence[Route], *, caller: str, modality: str, description: str
) -> tuple[Destination, ...]:
    """Return where the results of a series go, each destination once."""
    met = (r for r in routes if r.meets(caller=caller, modality=modality, description=description))
    return tuple(dict.fromkeys(to for route in met for to in route.to))
