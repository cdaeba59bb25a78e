"""One scan whose answer is known, to tell whether this machine computes what it should.

`self_test.png` is a phantom. A bundle keeps its own answer to it (`golden` in bundle.json), so a
service can tell at its start that decoding, preparing and network still do what they did.
"""

from collections.abc import Mapping
from pathlib import Path

from tumorlens.errors import BundleError
from tumorlens.predictions.predictor import Predictor

GOLDEN = Path(__file__).with_name("self_test.png")
TOLERANCE = 1e-3  # of a probability: processors round differently, mistakes are larger


def golden_answer(predictor: Predictor) -> Mapping[str, float]:
    """Give the probability of each atom for the golden scan, read from its file."""
    prepared = predictor.prepare_bytes(GOLDEN.read_bytes(), source=GOLDEN.name)
    return predictor.predict_prepared([prepared])[0].atoms


def check_golden(predictor: Predictor) -> str:
    """Answer the golden scan and say how that compares; raises BundleError where it differs."""
    found = golden_answer(predictor)
    bundle = predictor.bundle
    if not abs(sum(found.values()) - 1) < TOLERANCE:  # also NaN
        fact = "gives probabilities that do not sum to 1 for the golden scan"
        raise BundleError(bundle.graph, fact, "Fetch or train the bundle again.")
    known = bundle.details.get("golden")
    if known is None:
        return "golden scan answered; this bundle keeps no answer to compare with"
    worst = max(abs(found[atom] - known[atom]) for atom in bundle.atoms)
    if worst > TOLERANCE:
        fact = f"answers the golden scan differently than when it was made (by {worst:.4f})"
        raise BundleError(bundle.graph, fact, "Reinstall the versions in requirements.lock.")
    return f"golden scan answered as when the bundle was made (largest difference {worst:.1e})"
