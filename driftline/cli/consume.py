"""``driftline consume``: the log into the store, every event once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context


def consume(
    ctx: typer.Context,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop at the end offsets of the start.")] = False,
    flush_seconds: Annotated[float, typer.Option(min=0.1, help="Write to the store at least this often.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Count, check and profile every event of the log into the store, until stopped.

    May be killed at any moment and started again: the store says where to go on.
    """
    from consumers.loop import Pace, Progress
    from driftline.cli.consuming import open_consumer
    from driftline.cli.logs import configure_logging
    from driftline.cli.progress import progress
    from driftline.cli.signals import stopped_by_signals
    from driftline.clock import SystemClock

    context: Context = ctx.obj
    configure_logging(verbose=context.verbose)
    contract, clock, stop = context.contract(), SystemClock(), threading.Event()
    store = context.open_store(serve=True)
    try:
        transport = context.open_transport()
        with (
            open_consumer(store, transport, contract, clock, Pace(flush_seconds=flush_seconds)) as loop,
            stopped_by_signals(stop),
            progress("consume (records)", clock) as report,
        ):

            def on_progress(reached: Progress) -> None:
                report(reached.records, 0, f"{reached.dead:,} dead letters" if reached.dead else "")

            run = loop.run_until_end if until_end else loop.run
            run(stop, on_progress)
            _print(loop.progress, as_json)
        transport.close()
    finally:
        store.close()


def _print(done: object, as_json: bool) -> None:
    import msgspec

    figures = msgspec.to_builtins(done)
    if as_json:
        typer.echo(msgspec.json.encode(figures).decode())
    else:
        typer.echo(f"{figures['records']:,} records read: {figures['ok']:,} events, {figures['dead']:,} dead letters")
