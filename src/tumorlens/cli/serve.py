"""The commands of the service: serve, keys, audit-trail."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tumorlens.cli.options import Bundle, Host, Port, RetentionDays, Workers, check_address
from tumorlens.cli.progress import console, counting, print_notice
from tumorlens.settings import Settings, load_settings

BROKEN_STATUS = 1  # the audit trail does not verify
# One slice is far smaller; what is decoded at once has to fit beside the rest in little memory.
SERVICE_MAX_PIXELS = 16_000_000

Store = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="A file, or postgresql://USER:PASSWORD@HOST/NAME; default: TUMORLENS_STORE, else a "
        "file in the user's data folder.",
    ),
]
NeedsKeys = Annotated[
    bool | None,
    typer.Option(
        "--keys/--no-keys",
        help="Ask for API keys; default: yes, unless only this machine is served.",
    ),
]
KeepImages = Annotated[
    bool | None,
    typer.Option(
        "--keep-images",
        help="Keep the prepared image with each answer; the scan itself is never kept.",
    ),
]
KeepNames = Annotated[
    bool | None,
    typer.Option("--keep-names", help="Keep the names of files, which may name patients."),
]
keys_app = typer.Typer(no_args_is_help=True, help="API keys of the service.")
trail_app = typer.Typer(no_args_is_help=True, help="Who asked what, and whether it still stands.")


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    bundle: Bundle = "",
    store: Store = None,
    keys: NeedsKeys = None,
    keep_images: KeepImages = None,
    keep_names: KeepNames = None,
    retention_days: RetentionDays = None,
    workers: Workers = None,
) -> None:
    """Serve predictions over HTTP; the API is described at /docs.

    Scans are answered in memory; what is kept is the answer. Example: `tumorlens serve`, then
    `curl -F file=@slice.png http://127.0.0.1:8000/v1/predict`
    """
    from tumorlens.services.http.authenticator import is_loopback
    from tumorlens.services.http.server import serve as run

    settings = _service_settings(
        bundle=bundle or None, store=store, keep_images=keep_images, keep_names=keep_names,
        retention_days=retention_days, workers=workers,
    )  # fmt: skip
    needs_keys = not is_loopback(host) if keys is None else keys
    check_address(host, port)
    where = f"[{host}]" if ":" in host else host
    console.print(f"http://{where}:{port}/docs  (Ctrl+C stops)")
    print_notice()
    run(settings, host=host, port=port, needs_keys=needs_keys)


def _service_settings(**flags: Any) -> Settings:
    """Read settings; the cap on pixels is a service's own where nobody has set it."""
    settings = load_settings(**flags)
    if settings.max_pixels != Settings.max_pixels:
        return settings
    return dataclasses.replace(settings, max_pixels=SERVICE_MAX_PIXELS)


