"""Attack the service: does it answer another key in time, in its memory, and as before afterwards.

    python benchmarks/serve_hostile.py [FOLDER ...] [--seconds 10] [--only WORD]

First some sixty hostile requests one by one, then every file of the folders (the test images of
Pillow and pydicom are good ones): each has to get an answer or a closed connection. Then attacks
with one key from many threads, while another key sends one small scan after the other: its 99th
percentile has to stay within a second under each, and its median afterwards as it was before.
Where cgroups can be made, all of it runs in one of 768 MiB. Everything goes over 127.0.0.1.
"""

import argparse
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import hostile_files
import httpx
import numpy as np
from hostile_requests import BOUNDARY, PORT, hostile, part, upload
from service_process import Running, phantom_jpeg, resident_mib, start_command

from tumorlens.services.store import open_store
from tumorlens.services.store.keys import create_key

URL = f"http://127.0.0.1:{PORT}"
LIMIT_MIB = 768
MAX_GROWTH_MIB = 100
MAX_P99_SECONDS = 1.0
PATIENCE_SECONDS = 15.0  # of the other key; a request that takes longer counts as so long
Send = Callable[[httpx.Client], object]


def main() -> None:
    """Send, attack, judge."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folders", nargs="*", type=Path)
    arguments.add_argument("--seconds", type=float, default=10, help="of each attack")
    arguments.add_argument("--only", default="", help="attacks whose name holds this")
    chosen = arguments.parse_args()
    broken = []
    with tempfile.TemporaryDirectory() as folder, limited_memory() as group:
        if not chosen.only:
            broken += send_one_by_one(Path(folder), group, chosen.folders)
        broken += attack_all(Path(folder), group, chosen)
    if broken:
        raise SystemExit(f"broken: {broken}")


def send_one_by_one(folder: Path, group: "Group", folders: list[Path]) -> list[str]:
    """Send each hostile request alone; returns the names of those that broke something."""
    environment = {
        "TUMORLENS_STORE": str(folder / "store.sqlite"),
        "TUMORLENS_RECEIVE_SECONDS": "5",
    }
    command = group.command(sys.executable, "-m", "tumorlens", "serve", "--port", str(PORT))
    service = start_command(command, folder, port=PORT, environment=environment)
    pid = service.process.pid
    try:
        for seed in range(40):
            upload("a.jpg", phantom_jpeg(seed % 4))
        before = resident_mib(pid)
        outcomes = {name: attempt(send) for name, send in hostile()}
        tally = Counter(
            upload(path.name, path.read_bytes())
            for given in folders
            for path in sorted(given.rglob("*"))
            if path.is_file()
        )
        alive, after = upload("a.jpg", phantom_jpeg(0)), resident_mib(pid)
    finally:
        service.stop()
    for name, outcome in outcomes.items():
        print(f"{outcome:>7}  {name}")
    print(f"files of {[str(f) for f in folders]}: {dict(tally)}; alive: {alive}")
    print(f"resident {before:.0f} -> {after:.0f} MiB; {group.text()}")
    allowed = {"200", "closed", *map(str, range(400, 500))}
    broken = [name for name, outcome in outcomes.items() if outcome not in allowed]
    broken += [key for key in tally if key not in allowed] + ["dead"] * (alive != "200")
    return broken + ["memory grew"] * (after - before > MAX_GROWTH_MIB)


def attempt(send: Callable[[], str]) -> str:
    """Send one; returns a status, or "closed" where the connection was closed."""
    try:
        outcome = send()
    except (OSError, httpx.HTTPError):
        outcome = "closed"
    if httpx.get(f"{URL}/healthz", timeout=60).status_code != 200:
        return "dead"
    return outcome


def attack_all(folder: Path, group: "Group", chosen: argparse.Namespace) -> list[str]:
    """Run every attack; returns the names of those under which the other key waited too long."""
    store = open_store(str(folder / "keys.sqlite"))
    bad, good = (create_key(store, name)[1] for name in ("bad", "good"))
    store.close()
    found, service = [], None
    try:
        for name, threads, send in attacks(bad):
            if chosen.only in name:
                service = service or start_with_keys(folder, group)
                found.append((name, attack(name, good, attacking(bad, threads, send), chosen)))
                print(group.text(), flush=True)
    finally:
        if service is not None:
            print(f"ended {stop(service):.1f} s after SIGTERM")
    return [name for name, is_in_time in found if not is_in_time]


def attack(
    name: str, good: str, running: AbstractContextManager[Counter[str]], chosen: argparse.Namespace
) -> bool:
    """Run one attack; returns whether the other key was answered in time."""
    before = ask(good, chosen.seconds / 2)
    with running as tally:
        during = ask(good, chosen.seconds)
    ask(good, 1.0)  # the last of the attack may still be in work
    after = ask(good, chosen.seconds / 2)
    print(
        f"{name}: another key p50 {ms(before, 50)}, under attack p50 {ms(during, 50)}, "
        f"p99 {ms(during, 99)}, max {ms(during, 100)} (n={len(during)}), "
        f"then p50 {ms(after, 50)}; the attacker got {dict(tally)}"
    )
    return bool(np.percentile(during, 99) <= MAX_P99_SECONDS)


def start_with_keys(folder: Path, group: "Group") -> Running:
    """Start a service that asks for keys."""
    serve = (sys.executable, "-m", "tumorlens", "serve", "--keys", "--port", str(PORT))
    environment = {
        "TUMORLENS_STORE": str(folder / "keys.sqlite"),
        "TUMORLENS_WORKERS": "2",
        "TUMORLENS_REQUESTS_PER_MINUTE": "1000000",
    }
    return start_command(group.command(*serve), folder, port=PORT, environment=environment)


def stop(service: Running) -> float:
    """End a service; returns the seconds that took."""
    started = time.monotonic()
    service.stop()
    return time.monotonic() - started


def ask(key: str, seconds: float) -> list[float]:
    """Send one small scan after the other; returns the seconds each took, refused ones as long."""
    took = []
    scan = phantom_jpeg(1)
    end = time.monotonic() + seconds
    with client(key, PATIENCE_SECONDS) as asker:
        while time.monotonic() < end or len(took) < 3:
            started = time.monotonic()
            try:
                response = asker.post("/v1/predict", files={"file": ("a.jpg", scan)})
                is_answered = response.status_code == 200
            except httpx.HTTPError:
                is_answered = False
            took.append(time.monotonic() - started if is_answered else PATIENCE_SECONDS)
            time.sleep(0.02)
    return took


def ms(took: list[float], percent: float) -> str:
    """Write a percentile."""
    return f"{1000 * np.percentile(took, percent):.0f} ms"


def client(key: str, seconds: float) -> httpx.Client:
    """Return a client with a key."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=URL, headers=headers, timeout=seconds)


