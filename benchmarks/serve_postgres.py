"""Restart PostgreSQL under load; look for acknowledged answers that are lost or doubled.

    python benchmarks/serve_postgres.py [--restarts 5] [--bin /usr/lib/postgresql/15/bin]

Makes a database of its own under a temporary folder, on 127.0.0.1. The server of PostgreSQL will
not run as root: run as root, this uses the account that --account names.
"""

import argparse
import os
import pwd
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from serve_kill import judge
from service_process import phantom_jpeg, start

PORT = 8911


def main() -> None:
    """Load, restart, count."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--restarts", type=int, default=5)
    arguments.add_argument("--bin", default="/usr/lib/postgresql/15/bin")
    arguments.add_argument("--account", default="postgres")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, database(Path(folder), chosen) as (url, control):
        service = start(Path(folder), port=8912, TUMORLENS_STORE=url)
        acknowledged: list[str] = []
        counts: Counter[int] = Counter()
        stop = threading.Event()
        clients = [
            threading.Thread(target=ask, args=(service.url, acknowledged, counts, stop))
            for _ in range(4)
        ]
        for client in clients:
            client.start()
        for _ in range(chosen.restarts):
            time.sleep(2)
            control("restart", "-m", "immediate")
        time.sleep(2)
        stop.set()
        for client in clients:
            client.join()
        service.stop()
        print(f"{chosen.restarts} restarts (immediate: as after a crash), statuses {dict(counts)}")
        judge(url, acknowledged)


def ask(url: str, acknowledged: list[str], counts: Counter[int], stop: threading.Event) -> None:
    """Send scans until told to stop; note what the service acknowledged."""
    scan = phantom_jpeg(3)
    with httpx.Client(base_url=url, timeout=120) as client:
        while not stop.is_set():
            response = client.post("/v1/predict", files={"file": ("a.jpg", scan)})
            counts[response.status_code] += 1
            if response.status_code == 200:
                acknowledged.append(response.json()["results"][0]["id"])


@contextmanager
def database(folder: Path, chosen: argparse.Namespace) -> Iterator:
    """Run a new PostgreSQL server; gives its URL, and a function that calls pg_ctl."""
    data = folder / "pg"
    data.mkdir()
    as_account = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam(chosen.account)
        os.chown(data, account.pw_uid, account.pw_gid)
        folder.chmod(0o755)
        as_account = {"user": account.pw_uid, "group": account.pw_gid, "cwd": "/"}

    def run(program: str, *words: str) -> None:
        command = [f"{chosen.bin}/{program}", "-D", str(data), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **as_account)

    def control(*words: str) -> None:
        options = f"-p {PORT} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data}"
        run("pg_ctl", "-w", "-l", str(data / "log"), "-o", options, *words)

    run("initdb", "-U", "tumorlens", "--auth=trust", "-E", "UTF8")
    control("start")
    try:
        yield f"postgresql://tumorlens@127.0.0.1:{PORT}/postgres", control
    finally:
        run("pg_ctl", "-w", "-m", "fast", "stop")


if __name__ == "__main__":
    main()
