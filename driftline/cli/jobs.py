"""``driftline jobs``: judging completed windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli import rejudging
from driftline.cli.judging import (
    MEMORY_MB,
    SECONDS,
    Json,
    Kinds,
    WorkerCount,
    WorkerLimits,
    WorkerMemory,
    WorkerSeconds,
    echo_json,
    judge,
    opened,
    print_summary,
)
from driftline.cli.operating import OpsHost, OpsPort
from driftline.cli.report import Reports, desk_of, draw_alerting
from driftline.cli.terminal import plain

if TYPE_CHECKING:
    from batch.jobs import Choice
    from driftline.windows import Window

app = typer.Typer(help="Judge completed windows, and judge them again.", no_args_is_help=True)

_Period = Annotated[str, typer.Argument(metavar="WINDOW", help="A day (2023-02-03) or an hour (2023-02-03T14:00).")]


@app.command()
def run(
    ctx: typer.Context,
    due: Annotated[bool, typer.Option("--due", help="Every window that is due.")] = False,
    window: Annotated[
        str | None, typer.Option("--window", help="All windows within a day (2023-02-03) or hour, due or not.")
    ] = None,
    kind: Kinds = None,
    workers: WorkerCount = 1,
    worker_seconds: WorkerSeconds = SECONDS,
    worker_memory_mb: WorkerMemory = MEMORY_MB,
    reports: Reports = 0,
    as_json: Json = False,
) -> None:
    """Judge windows; repeat it at will: what has not changed since its last run adds no run."""
    from driftline.cli.periods import period_of
    from driftline.errors import UsageError

    if due == (window is not None):
        msg = "`driftline jobs run` needs either --due or --window 2023-02-03"
        raise UsageError(msg)
    choose = None if window is None else _within(period_of("--window", window))
    limits = WorkerLimits(workers, worker_seconds, worker_memory_mb)
    summary = judge(ctx.obj, lambda _contract, _store: choose, kind, limits)
    print_summary(summary, as_json)
    if reports:
        with desk_of(ctx.obj) as desk:
            draw_alerting(desk, reports, quietly=as_json)
    if window is not None and not summary.keys:
        msg = f"no complete window with data lies within {window}; see `driftline jobs explain {window}`"
        raise UsageError(msg)


@app.command()
def watch(
    ctx: typer.Context,
    every_seconds: Annotated[float, typer.Option(min=1.0, help="Look this often.")] = 60.0,
    workers: WorkerCount = 1,
    worker_seconds: WorkerSeconds = SECONDS,
    worker_memory_mb: WorkerMemory = MEMORY_MB,
    reports: Reports = 0,
    ops_port: OpsPort = None,
    ops_host: OpsHost = "127.0.0.1",
    as_json: Json = False,
) -> None:
    """Judge windows as they close and as their labels come, until stopped."""
    import threading
    from datetime import timedelta

    from batch.jobs import RunSummary
    from batch.reports.reporting import Desk
    from batch.watch import watch as keep_watch
    from driftline.cli.operating import operating
    from driftline.cli.signals import stopped_by_signals
    from driftline.clock import SystemClock

    stop = threading.Event()
    ctx.obj.configure_logging()
    with (
        stopped_by_signals(stop),
        opened(ctx.obj) as (contract, store),
        WorkerLimits(workers, worker_seconds, worker_memory_mb).workers() as pool,
        operating("jobs", store, ops_port, ops_host) as operations,
    ):
        pool.start()

        def tell(summary: RunSummary) -> None:
            print_summary(summary, as_json)
            if reports:
                draw_alerting(Desk(store, contract, pool, ctx.obj.reports), reports, quietly=as_json)

        keep_watch(
            store,
            contract,
            pool,
            SystemClock(),
            stopped=stop.wait,
            report=tell,
            every=timedelta(seconds=every_seconds),
            observer=operations.jobs,
        )


@app.command()
def ls(
    ctx: typer.Context,
    kind: Kinds = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest windows first.")] = 50,
    as_json: Json = False,
) -> None:
    """List the latest run of every window."""
    with opened(ctx.obj) as (contract, store):
        rows = store.query(_LATEST, {"model": contract.model, "kinds": kind or [], "limit": limit})
    for row in rows:
        if as_json:
            echo_json(row)
        else:
            coverage = "" if row["coverage"] is None else f"coverage {row['coverage']:.1%}"
            version = plain(row["model_version"], keep="") or "-"
            typer.echo(
                f"{row['window_start']:%Y-%m-%d %H:%M} {row['granularity']:>3} {row['job']:<11} {version:<10} "
                f"{row['status']:<12} revision {row['revision']} {'final' if row['is_final'] else 'open '} {coverage}"
            )


@app.command()
def explain(ctx: typer.Context, window: _Period, kind: Kinds = None, as_json: Json = False) -> None:
    """Say of every window in a period whether it is due, why, and what has been judged of it."""
    from batch.explain import explain as explain_one
    from batch.jobs import survey
    from batch.workers.pool import Workers
    from driftline.cli.periods import period_of

    within = _within(period_of("WINDOW", window))
    with opened(ctx.obj) as (contract, store):
        found = survey(store, contract, Workers(), kind)
        chosen = [one for one in found.all if within(one, found.snapshot)]
        explained = [explain_one(store, found, one) for one in chosen]
    for one in explained:
        if as_json:
            echo_json(one)
            continue
        version = plain(one.model_version, keep="") or "-"
        name = f"{one.window_start:%Y-%m-%d %H:%M} {one.granularity:>3} {one.job} {version}"
        typer.echo(f"{name}: {one.state}, {one.reason}")
        for part, (before, now) in one.changed.items():
            typer.echo(f"    {part}: {before} → {now}")
        for line in one.runs:
            coverage = "" if line.coverage is None else f", coverage {line.coverage:.1%} of {line.n_predictions:,}"
            typer.echo(f"    revision {line.revision}: {line.status} as of {line.as_of:%Y-%m-%d %H:%M:%S}{coverage}")
        for text in (text for trouble in one.troubles for text in trouble.lines()):
            typer.echo(plain(f"    {text}"))
    if not explained:
        typer.echo(f"no window with data lies within {window}")


def _within(period: Window) -> Choice:
    from batch.choosing import is_within

    return lambda one, _: is_within(one, period)


_LATEST = """
    SELECT window_start, granularity, job, model_version, toString(status) AS status, revision, is_final, coverage,
        n_predictions, n_labels, n_scored, as_of, contract_id, reference_id, seconds
    FROM latest_runs
    WHERE model = {model:String} AND (empty({kinds:Array(String)}) OR has({kinds:Array(String)}, job))
    ORDER BY window_start DESC, job, granularity, model_version LIMIT {limit:UInt32}
"""

for _command in (rejudging.retry, rejudging.backfill, rejudging.delete):
    app.command()(_command)