@contextmanager
def attacking(key: str, threads: int, send: Send) -> Iterator[Counter[str]]:
    """Send again and again from many threads while the block lasts; yields what they got."""
    ended, tally = threading.Event(), Counter[str]()

    def work() -> None:
        with client(key, 10) as attacker:
            while not ended.is_set():
                try:
                    response = send(attacker)
                    tally[str(getattr(response, "status_code", response))] += 1
                except (httpx.HTTPError, OSError):
                    tally["closed or too late"] += 1

    workers = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    time.sleep(1.0)
    yield tally
    ended.set()
    for worker in workers:
        worker.join(15)


def attacks(key: str) -> Iterator[tuple[str, int, Send]]:
    """Yield every attack: its name, its threads, what each sends."""
    scan, webp = phantom_jpeg(2), hostile_files.webp()
    worst = hostile_files.jpeg_of_scans(100)
    yield "jpegs of 40,000 scans", 2, file_of(hostile_files.jpeg_of_scans(40_000))
    yield "jpegs of 100 scans, 16 megapixels", 8, file_of(worst)
    yield "tiffs of 60,000 pages", 4, file_of(hostile_files.tiff_of_pages(60_000))
    yield "webps of 16 megapixels, 32 a request", 4, file_of(webp, count=32)
    yield "batches of 150 webps of 16 megapixels", 2, file_of(webp, count=150, batch=True)
    yield "batches of 30 webps of 16 megapixels", 4, file_of(webp, count=30, batch=True)
    yield "batches of 500 small scans", 4, file_of(scan, count=500, batch=True)
    yield "pngs of 15 megapixels", 8, file_of(hostile_files.png(4000, 3750, rows=3750))
    yield "small scans, 60 at once", 60, file_of(scan)
    yield "uploads of 32 MB that stop short", 2, lambda _: upload_some(key, 20_000_000, 0)
    yield "uploads at a trickle", 20, lambda _: upload_some(key, 1000, 0.2)
    yield "uploads of 30 MB of near boundaries", 2, near_boundaries
    yield "json of a million parts", 4, million_parts
    yield "wrong keys of 15,000 characters", 8, wrong_key
    yield "reports as PDF", 16, file_of(scan, query="?report=pdf&heatmap=true")


