"""What a network is good for, in one plain sentence, so that nobody has to read it out of rates."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from tumorlens.records import Estimate

_RARELY = 0.05  # of the scans
_CHANCE = 0.5  # AUC of a guess
NAMES = {"all": "of all scans", "ct": "of CT", "mri": "of MRI"}


class Figures(Protocol):
    """What is known of some scans, as bundles and evaluations record it."""

    @property
    def auc(self) -> Estimate: ...  # noqa: D102
    @property
    def sensitivity(self) -> Estimate: ...  # noqa: D102
    @property
    def specificity(self) -> Estimate: ...  # noqa: D102


def usefulness(found: Figures) -> str:
    """Return what a network is good for by its figures at its threshold.

    It is of use where its interval of the AUC lies above that of a guess, and where it calls
    tumors "tumor" more often than other scans, beyond both intervals.
    """
    auc, sensitivity, specificity = found.auc, found.sensitivity, found.specificity
    if auc.value is None or sensitivity.value is None or specificity.value is None:
        return "cannot be judged: that takes scans with and without a tumor"
    if specificity.value <= _RARELY:
        every = "every scan" if specificity.value == 0 else "nearly every scan"
        return f"calls {every} a tumor: no use yet (specificity {specificity})"
    if sensitivity.value <= _RARELY:
        every = "no scan" if sensitivity.value == 0 else "hardly any scan"
        return f"calls {every} a tumor: no use yet (sensitivity {sensitivity})"
    if auc.low is None or auc.low <= _CHANCE:
        return f"may be guessing: no use yet (AUC {auc}; a guess has 0.5)"
    rates = f"sensitivity {sensitivity}, specificity {specificity}"
    if _least(sensitivity) <= 1 - _least(specificity):
        return (
            f"ranks scans better than a guess (AUC {auc}), and at its threshold calls tumors no "
            f"more often a tumor than other scans: no use yet ({rates})"
        )
    return (
        f"tells scans with a tumor from others: it calls {sensitivity.value:.0%} of the tumors and "
        f"{1 - specificity.value:.0%} of the other scans a tumor ({rates}, AUC {auc})"
    )


def _least(rate: Estimate) -> float:
    assert rate.value is not None
    return rate.value if rate.low is None else rate.low


def describe_usefulness(figures: Mapping[str, Figures]) -> Iterator[str]:
    """Yield a sentence for all scans, and one for each modality on which it differs in kind.

    `figures` are by `all`, `ct` and `mri`, as far as they are there.
    """
    whole = usefulness(figures["all"]) if "all" in figures else ""
    if whole:
        yield f"{NAMES['all']}: the network {whole}"
    for name in ("ct", "mri"):
        said = usefulness(figures[name]) if name in figures else ""
        if said and _is_useless(said) and not (whole and _is_useless(whole)):
            yield f"{NAMES[name]}: the network {said}"


def _is_useless(sentence: str) -> bool:
    return "no use yet" in sentence
