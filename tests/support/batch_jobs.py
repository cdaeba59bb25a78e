"""Jobs of a batch over a few scans of every kind, done in this process."""

import shutil
import zipfile
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tumorlens.batch.index import read_index
from tumorlens.batch.plan import Options, Plan, make_plan
from tumorlens.batch.run import missing_shards, run_shards
from tumorlens.batch.storage import Folder
from tumorlens.executors import Executor
from tumorlens.models.bundle import Bundle
from tumorlens.study.phantom import draw_phantom


class ThisProcess:
    """A worker that does its task at once, here."""

    def start(self, *, again: bool = False) -> Future[Any]:
        return self._ended(0)

    def submit(self, work: Any, task: Any) -> Future[Any]:
        try:
            return self._ended(work(task, lambda _done, _total: None))
        except Exception as error:  # noqa: BLE001 (as a future of a process has it)
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def progress(self) -> tuple[int, int]:
        return 0, 0

    def stop(self) -> None:
        return None

    def _ended(self, result: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(result)
        return future


HERE = Executor([ThisProcess()], ())


def planned(
    given: str | Path, job: str | Path, bundle: Bundle, options: Options | None = None
) -> tuple[Folder, Plan]:
    """Plan a job, by default of small shards; returns its folder and its plan."""
    folder = Folder(str(job))
    options = options or Options(shard_size=4)
    return folder, make_plan(read_index(str(given)), folder, bundle, options)[0]


def run_here(job: Folder, plan: Plan, shards: Sequence[int] | None = None) -> list[str]:
    """Do what is missing of a job, or some shards; returns the ids of those that were done."""
    todo = missing_shards(job, plan) if shards is None else shards
    return [record.shard for record in run_shards(job, todo, HERE)]


def write_heads(folder: Path, count: int, *, first: int = 0) -> list[Path]:
    """Draw heads into a folder; returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"head_{first + number:02}.png" for number in range(count)]
    for number, path in enumerate(paths, start=first):
        pixels = draw_phantom("mri", "glioma", seed=number, plane="axial", side=64).pixels
        Image.fromarray(pixels).save(path)
    return paths


def write_world(folder: Path) -> Path:
    """Write scans of every kind: images, a series, a volume, a stack, damaged and passed over."""
    from tumorlens.study.phantom.volumes import draw_volume, write_dicom, write_nifti

    heads = write_heads(folder / "images", 3)
    (folder / "images" / "broken.png").write_bytes(heads[0].read_bytes()[:60])
    (folder / "images" / "notes.txt").write_text("no scan")
    volume = draw_volume("mri", "healthy", seed=1, side=64)
    (folder / "dicom").mkdir()
    write_dicom(volume, folder / "dicom", seed=1)
    write_nifti(volume, folder / "volume.nii.gz")
    pages = [Image.fromarray(np.asarray(Image.open(head))) for head in heads]
    pages[0].save(folder / "stack.tif", save_all=True, append_images=pages[1:])
    return folder


def write_zip(path: Path, files: Sequence[Path]) -> Path:
    """Pack files into a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, f"inner/{file.name}")
    return path


def copy_of(job: Folder, to: Path) -> Folder:
    """Return a copy of a job, which a test may harm."""
    shutil.copytree(job.url, to)
    return Folder(str(to))