def file_of(data: bytes, *, count: int = 1, batch: bool = False, query: str = "") -> Send:
    """Return what sends a form of so many files."""
    path = f"/v1/predict{'/batch' if batch else query}"
    return lambda attacker: attacker.post(path, files=[("file", ("a", data))] * count)


def upload_some(key: str, size: int, pause: float) -> str:
    """Announce 32 MB, send some, then stand still or go on in drops."""
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 32000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", PORT), timeout=40) as connection:
        connection.sendall(head.encode() + bytes(size))
        with suppress(OSError):
            for _ in range(100 if pause else 0):
                connection.sendall(b"x")
                time.sleep(pause)
        return connection.recv(100).split(b" ")[1].decode()


def near_boundaries(attacker: httpx.Client) -> object:
    """Send a form full of what is almost a boundary."""
    body = part(b"\r\n--hostil" * 3_000_000) + b"--" + BOUNDARY + b"--\r\n"
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    return attacker.post("/v1/predict", content=body, headers=kind)


def million_parts(attacker: httpx.Client) -> object:
    """Send an inference request of small numbers."""
    head = b'{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","data":['
    body = head + b"0," * 10_000_000 + b"0]}]}"
    return attacker.post("/v2/models/tumorlens/infer", content=body)


def wrong_key(attacker: httpx.Client) -> object:
    """Ask with a long key that is new each time."""
    secret = f"tlk_{os.urandom(6).hex()}_" + "a" * 15_000
    return attacker.get("/v1/model", headers={"Authorization": f"Bearer {secret}"})


class Group:
    """A cgroup with a limit of memory, or none where none can be made."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def command(self, *command: str) -> list[str]:
        """Return a command that starts in the group: what is charged before, it never counts."""
        if self.folder is None:
            return list(command)
        enter = 'echo $$ > "$0" && exec "$@"'
        return ["sh", "-c", enter, str(self.folder / "cgroup.procs"), *command]

    def text(self) -> str:
        """Say how much memory was used at most, and whether the kernel had to kill.

        Version 1 forgets the peak then, so that each attack has its own. Pages of files count
        in it; the kernel takes those back before it kills.
        """
        if self.folder is None:
            return "memory not limited: no cgroup can be made here"
        names = ("memory.peak", "memory.max_usage_in_bytes")
        name = next(name for name in names if self.has(name))
        peak = int((self.folder / name).read_text())
        with suppress(OSError):
            (self.folder / name).write_text("0")
        events = next(n for n in ("memory.events", "memory.oom_control") if self.has(n))
        kills = dict(map(str.split, (self.folder / events).read_text().splitlines()))["oom_kill"]
        return f"peak {peak / 2**20:.0f} of {LIMIT_MIB} MiB, {kills} killed"

    def has(self, name: str) -> bool:
        """Return whether the kernel offers a file."""
        return self.folder is not None and (self.folder / name).exists()


@contextmanager
def limited_memory() -> Iterator[Group]:
    """Make a cgroup below the own one, of version 1 or 2, and remove it afterwards."""
    rows = [row.split(":", 2) for row in Path("/proc/self/cgroup").read_text().splitlines()]
    own = {names: path for _, names, path in rows}
    root, path = ("memory", own["memory"]) if "memory" in own else ("", own.get("", "/"))
    folder = Path("/sys/fs/cgroup", root, path.strip("/"), f"tumorlens-{os.getpid()}")
    limit = "memory.limit_in_bytes" if root else "memory.max"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(LIMIT_MIB * 2**20))
    except OSError:
        yield Group(None)
        return
    try:
        yield Group(folder)
    finally:
        with suppress(OSError):
            folder.rmdir()


if __name__ == "__main__":
    main()
