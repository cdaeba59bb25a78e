"""A loaded bundle that answers: scans in, Predictions out, whatever the door."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.inputs.prepare import prepare_bytes, prepare_frames, prepare_scan
from tumorlens.models.bundle import Bundle, load_bundle
from tumorlens.models.engine import Engine
from tumorlens.predictions.abstention import decide, neighbor_distance
from tumorlens.predictions.calibration import calibrated
from tumorlens.predictions.heatmaps import tumor_evidence
from tumorlens.records import Heatmap, Prediction, PreparedScan, Scan, Unusable
from tumorlens.settings import Settings

MIN_TYPE_PROBABILITY = 0.5  # given a tumor; below it the type is undetermined


class Predictor:
    """Predicts with one bundle; safe to use from several threads."""

    def __init__(self, bundle: Bundle, settings: Settings = Settings()) -> None:
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
        """Predict every slice of files, in order; one that cannot be used has its `error` set."""
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
        prepared = [prepare_scan(scan, self.bundle.spec) for scan in scans]
        return self.predict_prepared(prepared, heatmaps=heatmaps)

    def prepare_bytes(self, data: bytes, *, source: str) -> PreparedScan | Unusable:
        """Read and prepare one scan that is in memory, as this predictor needs it."""
        limits = self._settings.read_limits
        return prepare_bytes(data, self.bundle.spec, source=source, limits=limits)

    def predict_prepared(
        self, prepared: Sequence[PreparedScan | Unusable], *, heatmaps: bool = False
    ) -> list[Prediction]:
        """Predict prepared scans as one batch, in order; an unusable one has its `error` set."""
        usable = [item for item in prepared if isinstance(item, PreparedScan)]
        answers = iter(self._run(usable, heatmaps=heatmaps) if usable else ())
        version = self.bundle.version
        return [
            Prediction(item.path, bundle=version, error=item.reason)
            if isinstance(item, Unusable)
            else next(answers)
            for item in prepared
        ]

    def _run(self, usable: Sequence[PreparedScan], *, heatmaps: bool) -> list[Prediction]:
        bundle = self.bundle
        raw = self._engine.run(np.stack([item.pixels for item in usable]))
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
            for row, item in enumerate(usable)
        ]

    def _predict_files(self, paths: Sequence[str | Path], heatmaps: bool) -> list[Prediction]:
        spec, limits = self.bundle.spec, self._settings.read_limits
        prepared = [item for path in paths for item in prepare_frames(path, spec, limits=limits)]
        return self.predict_prepared(prepared, heatmaps=heatmaps)


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
    return best if best and types[best] >= MIN_TYPE_PROBABILITY else "undetermined"


def load_predictor(bundle: str | Path = "", settings: Settings = Settings()) -> Predictor:
    """Load a bundle (the shipped one without a name) and make it ready to predict."""
    return Predictor(load_bundle(bundle or settings.bundle), settings)
