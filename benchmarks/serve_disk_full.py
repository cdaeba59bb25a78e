"""A disk that fills up: 507, nothing corrupt, and on again when there is space.

    python benchmarks/serve_disk_full.py          (as root: it mounts a small tmpfs)

The store lies on a tmpfs of a few MiB. Clients ask until the service says 507; then space is
freed, and the next answer has to be 200. Everything goes over 127.0.0.1.
"""

import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import httpx
from serve_kill import judge
from service_process import phantom_jpeg, start

SIZE_MIB = 8
REFUSALS = 20


def main() -> None:
    """Fill, ask on, free, ask again."""
    with tempfile.TemporaryDirectory() as folder:
        mount = Path(folder) / "small"
        mount.mkdir()
        small = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(mount)]
        subprocess.run(small, check=True)
        try:
            fill(Path(folder), mount)
        finally:
            subprocess.run(["umount", str(mount)], check=True)


def fill(folder: Path, mount: Path) -> None:
    """Do it on a mounted disk."""
    ballast = mount / "ballast"
    store = str(mount / "store.sqlite")
    service = start(folder, port=8910, TUMORLENS_STORE=store)
    try:
        counts, acknowledged, after = ask_through(service.url, ballast)
    finally:
        service.stop()
    judge(store, acknowledged)
    if set(counts) != {200, 507} or set(after) != {200}:
        raise SystemExit("broken: other answers than 200 and 507, or none after space was freed")


def ask_through(url: str, ballast: Path) -> tuple[Counter[int], list[str], list[int]]:
    """Ask before, while and after the disk is full; returns statuses, ids, the last statuses."""
    scan = phantom_jpeg(3)
    acknowledged: list[str] = []
    counts: Counter[int] = Counter()
    with httpx.Client(base_url=url, timeout=60) as client:

        def ask() -> int:
            response = client.post("/v1/predict", files={"file": ("a.jpg", scan)})
            counts[response.status_code] += 1
            if response.status_code == 200:
                acknowledged.append(response.json()["results"][0]["id"])
            return response.status_code

        for _ in range(20):
            ask()
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        while counts[507] < REFUSALS and sum(counts.values()) < 3000:
            ask()
        ready = client.get("/readyz").status_code
        alive = client.get("/healthz").status_code
        ballast.unlink()
        after = [ask() for _ in range(20)]
    print(
        f"statuses {dict(counts)}; while full: /readyz {ready}, /healthz {alive}; then {after[:3]}"
    )
    return counts, acknowledged, after


if __name__ == "__main__":
    main()