def _open(store: str | None) -> Any:
    from tumorlens.services.store.database import open_store

    settings = load_settings(store=store)
    return open_store(settings.store, audit_key=settings.audit_key)


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who will use it.")],
    scopes: Annotated[
        str, typer.Option(metavar="LIST", help="Of predict, read, admin; commas between.")
    ] = "predict",
    days: Annotated[int | None, typer.Option(min=1, help="After which it ends.")] = None,
    store: Store = None,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    `predict` sends scans and sees its own answers, `read` sees and reviews all, `admin` may
    do everything. Example: `tumorlens keys create ward-3 --scopes predict,read --days 365`
    """
    from tumorlens.services.store.keys import create_key

    asked = frozenset(word.strip() for word in scopes.split(",") if word.strip())
    key, secret = create_key(_open(store), name, scopes=asked, days=days)
    console.print(f"key {key.id} for {escape(name)}: {' '.join(sorted(key.scopes))}")
    console.print("Keep it now, it cannot be shown again.")
    typer.echo(secret)


@keys_app.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="See `tumorlens keys list`.")],
    store: Store = None,
) -> None:
    """End a key; a running service notices within five seconds.

    Example: `tumorlens keys revoke 3f9a0c11d2e4`
    """
    from tumorlens.services.store.keys import revoke_key

    revoke_key(_open(store), id)
    console.print(f"{escape(id)} is revoked")


@keys_app.command("list")
def list_all(store: Store = None) -> None:
    """List keys: id, name, scopes, state, since when. Example: `tumorlens keys list`."""
    from tumorlens.services.store.keys import key_time, list_keys

    opened = _open(store)
    at = key_time(opened)
    for key in list_keys(opened):
        ended = "revoked" if key.revoked_at else "expired"
        state = "valid" if key.is_valid(at) else ended
        scopes = ",".join(sorted(key.scopes))
        typer.echo(f"{key.id}  {state:8} {scopes:20} {key.created_at[:10]}  {key.name}")


@trail_app.command("verify")
def verify_trail(
    store: Store = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="NUMBER:HASH", help="An entry that was kept elsewhere; repeatable."),
    ] = None,
    heads: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Exported heads; default: TUMORLENS_AUDIT_HEADS."),
    ] = None,
) -> None:
    """Compare every stored row with the audit trail, and recompute the trail's hashes.

    Exit status 1 if something was altered, removed or inserted. Set TUMORLENS_AUDIT_KEY to check
    the signature. Prints the end of the trail: kept elsewhere, it pins the history.
    Example: `tumorlens audit-trail verify --expect "$(cat head.txt)"`
    """
    from tumorlens.services.store.verification import verify

    expected = _expected_heads(expect or [], heads)
    with counting("verifying") as progress:
        verdict = verify(_open(store), expected=expected, progress=progress)
    for problem in verdict.problems[:50]:
        console.print(f"[red]broken[/red] {escape(problem)}")
    for note in verdict.notes[:50]:
        console.print(f"[yellow]note[/yellow]   {escape(note)}")
    compared = f", {len(expected)} compared with what was kept elsewhere" if expected else ""
    console.print(f"{verdict.entries} entries{compared}, {len(verdict.problems)} problems")
    typer.echo(verdict.head)
    raise typer.Exit(BROKEN_STATUS if verdict.problems else 0)


def _expected_heads(texts: list[str], file: Path | None) -> list[tuple[int, str]]:
    from tumorlens.errors import StoreError
    from tumorlens.services.store.verification import read_heads, read_heads_file

    found = []
    for text in texts:
        heads = read_heads(text)
        if not heads:
            fix = "Give what `tumorlens audit-trail head` printed."
            raise StoreError(text or "--expect", "holds no NUMBER:HASH", fix)
        found += heads
    default = load_settings().audit_heads
    chosen = file or (Path(default) if default else None)
    return found + (read_heads_file(chosen) if chosen else [])


@trail_app.command("head")
def show_head(store: Store = None) -> None:
    """Print the end of the audit trail as NUMBER:HASH; kept elsewhere, it pins the history.

    Example: `tumorlens audit-trail head >> /mnt/elsewhere/heads.txt`
    """
    from tumorlens.services.store.audit_log import get_head

    head = get_head(_open(store))
    console.print(f"{'signed' if head.signature else 'not signed'}, latest entry {head.latest_at}")
    typer.echo(head)


@trail_app.command("sign")
def sign_trail(store: Store = None) -> None:
    """Sign from now on an audit trail that was not signed, or was with another key.

    Look at it with `verify` before. An entry says since when it is signed, and by whom. Needs
    TUMORLENS_AUDIT_KEY. Example: `TUMORLENS_AUDIT_KEY=/run/audit-key tumorlens audit-trail sign`
    """
    from tumorlens.services.store.audit_log import start_signing

    typer.echo(start_signing(_open(store)))


@trail_app.command("show")
def show_trail(
    store: Store = None,
    last: Annotated[int, typer.Option(min=1, help="Entries from the end.")] = 20,
) -> None:
    """Print the last entries: number, time, who, what, of which. Example: `tumorlens audit-trail show`."""  # noqa: E501
    from tumorlens.services.store.audit_log import entries, get_head

    opened = _open(store)
    for entry in entries(opened, after=max(0, get_head(opened).number - last)):
        event = entry.event
        typer.echo(
            f"{entry.number}  {entry.created_at}  {event.actor}  {event.action}  {event.subject}"
        )
