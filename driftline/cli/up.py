"""``driftline up``: the whole monitor in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.judging import MEMORY_MB, SECONDS, WorkerCount, WorkerLimits, WorkerMemory, WorkerSeconds
from driftline.cli.operating import OpsHost, OpsPort
from driftline.cli.report import Reports, draw_alerting

if TYPE_CHECKING:
    from batch.jobs import RunSummary
    from driftline.cli.context import Context
    from producers.plan import ReplayPlan


def up(
    ctx: typer.Context,
    files: Annotated[list[Path] | None, typer.Option("--replay", metavar="FILE", help="Replay these months.")] = None,
    speed: Annotated[str, typer.Option(help="Of the replay: max, or a multiple of real time.")] = "max",
    align: Annotated[str, typer.Option(help="Of the replay: none, or now to go on live.")] = "now",
    past: Annotated[str | None, typer.Option(help="Of the replay: only this much of the past, such as 14d.")] = None,
    incident: Annotated[list[str] | None, typer.Option(help="Of the replay: a fault, NAME[:key=value...].")] = None,
    seed: Annotated[int, typer.Option(help="Of the replay.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page, on 127.0.0.1.")] = 8080,
    workers: WorkerCount = 1,
    worker_seconds: WorkerSeconds = SECONDS,
    worker_memory_mb: WorkerMemory = MEMORY_MB,
    reports: Reports = 0,
    ops_port: OpsPort = None,
    ops_host: OpsHost = "127.0.0.1",
) -> None:
    """Consume live input or a replay, judge windows as they close, and show the page, until stopped."""
    from batch.reports.reporting import Desk
    from driftline.cli.auditing import auditing
    from driftline.cli.supervising import Supervisor
    from driftline.cli.system import open_system
    from grafana.preview import create_app, packaged_dashboards, serve

    context: Context = ctx.obj
    plan = _plan(files, speed, align, past, incident, seed) if files else None
    with (
        open_system(context, WorkerLimits(workers, worker_seconds, worker_memory_mb), ops_port, ops_host) as system,
        auditing(context, system.store, system.contract, system.clock, system.operations.consumer),
    ):

        def tell(summary: RunSummary) -> None:
            _say(summary)
            if reports:
                draw_alerting(Desk(system.store, system.contract, system.workers, context.reports), reports)

        server = serve(create_app(system.store, packaged_dashboards(), context.reports), port)
        parts: dict[str, Callable[[], None]] = {
            "consumer": system.consume,
            "jobs": lambda: system.judge(tell),
            "page": server.run,
        }
        if plan is not None:
            replay = system.replay(plan, context)
            parts["replay"] = lambda: typer.echo(f"replay: {replay.run(system.stop).trips:,} trips sent")
        supervisor = Supervisor(system.stop)
        supervisor.start(parts)
        typer.echo(f"page at {server.url}, store at {system.store.address} (Ctrl-C ends)")
        system.stop.wait()
        server.stop()
        supervisor.wait()


def _plan(
    files: list[Path], speed: str, align: str, past: str | None, incident: list[str] | None, seed: int
) -> ReplayPlan:
    from driftline.errors import UsageError
    from producers.plan import ReplayPlan, parse_delay, parse_incidents, parse_speed

    if align not in ("none", "now"):
        msg = f"--align must be none or now; got {align}"
        raise UsageError(msg)
    return ReplayPlan(
        files=tuple(files),
        speed=parse_speed(speed),
        align="now" if align == "now" else "none",
        past=None if past is None else parse_delay("--past", past),
        incidents=parse_incidents(incident or ()),
        seed=seed,
    )


def _say(summary: RunSummary) -> None:
    listed = ", ".join(f"{one.ok + one.empty + one.insufficient} {one.job} {one.granularity}" for one in summary.counts)
    typer.echo(f"judged {listed} in {summary.seconds:.1f} s")
