"""``driftline labels``: labels that live in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.terminal import plain

if TYPE_CHECKING:
    from datetime import datetime

    from driftline.cli.context import Context
    from driftline.contract import Contract
    from producers.label_files import LabelFile, RawLabel
    from producers.label_loading import LabelLoad

app = typer.Typer(help="Bring labels that live in files.", no_args_is_help=True)

_SHOWN = 20  # bad rows named on the terminal; the rest are in the file of rejects


@app.command()
def load(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a header, or Parquet.")],
    id_column: Annotated[str, typer.Option(help="Column of ids; default id, or the contract's `fields.id`.")] = "",
    label_column: Annotated[str, typer.Option(help="Column of labels; default label, or `label.name`.")] = "",
    time_column: Annotated[str, typer.Option(help="Column of label times; default label_time.")] = "",
    label_time: Annotated[
        str | None, typer.Option(help="The time of all labels, for a file without such a column.")
    ] = None,
    complete_to: Annotated[
        str | None, typer.Option(help="Promise that no label older than this is still to come; UTC without a zone.")
    ] = None,
    rejects: Annotated[Path | None, typer.Option(help="Write bad rows and their reasons here, as CSV.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Send every label of a file to the topic of labels; loading it again adds nothing."""
    from driftline.cli.moments import moment_of
    from driftline.errors import UsageError
    from producers.label_files import LabelColumns, LabelFile

    if label_time is not None and time_column:
        msg = "`--label-time` is for files without a column of times; leave it or `--time-column` out"
        raise UsageError(msg)
    if rejects is not None and rejects.absolute() == file.absolute():
        msg = f"`--rejects` must be another file than {file}"
        raise UsageError(msg)
    fixed = None if label_time is None else moment_of("--label-time", label_time)
    promised = None if complete_to is None else moment_of("--complete-to", complete_to)
    context: Context = ctx.obj
    contract = context.contract()
    opened = LabelFile(
        file, contract, LabelColumns(id_column, label_column, time_column), needs_time=label_time is None
    )
    _tell(_load(context, contract, opened, fixed, promised, rejects), promised, rejects, as_json)


def _load(
    context: Context,
    contract: Contract,
    file: LabelFile,
    label_time: datetime | None,
    complete_to: datetime | None,
    rejects: Path | None,
) -> LabelLoad:
    import threading

    from driftline.cli.progress import progress
    from driftline.cli.signals import stopped_by_signals
    from driftline.clock import SystemClock
    from driftline.errors import UsageError
    from producers.label_loading import LabelLoader, rejects_file
    from producers.label_rows import LabelReader

    clock, stop = SystemClock(), threading.Event()
    if complete_to is not None and complete_to > clock.now():
        msg = f"`--complete-to` must not lie in the future; got {complete_to:%Y-%m-%dT%H:%MZ}; promise what has come"
        raise UsageError(msg)
    reader, shown = LabelReader(contract, clock.now(), label_time), _Shown(file)
    transport = context.open_transport()
    try:
        with progress("labels (rows)", clock) as report, stopped_by_signals(stop), rejects_file(rejects) as write:

            def reject(row: RawLabel, reason: str) -> None:
                shown(row, reason)
                write(row, reason)

            return LabelLoader(contract, transport, reader).load(file, complete_to, stop, reject, report)
    finally:
        transport.close()


class _Shown:
    """Names the first bad rows on standard error."""

    def __init__(self, file: LabelFile) -> None:
        self._file = file
        self._count = 0

    def __call__(self, row: RawLabel, reason: str) -> None:
        self._count += 1
        if self._count <= _SHOWN:
            typer.echo(f"{plain(str(self._file.path))} {row.place}: {plain(reason)}", err=True)
        elif self._count == _SHOWN + 1:
            typer.echo("… and more; --rejects FILE keeps them all", err=True)


def _tell(summary: LabelLoad, promised: datetime | None, rejects: Path | None, as_json: bool) -> None:
    from driftline.errors import CheckFailedError

    if as_json:
        _echo_json(summary)
    else:
        typer.echo(f"{summary.topic}: {summary.loaded:,} of {summary.rows:,} labels sent")
        if summary.first_label_time is not None:
            first, last = f"{summary.first_label_time:%Y-%m-%d %H:%M}", f"{summary.last_label_time:%Y-%m-%d %H:%M}"
            typer.echo(f"label times {first} to {last}")
        if summary.complete_to is not None:
            typer.echo(f"complete to {summary.complete_to:%Y-%m-%d %H:%M}")
    unmarked = "; nothing was promised of the topic" if promised is not None and summary.complete_to is None else ""
    if summary.stopped:
        msg = f"stopped after {summary.rows:,} rows{unmarked}; load the file again: what is there already adds nothing"
        raise CheckFailedError(msg)
    if summary.bad:
        where = f" ({rejects})" if rejects is not None else ""
        rows = "1 row is" if summary.bad == 1 else f"{summary.bad:,} rows are"
        msg = f"{rows} bad{where}, all others are sent{unmarked}; mend them and load the file again"
        raise CheckFailedError(msg)


def _echo_json(value: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(value).decode())
