"""``driftline consume``: the log into the store, every event once."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.operating import OpsHost, OpsPort

if TYPE_CHECKING:
    from consumers.reading.membership import Membership
    from driftline.cli.context import Context


def consume(
    ctx: typer.Context,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop at the end offsets of the start.")] = False,
    flush_seconds: Annotated[float, typer.Option(min=0.1, help="Write to the store at least this often.")] = 5.0,
    assignment: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Read the I-th of N shares of the partitions, counted from 0: 0/2 and 1/2."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Share the partitions with the other members of this Kafka consumer group.")
    ] = None,
    audit: Annotated[bool, typer.Option("--audit", help="Audit each minute, and heal what can be healed.")] = False,
    ops_port: OpsPort = None,
    ops_host: OpsHost = "127.0.0.1",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Count, check and profile every event of the log into the store, until stopped.

    May be killed at any moment and started again: the store says where to go on.
    """
    from consumers.loop import Pace, Progress
    from driftline.cli.auditing import auditing
    from driftline.cli.consuming import open_consumer
    from driftline.cli.operating import operating
    from driftline.cli.progress import progress
    from driftline.cli.signals import stopped_by_signals
    from driftline.clock import SystemClock

    context: Context = ctx.obj
    context.configure_logging()
    membership = _membership(assignment, group)
    contract, clock, stop = context.contract(), SystemClock(), threading.Event()
    pace = Pace(flush_seconds=flush_seconds)
    with (
        stopped_by_signals(stop),
        context.open_store(serve=True) as store,
        closing(context.open_transport()) as transport,
        operating("consume", store, ops_port, ops_host) as operations,
        open_consumer(store, transport, contract, clock, pace, membership, operations.consumer, stop) as loop,
        auditing(context, store, contract, clock, operations.consumer, wanted=audit),
        progress("consume (records)", clock) as report,
    ):

        def on_progress(reached: Progress) -> None:
            report(reached.records, 0, f"{reached.dead:,} dead letters" if reached.dead else "")

        run = loop.run_until_end if until_end else loop.run
        run(stop, on_progress)
        _print(loop.progress, as_json)


def _membership(assignment: str | None, group: str | None) -> Membership:
    from consumers.reading.membership import EVERYTHING, Group, Share
    from driftline.errors import UsageError

    if assignment is not None and group is not None:
        msg = "a consumer has a share of its own or one of its group's; leave out --assignment or --group"
        raise UsageError(msg)
    if group is not None:
        return Group(group)
    return EVERYTHING if assignment is None else Share.parse(assignment)


def _print(done: object, as_json: bool) -> None:
    import msgspec

    figures = msgspec.to_builtins(done)
    if as_json:
        typer.echo(msgspec.json.encode(figures).decode())
    else:
        typer.echo(f"{figures['records']:,} records read: {figures['ok']:,} events, {figures['dead']:,} dead letters")
