"""``driftline report``: Evidently's page of a window against its reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from batch.reports.reporting import Desk, Written
    from driftline.cli.context import Context


class _WindowOrCommand(TyperGroup):
    """``driftline report 2023-02-14`` is ``driftline report of 2023-02-14``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where a window stands."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["of", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


app = typer.Typer(
    cls=_WindowOrCommand,
    help="Draw a window against its reference: driftline report 2023-02-14.",
    no_args_is_help=True,
)

Reports = Annotated[
    int,
    typer.Option(
        "--reports", min=0, metavar="N", help="Then draw the newest N failing windows without a report; 0 for none."
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@app.command()
def of(
    ctx: typer.Context,
    window: Annotated[str, typer.Argument(metavar="WINDOW", help="A day (2023-02-03) or an hour (2023-02-03T14:00).")],
    model_version: Annotated[str, typer.Option(help="Whose predictions; the champion's by default.")] = "",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the HTML here, too.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="SINK", help="Send it there, too: workspace:PATH, mlflow, mlflow:URI.")
    ] = None,
) -> None:
    """Draw one window and keep the page; `driftline preview` shows it. The word `of` may be left out."""
    import gzip

    from batch.reports.files import ReportKey, write_whole
    from batch.reports.reporting import write_report
    from batch.reports.sinks import parse_sink, remember, send_to_mlflow
    from driftline.cli.periods import period_of

    period, sink = period_of("WINDOW", window), None if to is None else parse_sink(to)
    with desk_of(ctx.obj) as desk:
        written = write_report(desk, period, model_version, sink=sink)
        key = ReportKey(desk.contract.model, model_version or desk.contract.versions.champion, period)
        if sink is not None and sink.kind == "workspace":
            remember(desk.store, key, sink, written.workspace_run)
        elif sink is not None:
            send_to_mlflow(desk.store, key, sink, written.file)
    if out is not None:
        write_whole(out, gzip.decompress(written.file.read_bytes()))
    _tell(out or written.file, written)


@app.command()
def alerting(
    ctx: typer.Context,
    newest: Annotated[int, typer.Option(min=1, help="At most so many windows, the newest first.")] = 10,
) -> None:
    """Draw the windows whose checks fail and that have no report since."""
    with desk_of(ctx.obj) as desk:
        if not draw_alerting(desk, newest):
            typer.echo(f"no failing window of {desk.contract.model} is without a report")


@app.command()
def ls(ctx: typer.Context, as_json: _Json = False) -> None:
    """List reports, the newest window first."""
    import msgspec

    from batch.reports.files import list_reports
    from driftline.cli.terminal import plain

    context: Context = ctx.obj
    contract = context.contract()
    with context.open_store() as store:
        found = list_reports(store, contract.model)
    for one in found:
        if as_json:
            typer.echo(msgspec.json.encode(one).decode())
            continue
        left_out = f"  left out: {', '.join(sorted(one.left_out))}" if one.left_out else ""
        typer.echo(
            plain(
                f"{one.window_start:%Y-%m-%d %H:%M} {one.granularity:>3} {one.model_version:<10} {one.n_rows:>9,} rows "
                f"{one.bytes / 1e6:5.1f} MB  written {one.created:%Y-%m-%d %H:%M}  {one.path}{left_out}"
            )
        )


@app.command()
def prune(
    ctx: typer.Context,
    keep: Annotated[str, typer.Option(metavar="DAYS", help="Keep those written in so many days, such as 30.")] = "90",
) -> None:
    """Remove old reports; they can be drawn again while their rows are in the store."""
    from datetime import timedelta

    from batch.reports.files import prune as remove
    from driftline.clock import SystemClock
    from driftline.errors import UsageError

    digits = keep.removesuffix("d")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 5:
        msg = f"--keep must be a number of days, such as 30; got {keep}"
        raise UsageError(msg)
    context: Context = ctx.obj
    contract = context.contract()
    before = SystemClock().now() - timedelta(days=int(digits))
    with context.open_store() as store:
        removed = remove(store, context.reports, contract.model, before)
    size = sum(one.bytes for one in removed)
    typer.echo(f"removed {len(removed):,} reports of {contract.model} written before {before:%Y-%m-%d}: {size:,} bytes")


def draw_alerting(desk: Desk, newest: int, *, quietly: bool = False) -> int:
    """Draw the newest failing windows without a report, say of each what became of it, and return their number.

    ``quietly`` leaves standard output to other results.
    """
    from batch.reports.reporting import write_alerting

    number = 0
    for _, written in write_alerting(desk, newest):
        number += 1
        if isinstance(written, str):
            typer.echo(f"driftline: {written}", err=True)
        else:
            _tell(written.file, written, err=quietly)
    return number


@contextmanager
def desk_of(context: Context) -> Iterator[Desk]:
    """Yield what reports are made with, for as long as the store is open."""
    from batch.reports.reporting import Desk
    from driftline.cli.judging import WorkerLimits

    contract = context.contract()
    with WorkerLimits().workers() as workers, context.open_store() as store:
        yield Desk(store, contract, workers, context.reports)


def _tell(file: Path, written: Written, *, err: bool = False) -> None:
    from driftline.cli.terminal import plain

    typer.echo(plain(f"{written.n_rows:,} rows in {file}"), err=err)
    for name, reason in written.left_out.items():
        typer.echo(plain(f"  left out {name}: {reason}"), err=err)
