"""``driftline store``: the embedded store as a service of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.operating import OpsHost, OpsPort

if TYPE_CHECKING:
    from driftline.cli.context import Context

app = typer.Typer(no_args_is_help=True, help="Serve the embedded store to other processes.")


@app.callback()
def _group() -> None:
    """Serve the embedded store to other processes."""


@app.command()
def serve(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    ops_port: OpsPort = None,
    ops_host: OpsHost = "127.0.0.1",
) -> None:
    """Serve the embedded store over ClickHouse's HTTP protocol until Ctrl-C."""
    import threading

    from driftline.cli.operating import operating
    from driftline.cli.signals import stopped_by_signals
    from driftline.errors import StoreBusy, UsageError
    from driftline.store.holder import note_path, read_note

    context: Context = ctx.obj
    context.configure_logging()
    stop = threading.Event()
    with stopped_by_signals(stop), context.open_store(serve=True, port=port) as store:
        note = read_note(context.home)
        if store.address.path is None:
            if note is None or (context.store_url or "").startswith("clickhouse://"):
                msg = f"store {store.address} is a server already; `store serve` is for an embedded store"
                raise UsageError(msg)
            where = f"http://{note.host}:{note.port}"
            msg = f"process {note.pid} serves the store already at {where}; use that one or stop it"
            raise StoreBusy(msg)
        if note is not None:
            typer.echo(f"store: http://{note.host}:{note.port} (users driftline: read and write, reader: read only)")
            typer.echo(f"tokens: {note_path(context.home).absolute()}")
        with operating("store", store, ops_port, ops_host):
            stop.wait()
