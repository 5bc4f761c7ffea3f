"""``driftline replay``: historical trips through the log, as a service and its labels would send them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context
    from producers.plan import ReplayPlan
    from producers.replay import ReplaySummary


class Align(StrEnum):
    """Where on the time line the trips go."""

    NONE = "none"
    NOW = "now"


def replay(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Months of trips (parquet).")],
    speed: Annotated[str, typer.Option(help="max, or a multiple of real time.")] = "max",
    align: Annotated[
        Align, typer.Option(help="now: shift by whole weeks so that the past ends now, then go on live.")
    ] = Align.NONE,
    since: Annotated[str | None, typer.Option(help="Only trips from this moment on (ISO 8601, UTC).")] = None,
    until: Annotated[str | None, typer.Option(help="Only trips before this moment (ISO 8601, UTC).")] = None,
    past: Annotated[str | None, typer.Option(help="Only this much of the past, such as 14d.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N trips of those.")] = None,
    label_delay: Annotated[str, typer.Option(help="How long after drop-off a label comes, such as 30m.")] = "0",
    incident: Annotated[list[str] | None, typer.Option(help="A fault: NAME[:key=value...]; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds and options give equal bytes.")] = 0,
    partitions: Annotated[int | None, typer.Option(help="Partitions of each topic; default 1, on Kafka 4.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was produced and acknowledged as JSON.")] = False,
) -> None:
    """Send trips and predictions at pick-up time and labels when they would arrive."""
    from producers.plan import ReplayPlan, parse_bound, parse_delay, parse_incidents, parse_speed

    plan = ReplayPlan(
        files=tuple(files),
        speed=parse_speed(speed),
        align=align.value,
        since=parse_bound("--since", since),
        until=parse_bound("--until", until),
        past=None if past is None else parse_delay("--past", past),
        limit=limit,
        seed=seed,
        label_delay=parse_delay("--label-delay", label_delay),
        incidents=parse_incidents(incident or ()),
        partitions=partitions,
    )
    _print(_run(ctx.obj, plan), as_json)


def _run(context: Context, plan: ReplayPlan) -> ReplaySummary:
    import threading

    from driftline.cli.collecting import collecting_rarely
    from driftline.cli.progress import progress
    from driftline.cli.signals import stopped_by_signals
    from driftline.clock import SystemClock
    from producers.model_files import load_models
    from producers.replay import Replay
    from producers.sender import ReplayProgress

    contract, clock = context.contract(), SystemClock()
    models = load_models(context.home, contract)
    stop = threading.Event()
    transport = context.open_transport()
    try:
        with progress("replay (events)", clock) as report, stopped_by_signals(stop), collecting_rarely():

            def on_progress(reached: ReplayProgress) -> None:
                where = reached.event_time.isoformat(sep=" ", timespec="seconds")
                report(reached.sent, reached.past, f"{'live ' if reached.live else ''}{where}")

            return Replay(plan, contract, models, transport, clock).run(stop, on_progress)
    finally:
        transport.close()


def _print(summary: ReplaySummary, as_json: bool) -> None:
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(summary).decode())
        return
    first, last = (moment.isoformat(sep=" ", timespec="seconds") for moment in summary.span)
    typer.echo(f"{summary.trips:,} trips, {first} to {last}, shifted by {summary.shift_weeks} weeks")
    if summary.skipped:
        typer.echo(f"{summary.skipped:,} rows without a pick-up time skipped")
    for topic, events in summary.events.items():
        markers, acknowledged = summary.markers[topic], summary.acknowledged[topic]
        typer.echo(f"{topic}: {events:,} events and {markers:,} markers sent, {acknowledged:,} acknowledged")
    if not summary.ended:
        typer.echo("stopped before the end: no end markers were written")
