"""`driftline preview`: the dashboards on a page of this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from driftline.cli.context import Context


def preview(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=0, max=65535)] = 8080,
) -> None:
    """Draw the dashboards on the store, without a Grafana server."""
    from grafana.preview import create_app, packaged_dashboards, serve

    context: Context = ctx.obj
    store = context.open_store()
    try:
        server = serve(create_app(store, packaged_dashboards()), port)
        typer.echo(f"dashboards at {server.url} (Ctrl-C ends)")
        server.run()
    finally:
        store.close()
