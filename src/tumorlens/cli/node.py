"""`tumorlens dicom node`: series come in over the network, results go back."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorlens.cli.options import Bundle, Host, Port
from tumorlens.cli.progress import console, print_notice
from tumorlens.cli.serve import Store
from tumorlens.errors import SettingsError
from tumorlens.settings import load_settings

if TYPE_CHECKING:
    from tumorlens.services.node.node import Node
    from tumorlens.services.node.receiver import ReceiverOptions
    from tumorlens.services.store import Store as OpenStore
    from tumorlens.settings import Settings

Spool = Annotated[Path, typer.Argument(metavar="SPOOL", help="Folder for what is in work.")]
Routes = Annotated[
    Path | None, typer.Option(help="TOML: where results go. Without: into the store alone.")
]
Title = Annotated[str, typer.Option(help="Application entity title of this node.")]
Callers = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="AE", help="Title that may send; repeatable. Default: any."),
]
Quiet = Annotated[
    float, typer.Option(min=1, metavar="SECONDS", help="Without a slice: the series is complete.")
]
Quota = Annotated[int, typer.Option(min=1, metavar="MIB", help="Most that the spool may hold.")]
KeepHours = Annotated[
    float,
    typer.Option(min=0, metavar="HOURS", help="Keep series after their results were sent."),
]
Certificate = Annotated[
    Path | None, typer.Option("--tls-cert", help="Certificate (PEM): asks for TLS.")
]
CertificateKey = Annotated[Path | None, typer.Option("--tls-key", help="Its key (PEM).")]
Clients = Annotated[
    Path | None, typer.Option("--tls-clients", help="Authority whose clients alone may connect.")
]
Metrics = Annotated[
    str, typer.Option(metavar="[HOST:]PORT", help="Answer /metrics there; HOST is 127.0.0.1.")
]
ListDead = Annotated[
    bool, typer.Option("--list-dead", help="List series that could not be dealt with, and why.")
]
RetryDead = Annotated[bool, typer.Option("--retry-dead", help="Put them to work again.")]


def node(
    spool: Spool,
    routes: Routes = None,
    title: Title = "TUMORLENS",
    host: Host = "127.0.0.1",
    port: Port = 11112,
    callers: Callers = None,
    quiet: Quiet = 30.0,
    quota: Quota = 50 * 1024,
    keep_hours: KeepHours = 0.0,
    tls: Certificate = None,
    tls_key: CertificateKey = None,
    tls_clients: Clients = None,
    metrics: Metrics = "",
    bundle: Bundle = "",
    store: Store = None,
    list_dead: ListDead = False,
    retry_dead: RetryDead = False,
) -> None:
    """Receive CT and MR series by C-STORE, answer each once it is complete, send results on.

    What is acknowledged is on disk, and is answered once, also after a kill.
    Example: `tumorlens dicom node spool/ --routes routes.toml --from CT_1`
    """
    from tumorlens.services.node.node import Node, NodeOptions
    from tumorlens.services.node.routes import read_routes
    from tumorlens.services.spool import Spool as Opened

    if list_dead:
        return _print_dead(spool)
    receiver = _receiver(host, port, title, callers, (tls, tls_key, tls_clients))
    rules = read_routes(routes) if routes else ()
    options = NodeOptions(quiet_s=quiet, keep_s=keep_hours * 3600, quota=quota * 2**20)
    opened = Opened(spool, max_bytes=options.quota)
    if retry_dead:
        console.print(f"{opened.retry_dead()} series put to work again")
    settings = load_settings(bundle=bundle or None, store=store)
    stored = _opened_store(settings)
    running = Node(opened, stored, settings, routes=rules, receiver=receiver, options=options)
    return _run(running, metrics)


def _opened_store(settings: "Settings") -> "OpenStore":
    """Open the store; what would fail at the first series is an error now."""
    from tumorlens.models.bundle import load_bundle
    from tumorlens.services.store import open_store
    from tumorlens.services.store.audit_log import check_signed

    load_bundle(settings.bundle)
    store = open_store(settings.store, audit_key=settings.audit_key)
    check_signed(store)
    return store


def _run(running: "Node", metrics: str) -> None:
    from tumorlens.services.node.metrics import serve_metrics

    signal.signal(signal.SIGTERM, lambda *_: running.stop())
    try:
        if metrics:
            served = serve_metrics(running.metrics, *_address(metrics))
            console.print(f"metrics on port {served.port}")
        console.print(f"listens on port {running.port}  (Ctrl+C stops)")
        print_notice()
        running.run()
    finally:
        running.stop()


def _address(text: str) -> tuple[str, int]:
    """Read [HOST:]PORT; raises SettingsError."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) >= 2**16:
        raise SettingsError("--metrics", f"{text} is no port", "Name [HOST:]PORT, such as 9400.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _receiver(
    host: str,
    port: int,
    title: str,
    callers: list[str] | None,
    pem: tuple[Path | None, Path | None, Path | None],
) -> "ReceiverOptions":
    from tumorlens.services.node.receiver import ReceiverOptions
    from tumorlens.services.node.tls import server_context

    certificate, key, clients = pem
    if any(pem) and not (certificate and key):
        raise SettingsError(
            "--tls-cert", "lacks a certificate or its key", "Name --tls-cert and --tls-key."
        )
    context = server_context(certificate, key, clients) if certificate and key else None
    return ReceiverOptions(title, host, port, tuple(callers or ()), tls=context)


def _print_dead(spool: Path) -> None:
    from tumorlens.services.spool import dead_series

    for folder, state in dead_series(spool):
        typer.echo(f"{folder.name}  from {state.caller}  {state.attempts} tries  {state.reason}")
