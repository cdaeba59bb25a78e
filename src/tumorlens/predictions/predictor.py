"""A loaded bundle that answers, scans in, Predictions out; and whether it still does.

`self_test.png` is a phantom. A bundle keeps its own answer to it (`self_test` in bundle.json), so
that it can be told before the first scan that decoding, preparing, network and decision still do
what they did.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import BundleError
from tumorlens.inputs.prepare import prepare_bytes, prepare_frames, prepare_scan
from tumorlens.models.bundle import Bundle, SelfTest, load_bundle
from tumorlens.models.engine import Engine, RawOutputs
from tumorlens.predictions.decision import decide, neighbor_distance, softmax
from tumorlens.predictions.heatmaps import tumor_evidence
from tumorlens.progress import Progress, silent
from tumorlens.records import (
    Decision,
    Heatmap,
    Modality,
    Prediction,
    PreparedScan,
    Scan,
    TumorType,
    TypeAnswer,
    Unusable,
)
from tumorlens.settings import Settings

SELF_TEST = Path(__file__).with_name("self_test.png")
SELF_TEST_TOLERANCE = 1e-3  # of a probability: processors round differently, mistakes are larger
_REFIT = "Fetch or train the bundle again."
MISREAD = "the file says {}, the network alone would say {}"
MIN_TYPE_PROBABILITY = 0.5  # given a tumor; below it the type is undetermined


class Predictor:
    """Predicts with one bundle; safe to use from several threads."""

    def __init__(
        self, bundle: Bundle, settings: Settings = Settings(), *, embeddings: bool = False
    ) -> None:
        """Load the graph; with `embeddings` each Prediction keeps its own."""
        self.bundle = bundle
        rule = bundle.series_rule
        self._keeps_embedding = embeddings or (rule is not None and rule.uses_embedding)
        self._settings = settings
        self._engine = Engine(bundle)
        width = bundle.ood_reference.references.shape[1]
        if self._engine.width != width:
            fact = f"gives embeddings of {self._engine.width} numbers, its references have {width}"
            raise BundleError(bundle.graph, fact, _REFIT)

    def predict(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        heatmaps: bool = False,
        progress: Progress = silent,
    ) -> list[Prediction]:
        """Predict every slice of a file or of files, in order.

        One that cannot be used has its `error` set. Raises TypeError for what is no path.
        """
        found, paths = [], [paths] if isinstance(paths, str | Path) else paths
        for prediction in self.iter_predict(paths, heatmaps=heatmaps):
            found.append(prediction)
            progress(len(found), len(paths))
        return found

    def iter_predict(
        self, paths: str | Path | Iterable[str | Path], *, heatmaps: bool = False
    ) -> Iterator[Prediction]:
        """Predict files one batch after the other, in order, in bounded memory."""
        paths = [paths] if isinstance(paths, str | Path) else paths
        ahead: deque[Future[list[Prediction]]] = deque()
        workers = self._settings.worker_count
        remaining = iter(paths)
        with ThreadPoolExecutor(workers) as pool:
            while True:
                while len(ahead) < 2 * workers:
                    batch = [_path_of(path) for path in islice(remaining, self._settings.batch)]
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
            Prediction(item.path, bundle=version, error=item.reason, frame=item.frame)
            if isinstance(item, Unusable)
            else next(answers)
            for item in prepared
        ]

    def _run(self, usable: Sequence[PreparedScan], *, heatmaps: bool) -> list[Prediction]:
        bundle = self.bundle
        raw, probabilities, distances = self._measure(usable)
        answered = [
            labels.given_modality(row, item.modality, bundle.atoms)
            for item, row in zip(usable, probabilities, strict=True)
        ]
        evidence = tumor_evidence(raw.maps, np.stack(answered), bundle.atoms) if heatmaps else None
        found = [
            summarize(
                item.path,
                probabilities[row],
                float(distances[row]),
                bundle=bundle,
                modality=item.modality,
                notes=item.notes,
                is_plain=item.is_plain,
                frame=item.frame,
                heatmap=None
                if evidence is None
                else Heatmap(evidence[row], item.pixels, item.matrix),
            )
            for row, item in enumerate(usable)
        ]
        if not self._keeps_embedding:
            return found
        return [replace(p, embedding=row) for p, row in zip(found, raw.embedding, strict=True)]

    def _measure(
        self, usable: Sequence[PreparedScan]
    ) -> tuple[RawOutputs, NDArray[np.float64], NDArray[np.float64]]:
        """Return outputs, probabilities [n, atoms] and distances [n] of a batch."""
        raw = self._engine.run(np.stack([item.pixels for item in usable]))
        probabilities = softmax(raw.logits, self.bundle.temperature)
        return raw, probabilities, neighbor_distance(raw.embedding, self.bundle.ood_reference)

    def answer_self_test(self) -> SelfTest:
        """Return the answer to the self-test scan, read from its file."""
        prepared = self.prepare_bytes(SELF_TEST.read_bytes(), source=SELF_TEST.name)
        if isinstance(prepared, Unusable):
            fact = f"cannot prepare the self-test scan ({prepared.reason})"
            raise BundleError(self.bundle.folder, fact, _REFIT)
        _, probabilities, distances = self._measure([prepared])
        answer = summarize("", probabilities[0], float(distances[0]), bundle=self.bundle)
        return SelfTest(answer.atoms, answer.decision, float(distances[0]))

    def _predict_files(self, paths: Sequence[str | Path], heatmaps: bool) -> list[Prediction]:
        spec, limits = self.bundle.spec, self._settings.read_limits
        prepared = [item for path in paths for item in prepare_frames(path, spec, limits=limits)]
        return self.predict_prepared(prepared, heatmaps=heatmaps)


def _path_of(given: object) -> str | Path:
    if isinstance(given, str | Path):
        return given
    raise TypeError(
        f"{type(given).__name__} is no path: name files, or give pixels as "
        "predict_scans([Scan(pixels, name)])"
    )


def summarize(
    path: str,
    probabilities: NDArray[np.float64],
    distance: float,
    *,
    bundle: Bundle,
    modality: Modality | None = None,
    notes: tuple[str, ...] = (),
    is_plain: bool = True,
    frame: int | None = None,
    heatmap: Heatmap | None = None,
) -> Prediction:
    """Turn one row of calibrated probabilities, [atoms], into a Prediction.

    What is not one plain slice is out of scope. Where the file says its modality, the answer is the
    one given it; where the network alone would say the other, nothing is decided.
    """
    atoms = bundle.atoms
    mri = float(labels.modality_probability(probabilities, "mri", atoms))
    answered = labels.given_modality(probabilities, modality, atoms)
    tumor = float(labels.tumor_probability(answered, atoms))
    decision = _decision(tumor, distance, bundle) if is_plain else "out of scope"
    modality, misread = _modality(mri, modality)
    decision = "uncertain" if misread and decision != "out of scope" else decision
    types = _types_of(answered, atoms) if modality == "mri" else {}
    return Prediction(
        path=path,
        modality=modality,
        modality_probability=mri if modality == "mri" else 1 - mri,
        tumor_probability=tumor,
        decision=decision,
        type=_type(types, decision),
        type_probabilities=types,
        threshold=bundle.threshold,
        bundle=bundle.version,
        notes=(*notes, *misread),
        heatmap=heatmap,
        frame=frame,
        atoms={atom: float(p) for atom, p in zip(atoms, answered, strict=True)},
    )


def _modality(mri: float, stated: Modality | None) -> tuple[Modality, tuple[str, ...]]:
    """Return what the file says, else what the network sees; a note where these differ."""
    seen: Modality = "mri" if mri >= 0.5 else "ct"
    if stated in (None, seen):
        return seen, ()
    return stated, (MISREAD.format(stated.upper(), seen.upper()),)


def _types_of(probabilities: NDArray[np.floating], atoms: Sequence[str]) -> dict[TumorType, float]:
    given = labels.type_probabilities(probabilities, atoms).tolist()
    return dict(zip(labels.TYPES, given, strict=True))


def _decision(tumor: float, distance: float, bundle: Bundle) -> Decision:
    return decide(
        tumor,
        distance,
        threshold=bundle.threshold,
        band=bundle.uncertainty_band,
        reference=bundle.ood_reference,
    )


def _type(types: Mapping[TumorType, float], decision: Decision) -> TypeAnswer:
    """Name the type where there may be a tumor; CT slices and close calls stay undetermined."""
    if decision not in ("tumor", "uncertain"):
        return ""
    best = max(types, key=lambda name: types[name], default=None)
    return best if best and types[best] >= MIN_TYPE_PROBABILITY else "undetermined"


def load_predictor(bundle: str | Path = "", settings: Settings = Settings()) -> Predictor:
    """Load a bundle (the shipped one without a name), test it, and make it ready to predict.

    Raises BundleError as `load_bundle` and `check_self_test` do.
    """
    predictor = Predictor(load_bundle(bundle or settings.bundle), settings)
    check_self_test(predictor)
    return predictor


def check_self_test(predictor: Predictor) -> str:
    """Answer the self-test scan and tell how that compares; raises BundleError where it differs."""
    bundle, found = predictor.bundle, predictor.answer_self_test()
    _check_decisions(bundle)
    if not abs(sum(found.atoms.values()) - 1) < SELF_TEST_TOLERANCE:  # also NaN
        fact = "gives probabilities that do not sum to 1 for the self-test scan"
        raise BundleError(bundle.graph, fact, _REFIT)
    known = bundle.self_test
    if not known.atoms:
        return "self-test scan answered; this bundle keeps no answer to compare with"
    differences = [abs(found.atoms[atom] - known.atoms[atom]) for atom in bundle.atoms]
    if known.distance is not None and found.distance is not None:
        differences.append(abs(found.distance - known.distance))
    worst = max(differences)
    if worst > SELF_TEST_TOLERANCE:
        fact = f"answers the self-test scan differently than when it was made (by {worst:.4f})"
        raise BundleError(bundle.graph, fact, "Reinstall the versions in requirements.lock.")
    if known.decision and found.decision != known.decision and not _is_close_call(bundle):
        fact = f"calls the self-test scan {found.decision}; it was {known.decision} when made"
        raise BundleError(bundle.folder, fact, _REFIT)
    return f"self-test scan answered as when the bundle was made (largest difference {worst:.1e})"


def _check_decisions(bundle: Bundle) -> None:
    """Raise BundleError where a certain tumor, no tumor at all or a foreign image is not called so.

    Only the scan at hand would else show that a threshold or limit compares with nothing.
    """
    expected = {(1.0, 0.0): "tumor", (1.0, np.inf): "out of scope"}
    if bundle.threshold != 0:
        expected[0.0, 0.0] = "no tumor"
    for (p, distance), decision in expected.items():
        found = decide(
            p,
            distance,
            threshold=bundle.threshold,
            band=bundle.uncertainty_band,
            reference=bundle.ood_reference,
        )
        if found != decision:
            fact = f"calls a tumor probability of {p} at distance {distance} {found}"
            raise BundleError(bundle.folder, fact, _REFIT)


def _is_close_call(bundle: Bundle) -> bool:
    """Return whether rounding may turn the decision on the self-test scan."""
    known, band = bundle.self_test, bundle.uncertainty_band
    p = sum(value for atom, value in known.atoms.items() if not atom.endswith("_healthy"))
    pairs = [(p, edge) for edge in (bundle.threshold, band.low, band.high)]
    if known.distance is not None:
        pairs.append((known.distance, bundle.ood_reference.limit))
    return any(abs(value - edge) <= SELF_TEST_TOLERANCE for value, edge in pairs)
