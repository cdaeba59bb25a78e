"""A disk that fills up under a batch job: a clear error, nothing corrupt, and on again with space.

    python benchmarks/batch_disk_full.py          (as root: it mounts a small tmpfs)

The job lies on a tmpfs with room for its bundle and a few parts. It is run until the disk is full,
verified, merged onto the full disk, given space and run again. At the end every scan has one row,
and no part that was there before was written again.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from batch_kill import command, draw_index

SCANS, FILES, SHARD = 600, 20, 100
ROOM_KIB = 150  # beside the plan and the bundle: a few parts with embeddings


def main() -> None:
    """Fill, verify, free, run on."""
    with tempfile.TemporaryDirectory() as folder:
        mount = Path(folder, "small")
        mount.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(mount)], check=True)
        try:
            fill(draw_index(Path(folder), FILES, SCANS), mount)
        finally:
            subprocess.run(["umount", str(mount)], check=True)


def fill(index: Path, mount: Path) -> None:
    """Do it on a mounted disk."""
    job = mount / "job"
    ask(0, "batch", "plan", index, "--out", job, "--bundle", "tumorlens-tiny", "--embeddings",
        "--shard-size", SHARD)  # fmt: skip
    used = sum(path.stat().st_blocks // 2 for path in job.rglob("*"))
    resize(mount, used + ROOM_KIB)
    said = ask(2, "batch", "run", job, "--workers", 2)
    assert "has no space left" in said, said
    before = parts_of(job)
    print(f"full: {said.strip().splitlines()[-1]}\n{len(before)} of {SCANS // SHARD} parts")
    said = ask(3, "batch", "verify", job)
    assert said.count("is missing") == SCANS // SHARD - len(before), said
    said = ask(2, "batch", "merge", job, "--out", mount / "all.parquet", "--partial")
    assert not list(mount.glob("all*")), "half a table is left"
    print(f"merge: {said.strip().splitlines()[-1]}")
    resize(mount, 64 * 1024)
    ask(0, "batch", "run", job, "--workers", 2)
    print(ask(0, "batch", "verify", job).strip())
    again = {name for name, inode in before.items() if parts_of(job)[name] != inode}
    assert not again, f"done again: {again}"
    assert not list((job / "parts").glob("*.partial")), "half a part is left"


def parts_of(job: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (job / "parts").glob("part-*.parquet")}


def resize(mount: Path, kib: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kib}k", str(mount)], check=True)


def ask(status: int, *words: object) -> str:
    """Run a command that has to end with a status; returns all that it prints."""
    done = subprocess.run(command(*words), capture_output=True, text=True, check=False)
    if done.returncode != status:
        sys.exit(f"{words} ended with {done.returncode}, not {status}:\n{done.stderr}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
