"""``driftline jobs``: judging completed windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.operating import OpsHost, OpsPort
from driftline.cli.terminal import plain

if TYPE_CHECKING:
    from batch.jobs import Choice, RunSummary
    from batch.ledger import Key
    from driftline.cli.context import Context
    from driftline.contract import Contract
    from driftline.store import Store
    from driftline.windows import Window

app = typer.Typer(help="Judge completed windows: profile, data, drift, label_drift, quality.", no_args_is_help=True)

_Kinds = Annotated[list[str] | None, typer.Option("--kind", help="Only this job; may be repeated.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
_Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that compute.")]
_Period = Annotated[str, typer.Argument(metavar="WINDOW", help="A day (2023-02-03) or an hour (2023-02-03T14:00).")]


@app.command()
def run(
    ctx: typer.Context,
    due: Annotated[bool, typer.Option("--due", help="Every window that is due.")] = False,
    window: Annotated[
        str | None, typer.Option("--window", help="All windows within a day (2023-02-03) or hour, due or not.")
    ] = None,
    kind: _Kinds = None,
    workers: _Workers = 1,
    as_json: _Json = False,
) -> None:
    """Judge windows; repeat it at will: what has not changed since its last run adds no run."""
    from batch.jobs import run_due
    from batch.worker import Workers
    from driftline.cli.progress import progress
    from driftline.clock import SystemClock
    from driftline.errors import UsageError

    if due == (window is not None):
        msg = "`driftline jobs run` needs either --due or --window 2023-02-03"
        raise UsageError(msg)
    choose = None if window is None else _within(_period("--window", window))
    with _opened(ctx.obj) as (contract, store), Workers(workers) as pool:
        with progress("jobs (windows)", SystemClock()) as report:

            def on_progress(key: Key, done: int, total: int) -> None:
                report(done, total, key.job)

            summary = run_due(store, contract, pool, SystemClock(), kind, choose, on_progress)
    _print_summary(summary, as_json)
    if window is not None and not summary.runs:
        msg = f"no complete window with data lies within {window}; see `driftline jobs explain {window}`"
        raise UsageError(msg)


@app.command()
def watch(
    ctx: typer.Context,
    every_seconds: Annotated[float, typer.Option(min=1.0, help="Look this often.")] = 60.0,
    workers: _Workers = 1,
    ops_port: OpsPort = None,
    ops_host: OpsHost = "127.0.0.1",
    as_json: _Json = False,
) -> None:
    """Judge windows as they close and as their labels come, until stopped."""
    import threading
    from datetime import timedelta

    from batch.watch import watch as keep_watch
    from batch.worker import Workers
    from driftline.cli.operating import operating
    from driftline.cli.signals import stopped_by_signals
    from driftline.clock import SystemClock

    stop = threading.Event()
    ctx.obj.configure_logging()
    with (
        stopped_by_signals(stop),
        _opened(ctx.obj) as (contract, store),
        Workers(workers) as pool,
        operating("jobs", store, ops_port, ops_host) as operations,
    ):
        pool.start()
        keep_watch(
            store,
            contract,
            pool,
            SystemClock(),
            stopped=stop.wait,
            report=lambda summary: _print_summary(summary, as_json),
            every=timedelta(seconds=every_seconds),
            observer=operations.jobs,
        )


@app.command()
def ls(
    ctx: typer.Context,
    kind: _Kinds = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest windows first.")] = 50,
    as_json: _Json = False,
) -> None:
    """List the latest run of every window."""
    with _opened(ctx.obj) as (contract, store):
        rows = store.query(_LATEST, {"model": contract.model, "kinds": kind or [], "limit": limit})
    for row in rows:
        if as_json:
            _echo_json(row)
        else:
            coverage = "" if row["coverage"] is None else f"coverage {row['coverage']:.1%}"
            version = plain(row["model_version"], keep="") or "-"
            typer.echo(
                f"{row['window_start']:%Y-%m-%d %H:%M} {row['granularity']:>3} {row['job']:<11} {version:<10} "
                f"{row['status']:<12} revision {row['revision']} {'final' if row['is_final'] else 'open '} {coverage}"
            )


@app.command()
def explain(ctx: typer.Context, window: _Period, kind: _Kinds = None, as_json: _Json = False) -> None:
    """Say of every window in a period whether it is due, why, and what has been judged of it."""
    from batch.explain import explain as explain_one
    from batch.jobs import survey
    from batch.worker import Workers

    within = _within(_period("WINDOW", window))
    with _opened(ctx.obj) as (contract, store):
        found = survey(store, contract, Workers(), kind)
        chosen = [one for one in found.all if within(one, found.snapshot)]
        explained = [explain_one(store, found, one) for one in chosen]
    for one in explained:
        if as_json:
            _echo_json(one)
            continue
        version = plain(one.model_version, keep="") or "-"
        name = f"{one.window_start:%Y-%m-%d %H:%M} {one.granularity:>3} {one.job} {version}"
        typer.echo(f"{name}: {one.state}, {one.reason}")
        for part, (before, now) in one.changed.items():
            typer.echo(f"    {part}: {before} → {now}")
        for line in one.runs:
            coverage = "" if line.coverage is None else f", coverage {line.coverage:.1%} of {line.n_predictions:,}"
            typer.echo(f"    revision {line.revision}: {line.status} as of {line.as_of:%Y-%m-%d %H:%M:%S}{coverage}")
    if not explained:
        typer.echo(f"no window with data lies within {window}")


@contextmanager
def _opened(context: Context) -> Iterator[tuple[Contract, Store]]:
    contract, store = context.contract(), context.open_store()
    try:
        yield contract, store
    finally:
        store.close()


def _period(option: str, text: str) -> Window:
    """Return the day or the hour that ``text`` names."""
    from datetime import timedelta

    from driftline.cli.moments import moment_of
    from driftline.windows import window_of

    names_a_day = len(text.strip()) <= len("2023-02-03")
    return window_of(moment_of(option, text), timedelta(days=1) if names_a_day else timedelta(hours=1))


def _within(period: Window) -> Choice:
    return lambda one, _: period.start <= one.key.window.start and one.key.window.end <= period.end


def _print_summary(summary: RunSummary, as_json: bool) -> None:
    if as_json:
        for count in summary.counts:
            _echo_json(count)
        return
    for count in summary.counts:
        failed = f", {count.failures} figures failed (see job_errors)" if count.failures else ""
        found = f"{count.ok} ok, {count.insufficient} insufficient, {count.empty} empty"
        typer.echo(f"{count.job} {count.granularity}: {found}{failed}")
    waiting = f"; {summary.waiting} wait" if summary.waiting else ""
    runs = "1 run" if summary.runs == 1 else f"{summary.runs:,} runs"
    typer.echo(f"{runs} in {summary.seconds:.1f} s{waiting}")


def _echo_json(value: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(value).decode())


_LATEST = """
    SELECT window_start, granularity, job, model_version, toString(status) AS status, revision, is_final, coverage,
        n_predictions, n_labels, n_scored, as_of, contract_id, reference_id, seconds
    FROM latest_runs
    WHERE model = {model:String} AND (empty({kinds:Array(String)}) OR has({kinds:Array(String)}, job))
    ORDER BY window_start DESC, job, granularity, model_version LIMIT {limit:UInt32}
"""
