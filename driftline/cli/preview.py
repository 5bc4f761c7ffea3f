"""`driftline preview`: the dashboards on a page of this machine."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from driftline.cli.context import Context
from driftline.cli.operating import OpsHost, OpsPort


def preview(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=0, max=65535)] = 8080,
    bind: Annotated[
        str, typer.Option(help="Another address to listen on: in a container whose port is published on 127.0.0.1.")
    ] = "127.0.0.1",
    ops_port: OpsPort = None,
    ops_host: OpsHost = "127.0.0.1",
) -> None:
    """Draw the dashboards on the store, without a Grafana server."""
    from driftline.cli.operating import operating
    from driftline.cli.signals import stopped_by_signals
    from driftline.cli.supervising import Supervisor
    from grafana.preview import create_app, packaged_dashboards, serve

    context: Context = ctx.obj
    context.configure_logging()
    stop = threading.Event()
    with stopped_by_signals(stop), context.open_store() as store, operating("preview", store, ops_port, ops_host):
        server = serve(create_app(store, packaged_dashboards(), context.reports), port, bind)
        supervisor = Supervisor(stop)
        supervisor.start({"page": server.run})
        typer.echo(f"dashboards at {server.url} (Ctrl-C ends)")
        stop.wait()
        server.stop()
        supervisor.wait()
