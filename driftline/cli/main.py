"""The command line's root: global options, the list of commands, and what an error becomes."""

from __future__ import annotations

import sys
import traceback
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from driftline.cli import (
    audit,
    config,
    consume,
    dashboards,
    data,
    db,
    demo,
    jobs,
    metrics,
    preview,
    profile,
    reference,
    replay,
    sql,
    status,
    store,
    topics,
    train,
    up,
)
from driftline.cli.context import Context
from driftline.cli.terminal import plain
from driftline.errors import DriftlineError

app = typer.Typer(
    name="driftline",
    help="Monitor machine-learning models in production: streaming and batch in one view.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _command in (
    demo.demo,
    up.up,
    replay.replay,
    consume.consume,
    train.train,
    status.status,
    audit.audit,
    metrics.metrics,
    sql.sql,
    preview.preview,
):
    app.command()(_command)
for _name, _group in (
    ("jobs", jobs.app),
    ("reference", reference.app),
    ("profile", profile.app),
    ("data", data.app),
    ("config", config.app),
    ("dashboards", dashboards.app),
    ("topics", topics.app),
    ("store", store.app),
    ("db", db.app),
):
    app.add_typer(_group, name=_name)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"driftline {version('driftline')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    home: Annotated[Path, typer.Option(envvar="DRIFTLINE_HOME", help="Folder of embedded data.")] = Path(".driftline"),
    monitor: Annotated[Path | None, typer.Option(envvar="DRIFTLINE_MONITOR", help="The monitor's contract.")] = None,
    store_url: Annotated[
        str | None,
        typer.Option("--store", envvar="DRIFTLINE_STORE", help="chdb:///path or clickhouse://user@host:port/database."),
    ] = None,
    transport_url: Annotated[
        str | None,
        typer.Option("--transport", envvar="DRIFTLINE_TRANSPORT", help="local:///path or kafka://host:port."),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log more.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Monitor machine-learning models in production."""
    ctx.obj = Context(home, monitor, store_url, transport_url, verbose)


def run() -> None:
    """Run the command line; the exit code is 0, or 1 check failed, 2 usage, 3 infrastructure."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of another alphabet, such as LANG=C
    try:
        app()
    except DriftlineError as error:
        typer.echo(f"driftline: {plain(str(error))}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception:
        traceback.print_exc()
        typer.echo("driftline: unexpected error; please report the lines above", err=True)
        sys.exit(3)
