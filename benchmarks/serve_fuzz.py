"""Let schemathesis loose on the service: every check, every phase, for a while.

    python benchmarks/serve_fuzz.py [--seconds 600]

It reads the service's own OpenAPI, sends what fits it and what does not, follows links between
routes, and looks for server errors and for answers that are not as described. The service asks for
keys; schemathesis has one, and tries without. Everything goes over 127.0.0.1.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from service_process import start_command

from tumorlens.services.store import open_store, verify
from tumorlens.services.store.keys import create_key

PORT = 8930


def main() -> None:
    """Start, fuzz, verify."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=int, default=600)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "store.sqlite"
        secret = create_key(open_store(str(file)), "fuzz", scopes=frozenset({"admin"}))[1]
        command = [sys.executable, "-m", "tumorlens", "serve", "--keys", "--port", str(PORT)]
        environment = {"TUMORLENS_STORE": str(file), "TUMORLENS_REQUESTS_PER_MINUTE": "1000000"}
        service = start_command(command, Path(folder), port=PORT, environment=environment)
        try:
            status = fuzz(service.url, secret, seconds=chosen.seconds, folder=folder)
        finally:
            service.stop()
        verdict = verify(open_store(str(file)))
        print(f"trail: {verdict.entries} entries, {len(verdict.problems)} problems")
        failures = (Path(folder) / "serve.log").read_text().count('"event": "failure"')
        print(f"unexpected failures in the log: {failures}")
    raise SystemExit(status or bool(verdict.problems) or bool(failures))


def fuzz(url: str, secret: str, *, seconds: int, folder: str) -> int:
    """Run schemathesis, which writes its cache into a folder; gives its exit status."""
    program = Path(sys.executable).with_name("schemathesis")
    settings = Path(__file__).resolve().with_suffix(".toml")
    command = [str(program), "--config-file", str(settings), "run", f"{url}/openapi.json",
               "--max-time", str(seconds), "--mode", "all", "--seed", "0",
               "--continue-on-failure", "--request-timeout", "60",
               "--header", f"Authorization: Bearer {secret}"]  # fmt: skip
    here = Path(__file__).resolve().parent
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "serve_fuzz_hooks",
        "PYTHONPATH": f"{here}:{os.environ.get('PYTHONPATH', '')}",
    }
    return subprocess.run(command, env=environment, cwd=folder, check=False).returncode


if __name__ == "__main__":
    main()
