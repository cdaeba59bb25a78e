"""The commands before a training: audit, which says what is wrong with a set, and split."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tumorlens.cli.options import (
    Folders,
    Out,
    Overwrite,
    found_groups,
    print_left_out,
    print_losses,
    read_labeled,
)
from tumorlens.cli.progress import console, counting
from tumorlens.outputs import Outputs
from tumorlens.settings import load_settings
from tumorlens.worker_process import use_one_thread

if TYPE_CHECKING:
    from tumorlens.study.audit.result import AuditResult

JUDGED = (
    "The split to judge: a split file, or a CSV with path and split. "
    "Default: the one the folders publish."
)
SplitFile = Annotated[Path | None, typer.Option("--split", help=JUDGED)]
Allow = Annotated[bool, typer.Option("--allow", help="Exit with 0 even if the split leaks.")]
BundleName = Annotated[str, typer.Option(help="Prepares the scans; default: shipped.")]
Cache = Annotated[str | None, typer.Option(help="Folder of fingerprints.")]

SplitOut = Annotated[Path, typer.Option(help="The split file to write.")]
Test = Annotated[float, typer.Option(help="Share of cases in test.")]
Val = Annotated[float, typer.Option(help="Share of cases in validation.")]
SplitSeed = Annotated[int, typer.Option(help="Another seed, another split.")]
Published = Annotated[
    bool, typer.Option("--published", help="Keep the folders' own split; print its leaks.")
]
AuditFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Groups of `tumorlens audit`, instead of a new search; the audit may have seen "
        "more folders, whose patients then count.",
    ),
]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Put a whole source or site into test, with all that belongs with it: SET/PATH with "
        "wildcards, such as 'bohaju/*' or 'lgg/*TCGA_HT_*'. May be given several times.",
    ),
]


def audit(
    folders: Folders,
    out: Out,
    split_file: SplitFile = None,
    allow: Allow = False,
    bundle: BundleName = "",
    cache: Cache = None,
    overwrite: Overwrite = False,
) -> None:
    """Find copies, patients across parts, label conflicts, shortcuts and burned-in text.

    Finds copies that were flipped, turned, brightened, cropped, resized or compressed, within and
    between folders. Exits with 1 if the split leaks. Example: `tumorlens audit scans/ --out audit`
    """
    use_one_thread()
    from datetime import UTC, datetime

    from tumorlens.models.bundle import load_bundle
    from tumorlens.study.audit.page import PAGE, verdict, write_audit
    from tumorlens.study.audit.run import audit_cases
    from tumorlens.study.data import splits

    cases = read_labeled(folders, unlabeled=True)
    settings = load_settings(cache=cache)
    parts = splits.parts_in(split_file, cases) if split_file else None
    Outputs(*folders, split_file, bundle, overwrite=overwrite).claim_folder(out)
    found = audit_cases(
        cases, load_bundle(bundle or settings.bundle), cache=settings.cache_folder, parts=parts,
        split=str(split_file or ""), steps=counting,
    )  # fmt: skip
    with counting("drawing the page"):
        result = write_audit(found, out, folders=[str(f) for f in folders], now=datetime.now(UTC))
    _print(result)
    print_losses(found.survey.errors, [c.label for c in cases], where="files.csv")
    console.print(verdict(result), markup=False)
    typer.echo(out / PAGE)
    if found.leaking and not allow:
        raise typer.Exit(1)


def _print(result: "AuditResult") -> None:
    console.print(
        f"{result.n} files, {result.images} distinct images, "
        f"{result.groups} independent groups; {result.quality.unreadable} unreadable"
    )
    for name, row in result.datasets.items():
        console.print(
            f"  {name:15} {row.n:6} files {row.images:6} images {row.groups:6} groups",
            markup=False,
        )
    for note in result.notes:
        console.print(note, markup=False)
    images = result.conflicts.images
    console.print(
        f"images under contradictory labels {images['contradictory']}, "
        f"refining {images['refining']}; "
        f"files with burned-in text {result.privacy.with_text}"
    )
    if result.n_label_doubts:
        console.print(
            f"labels that the other scans do not support {result.n_label_doubts}, "
            "a list to look at: label_check.csv"
        )
    traced = result.split.leaks.test_tumors if result.split.leaks else {}
    if traced.get("traceable"):
        console.print(
            f"test tumors with a known patient {traced['traceable']}, "
            f"of them with that patient in train {traced['in_train']}"
        )


def split(
    folders: Folders,
    out: SplitOut,
    test: Test = 0.15,
    val: Val = 0.15,
    seed: SplitSeed = 0,
    published: Published = False,
    audit: AuditFolder = None,
    leave_out: LeaveOut = None,
    overwrite: Overwrite = False,
) -> None:
    """Split into train, validation and test by whole patients and images.

    Copies (also flipped, rotated, brightened ones), neighboring slices, recorded patients and
    given groups stay together. Example: `tumorlens split scans/ --out split.csv`
    """
    from tumorlens.study.data import splits

    cases = read_labeled(folders)
    if published:
        splits.published_parts(cases)  # refused before the search for copies
    outputs = Outputs(*folders, audit, overwrite=overwrite)
    outputs.claim_table(out, splits.COLUMNS, splits.FIRST_COLUMNS)
    groups = found_groups(cases, audit)

    def divide(some: Sequence[Any], of_some: Any) -> list[str]:
        if published:
            return splits.published_parts(some)
        parts = splits.split_cases(some, of_some, test=test, val=val, seed=seed)
        return splits.leave_out(some, parts, of_some, leave_out) if leave_out else parts

    parts = splits.split_usable(cases, groups, divide=divide)
    made = splits.write_split(out, cases, parts, groups=groups)
    _print_groups(cases, groups)
    _print_parts(cases, parts)
    print_left_out(cases, made)
    labels = [case.label for case in cases]
    _print_leaks(splits.find_leaks(labels, parts, groups.groups), cases)
    console.print(f"fingerprint {made.fingerprint}")
    typer.echo(out)


def _print_groups(cases: list[Any], groups: Any) -> None:
    readable = groups if groups.usable is None else groups.take(groups.usable.nonzero()[0])
    images, together = (len(set(ids.tolist())) for ids in (readable.image_ids, readable.groups))
    console.print(f"{len(readable.groups)} scans, {images} distinct images, {together} groups")


def _print_parts(cases: list[Any], parts: list[str]) -> None:
    from collections import Counter

    counts = Counter(zip((case.label for case in cases), parts, strict=True))
    for label in sorted({case.label for case in cases}):
        row = "  ".join(f"{part} {counts[label, part]:5}" for part in ("train", "val", "test"))
        console.print(f"{label:15} {row}")


def _print_leaks(leaks: list[Any], cases: list[Any]) -> None:
    from tumorlens.study.data.groups import LOOKED_FOR, NOT_KNOWABLE

    if not leaks or not leaks[0].in_train_or_val:
        known = sum(bool(case.patient) for case in cases)
        console.print(
            "no test scan has a copy, a look-alike neighbor or a recorded patient in train or val\n"
            f"looked for: {LOOKED_FOR}; a patient is recorded for {known} of {len(cases)} scans\n"
            f"cannot be known: {NOT_KNOWABLE}"
        )
        return
    console.print("test scans with a copy, a neighbor or their patient in train (in train or val):")
    for leak in leaks:
        console.print(
            f"{leak.label:15} {leak.in_train:5} ({leak.in_train_or_val}) of {leak.n}"
            f"  = {leak.share:.1%}"
        )
