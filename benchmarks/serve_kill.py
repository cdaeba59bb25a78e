"""Kill the service under load, again and again, and look for acknowledged answers that are lost.

    python benchmarks/serve_kill.py [--kills 100] [--store URL]

Four clients ask; at a random moment (after so many answers, and so many milliseconds) the service
is killed, and started again on the same store. At the end every id that a client was given has to
be there once, and the audit trail has to verify. The service is forked from a process that has its
libraries loaded: so a start is short. Everything goes over 127.0.0.1.
"""

import argparse
import multiprocessing
import os
import random
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import httpx
from service_process import phantom_jpeg

from tumorlens.services.http.server import serve
from tumorlens.services.store import iter_predictions, open_store, verify
from tumorlens.settings import Settings

CLIENTS = 4


def main() -> None:
    """Kill, start, count."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--store", help="a URL instead of a new SQLite file")
    chosen = arguments.parse_args()
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tumorlens.services.http.server", "service_process", "httpx"])
    moments = random.Random(chosen.seed)
    scans = [phantom_jpeg(seed) for seed in range(8)]
    acknowledged: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        store = chosen.store or str(Path(folder) / "store.sqlite")
        for count in range(chosen.kills):
            port = 8704 + count % 200
            log, url = str(Path(folder) / "serve.log"), f"http://127.0.0.1:{port}"
            service = processes.Process(target=run_service, args=(store, port, log))
            service.start()
            wait_until_ready(url)
            clients = [
                threading.Thread(target=ask, args=(url, scans, acknowledged))
                for _ in range(CLIENTS)
            ]
            for client in clients:
                client.start()
            enough = len(acknowledged) + moments.randrange(40)
            while len(acknowledged) < enough:
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.05))
            service.kill()
            service.join()
            for client in clients:
                client.join()
            print(f"\rkill {count + 1}, {len(acknowledged)} acknowledged", end="", flush=True)
        judge(store, acknowledged)


def wait_until_ready(url: str) -> None:
    """Ask until the service answers."""
    while True:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=30).close()
            return
        except OSError:
            time.sleep(0.01)


def run_service(store: str, port: int, log: str) -> None:
    """Serve; the target of a process that will be killed."""
    with Path(log).open("ab") as file:
        os.dup2(file.fileno(), 2)
    settings = Settings(store=store, max_pixels=16_000_000)
    serve(settings, host="127.0.0.1", port=port, needs_keys=False)


def ask(url: str, scans: list[bytes], acknowledged: list[str]) -> None:
    """Send scans until the service is gone; note what it acknowledged."""
    with httpx.Client(base_url=url, timeout=60) as client:
        for number in range(100_000):
            data = scans[number % len(scans)]
            try:
                response = client.post("/v1/predict", files={"file": ("a.jpg", data)})
            except httpx.HTTPError:
                return
            if response.status_code == 200:
                acknowledged.append(response.json()["results"][0]["id"])


def judge(url: str, acknowledged: list[str]) -> None:
    """Compare what was acknowledged with what is there; raises SystemExit where they differ."""
    store = open_store(url)
    there = [stored.id for stored in iter_predictions(store)]
    lost = set(acknowledged) - set(there)
    doubled = len(there) - len(set(there))
    verdict = verify(store)
    store.close()
    print(
        f"\n{len(acknowledged)} acknowledged, {len(there)} stored, {len(lost)} lost, "
        f"{doubled} doubled; trail: {verdict.entries} entries, {len(verdict.problems)} problems"
    )
    if lost or doubled or verdict.problems:
        raise SystemExit(f"broken: {list(lost)[:3]} {verdict.problems[:3]}")


if __name__ == "__main__":
    main()
