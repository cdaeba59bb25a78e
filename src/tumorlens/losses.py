"""What was given and could not be used, in words: counts by class and by reason."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

MAX_REASONS = 5  # named on one line


def counted(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> counted(1, "scan"), counted(1200, "scan")
    ('1 scan', '1,200 scans')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def describe_passed_over(counts: Mapping[str, int]) -> str:
    """Return how many files of each kind were passed over, "" for none.

    >>> describe_passed_over({".txt file": 2, "mask": 1})
    '2 .txt files, 1 mask'
    """
    return ", ".join(counted(count, kind) for kind, count in counts.items())


def listed(counts: Mapping[str, int], *, limit: int = MAX_REASONS) -> str:
    """Return counts by name, the largest first.

    >>> listed({"blank": 1, "empty": 4})
    '4 empty, 1 blank'
    """
    rows = Counter(counts).most_common()
    named = [f"{count:,} {name}" for name, count in rows[:limit]]
    rest = sum(count for _, count in rows[limit:])
    return ", ".join([*named, *([f"{rest:,} for other reasons"] if rest else [])])


def reason_of(error: str) -> str:
    """Return why a scan could not be used, without what is true of that file alone.

    >>> reason_of("damaged or incomplete (3 bytes are missing). Export the slice again.")
    'damaged or incomplete'
    """
    return re.split(r"\s*\(|\. |: ", error, maxsplit=1)[0].rstrip(".")


def describe_losses(errors: Sequence[str], labels: Sequence[str] = ()) -> str:
    """Return in one line which of n scans could not be used, "" where all could.

    `errors`, [n], are "" for a scan that could; `labels`, [n], are their classes where they have
    some.

    >>> describe_losses(["is empty (0 bytes)", ""], ["healthy", "tumor"])
    '1 of 2 scans could not be read (1 of 1 healthy): 1 is empty'
    """
    lost = [row for row, error in enumerate(errors) if error]
    if not lost:
        return ""
    totals, missing = Counter(labels), Counter(labels[row] for row in lost if labels)
    classes = ", ".join(f"{n:,} of {totals[name]:,} {name}" for name, n in missing.most_common())
    of = f"{len(lost):,} of {counted(len(errors), 'scan')} could not be read"
    reasons = listed(Counter(reason_of(errors[row]) for row in lost))
    return f"{of}{f' ({classes})' if classes else ''}: {reasons}"
