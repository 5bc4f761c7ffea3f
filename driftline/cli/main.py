"""The command line's root: global options, the list of commands, and what an error becomes."""

from __future__ import annotations

import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from driftline.cli import (
    annotate,
    audit,
    check,
    compare,
    config,
    consume,
    dashboards,
    data,
    db,
    demo,
    dlq,
    doctor,
    drill,
    frame,
    jobs,
    labels,
    metrics,
    preview,
    profile,
    reference,
    replay,
    report,
    slices,
    sql,
    status,
    store,
    topics,
    train,
    up,
)
from driftline.cli.context import Context
from driftline.cli.logs import LogFormat
from driftline.cli.output import guarded_output
from driftline.cli.terminal import plain
from driftline.errors import DriftlineError, OutputClosed

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
    doctor.doctor,
    audit.audit,
    metrics.metrics,
    compare.compare,
    sql.sql,
    frame.frame,
    check.check,
    preview.preview,
):
    app.command()(_command)
for _name, _group in (
    ("jobs", jobs.app),
    ("labels", labels.app),
    ("annotate", annotate.app),
    ("reference", reference.app),
    ("report", report.app),
    ("profile", profile.app),
    ("slices", slices.app),
    ("data", data.app),
    ("config", config.app),
    ("dashboards", dashboards.app),
    ("topics", topics.app),
    ("dlq", dlq.app),
    ("store", store.app),
    ("db", db.app),
    ("drill", drill.app),
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
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", envvar="DRIFTLINE_LOG_FORMAT", help="Of log lines on standard error.")
    ] = LogFormat.TEXT,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Monitor machine-learning models in production."""
    ctx.obj = Context(home, monitor, store_url, transport_url, verbose, log_format)


def run() -> None:
    """Run the command line; the exit code is 0, or 1 check failed, 2 usage, 3 infrastructure, 141 nobody reads."""
    try:
        with guarded_output():
            app()
    except OutputClosed as error:
        sys.exit(error.exit_code)
    except DriftlineError as error:
        _complain(plain(str(error)))
        sys.exit(error.exit_code)
    except Exception:
        traceback.print_exc()
        _complain("unexpected error; please report the lines above")
        sys.exit(3)


def _complain(text: str) -> None:
    with suppress(OSError):  # standard error may be full or closed; the exit code tells the rest
        typer.echo(f"driftline: {text}", err=True)
