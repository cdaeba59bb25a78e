"""The commands of the service: serve, keys, audit-trail."""

import dataclasses
from typing import Annotated, Any

import typer
from rich.markup import escape

from tumorlens.cli.options import Bundle, Host, Port, RetentionDays, Workers
from tumorlens.cli.progress import console
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
    where = f"[{host}]" if ":" in host else host
    console.print(f"http://{where}:{port}/docs  (Ctrl+C stops)")
    console.print("Research use only. Not a medical device.", style="dim")
    run(settings, host=host, port=port, needs_keys=needs_keys)


def _service_settings(**flags: Any) -> Settings:
    """Read settings; the cap on pixels is a service's own where nobody has set it."""
    settings = load_settings(**flags)
    if settings.max_pixels != Settings.max_pixels:
        return settings
    return dataclasses.replace(settings, max_pixels=SERVICE_MAX_PIXELS)


def _open(store: str | None) -> Any:
    from tumorlens.services.store.database import open_store

    return open_store(load_settings(store=store).store)


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
    from tumorlens.services.store.audit_log import now
    from tumorlens.services.store.keys import list_keys

    for key in list_keys(_open(store)):
        ended = "revoked" if key.revoked_at else "expired"
        state = "valid" if key.is_valid(now()) else ended
        scopes = ",".join(sorted(key.scopes))
        typer.echo(f"{key.id}  {state:8} {scopes:20} {key.created_at[:10]}  {key.name}")


@trail_app.command("verify")
def verify_trail(store: Store = None) -> None:
    """Recompute the hash chain of the audit trail, and the hashes of stored answers.

    Exit status 1 if something was altered, removed or inserted. Prints the last hash: kept
    elsewhere, it pins the history. Example: `tumorlens audit-trail verify`
    """
    from tumorlens.services.store.audit_log import verify

    verdict = verify(_open(store))
    for problem in verdict.problems[:50]:
        console.print(f"[red]broken[/red] {escape(problem)}")
    console.print(f"{verdict.entries} entries, {len(verdict.problems)} problems")
    typer.echo(verdict.head)
    raise typer.Exit(BROKEN_STATUS if verdict.problems else 0)


@trail_app.command("show")
def show_trail(
    store: Store = None,
    last: Annotated[int, typer.Option(min=1, help="Entries from the end.")] = 20,
) -> None:
    """Print the last entries: number, time, who, what, of which. Example: `tumorlens audit-trail show`."""  # noqa: E501
    from tumorlens.services.store.audit_log import entries, length

    opened = _open(store)
    for entry in entries(opened, after=max(0, length(opened) - last)):
        event = entry.event
        typer.echo(
            f"{entry.number}  {entry.created_at}  {event.actor}  {event.action}  {event.subject}"
        )
