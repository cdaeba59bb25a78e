"""A loaded bundle that answers: scans in, Predictions out, whatever the door."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import ImageError
from tumorlens.images.raster import read_scan, read_scan_bytes
from tumorlens.inputs.prepare import prepare
from tumorlens.models.bundle import Bundle, load_bundle
from tumorlens.models.engine import Engine
from tumorlens.predictions.abstention import decide, neighbor_distance
from tumorlens.predictions.calibration import calibrated
from tumorlens.predictions.heatmaps import tumor_evidence
from tumorlens.records import Heatmap, Prediction, Scan
from tumorlens.settings import Settings

LEAST_TYPE_PROBABILITY = 0.5  # given a tumor; below it the type is undetermined
Reader = Callable[[], Scan]


@dataclass(frozen=True)
class PreparedScan:
    """A scan on its way to the network: it can wait here, where nothing but the head is left."""

    path: str
    pixels: NDArray[np.uint8]  # [side, side]
    notes: tuple[str, ...] = ()


class Predictor:
    """Predicts with one bundle; safe to use from several threads."""

    def __init__(self, bundle: Bundle, settings: Settings = Settings()) -> None:  # noqa: B008
        self.bundle = bundle
        self._settings = settings
        self._engine = Engine(bundle)

    def predict(
        self,
        paths: Sequence[str | Path],
        *,
        heatmaps: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Prediction]:
        """Predict files, in order; a file that cannot be used has its `error` set."""
        found = []
        for prediction in self.iter_predict(paths, heatmaps=heatmaps):
            found.append(prediction)
            if progress:
                progress(len(found), len(paths))
        return found

    def iter_predict(
        self, paths: Iterable[str | Path], *, heatmaps: bool = False
    ) -> Iterator[Prediction]:
        """Predict files one batch after the other, in order, in bounded memory."""
        ahead: deque[Future[list[Prediction]]] = deque()
        workers = self._settings.worker_count
        remaining = iter(paths)
        with ThreadPoolExecutor(workers) as pool:
            while True:
                while len(ahead) < 2 * workers:
                    batch = list(islice(remaining, self._settings.batch))
                    if not batch:
                        break
                    ahead.append(pool.submit(self._predict_files, batch, heatmaps))
                if not ahead:
                    return
                yield from ahead.popleft().result()

    def predict_scans(self, scans: Sequence[Scan], *, heatmaps: bool = False) -> list[Prediction]:
        """Predict scans that are in memory already, as one batch."""
        return self._predict_batch(
            [(scan.source, lambda scan=scan: scan) for scan in scans], heatmaps
        )

    def prepare_bytes(self, data: bytes, *, source: str) -> PreparedScan:
        """Decode and prepare one scan that is in memory; raises an ImageError."""
        limits = self._settings
        scan = read_scan_bytes(
            data, source=source, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels
        )
        return PreparedScan(source, prepare(scan, self.bundle.spec).pixels, scan.notes)

    def predict_prepared(
        self, ready: Sequence[PreparedScan], *, heatmaps: bool = False
    ) -> list[Prediction]:
        """Predict prepared scans, one or more, as one batch."""
        bundle = self.bundle
        raw = self._engine.run(np.stack([item.pixels for item in ready]))
        probabilities = calibrated(raw.logits, bundle.temperature)
        distances = neighbor_distance(raw.embedding, bundle.scope)
        evidence = tumor_evidence(raw.maps, probabilities, bundle.atoms) if heatmaps else None
        return [
            summarize(
                item.path,
                probabilities[row],
                float(distances[row]),
                bundle=bundle,
                notes=item.notes,
                heatmap=None if evidence is None else Heatmap(evidence[row], item.pixels),
            )
            for row, item in enumerate(ready)
        ]

    def _predict_files(self, paths: Sequence[str | Path], heatmaps: bool) -> list[Prediction]:
        return self._predict_batch([(str(path), self._reader(path)) for path in paths], heatmaps)

    def _reader(self, path: str | Path) -> Reader:
        limits = self._settings
        return lambda: read_scan(path, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)

    def _predict_batch(
        self, named: Sequence[tuple[str, Reader]], heatmaps: bool
    ) -> list[Prediction]:
        ready: dict[int, PreparedScan] = {}
        answers: dict[int, Prediction] = {}
        for position, (path, read) in enumerate(named):
            try:
                scan = read()
                pixels = prepare(scan, self.bundle.spec).pixels
                ready[position] = PreparedScan(path, pixels, scan.notes)
            except ImageError as error:
                answers[position] = Prediction(
                    path, bundle=self.bundle.version, error=f"{error.fact}. {error.fix}"
                )
        if ready:
            found = self.predict_prepared(list(ready.values()), heatmaps=heatmaps)
            answers |= dict(zip(ready, found, strict=True))
        return [answers[position] for position in range(len(named))]


def summarize(
    path: str,
    probabilities: NDArray[np.float64],
    distance: float,
    *,
    bundle: Bundle,
    notes: tuple[str, ...] = (),
    heatmap: Heatmap | None = None,
) -> Prediction:
    """Turn one row of calibrated probabilities, [atoms], into a Prediction."""
    atoms = bundle.atoms
    tumor = float(labels.tumor_probability(probabilities, atoms))
    mri = float(labels.modality_probability(probabilities, "mri", atoms))
    modality = "mri" if mri >= 0.5 else "ct"
    decision = decide(
        tumor, distance, threshold=bundle.threshold, band=bundle.abstention, scope=bundle.scope
    )
    given = labels.type_probabilities(probabilities, atoms) if modality == "mri" else []
    types = {name: float(p) for name, p in zip(labels.TYPES, given, strict=False)}
    return Prediction(
        path=path,
        modality=modality,
        modality_probability=max(mri, 1 - mri),
        tumor_probability=tumor,
        decision=decision,
        type=_type(types, decision),
        type_probabilities=types,
        threshold=bundle.threshold,
        bundle=bundle.version,
        notes=notes,
        heatmap=heatmap,
        atoms={atom: float(p) for atom, p in zip(atoms, probabilities, strict=True)},
    )


def _type(types: dict[str, float], decision: str) -> str:
    """Name the type where there may be a tumor; CT slices and close calls stay undetermined."""
    if decision not in ("tumor", "uncertain"):
        return ""
    best = max(types, key=lambda name: types[name], default="")
    return best if best and types[best] >= LEAST_TYPE_PROBABILITY else "undetermined"


def load_predictor(bundle: str | Path = "", settings: Settings = Settings()) -> Predictor:  # noqa: B008
    """Load a bundle (the shipped one without a name) and make it ready to predict."""
    return Predictor(load_bundle(bundle or settings.bundle), settings)
