"""``driftline jobs retry``, ``backfill`` and ``delete``: judging again what was judged, or taking it back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.judging import (
    MEMORY_MB,
    SECONDS,
    Json,
    Kinds,
    WorkerCount,
    WorkerLimits,
    WorkerMemory,
    WorkerSeconds,
    judge,
    opened,
    print_summary,
)

if TYPE_CHECKING:
    from driftline.windows import Window

_From = Annotated[str, typer.Option("--from", help="First moment, ISO 8601; UTC without a zone.")]
_To = Annotated[str, typer.Option("--to", help="End, exclusive, ISO 8601.")]


def retry(
    ctx: typer.Context,
    windows: Annotated[
        list[str] | None, typer.Argument(metavar="[WINDOW...]", help="Days (2023-02-03) or hours (2023-02-03T14:00).")
    ] = None,
    errors: Annotated[bool, typer.Option("--errors", help="Every window that failed.")] = False,
    kind: Kinds = None,
    workers: WorkerCount = 1,
    worker_seconds: WorkerSeconds = SECONDS,
    worker_memory_mb: WorkerMemory = MEMORY_MB,
    as_json: Json = False,
) -> None:
    """Judge windows again that failed, whole or in a figure, however often they have."""
    from batch.choosing import failed
    from driftline.cli.periods import period_of
    from driftline.errors import CheckFailedError, UsageError

    if errors == bool(windows):
        msg = "`driftline jobs retry` needs windows (2023-02-03), or --errors for all that failed"
        raise UsageError(msg)
    periods = [period_of("WINDOW", text) for text in windows or ()]
    limits = WorkerLimits(workers, worker_seconds, worker_memory_mb)
    summary = judge(ctx.obj, lambda contract, store: failed(store, contract, periods), kind, limits)
    print_summary(summary, as_json)
    if not summary.keys:
        typer.echo("nothing has failed there", err=True)
    if summary.failures:
        failures = "1 failure" if summary.failures == 1 else f"{summary.failures:,} failures"
        msg = f"{failures} again; `driftline jobs explain` says why"
        raise CheckFailedError(msg)


def backfill(
    ctx: typer.Context,
    since: _From,
    until: _To,
    again: Annotated[bool, typer.Option("--again", help="Also what this contract has judged already.")] = False,
    kind: Kinds = None,
    workers: WorkerCount = 1,
    worker_seconds: WorkerSeconds = SECONDS,
    worker_memory_mb: WorkerMemory = MEMORY_MB,
    as_json: Json = False,
) -> None:
    """Judge all complete windows of a period by the contract as it is now; stopped, it goes on where it was."""
    from batch.choosing import outdated

    period = _period(since, until)
    limits = WorkerLimits(workers, worker_seconds, worker_memory_mb)
    summary = judge(ctx.obj, lambda contract, _: outdated(contract, period, all_again=again), kind, limits)
    print_summary(summary, as_json)


def delete(
    ctx: typer.Context,
    since: _From,
    until: _To,
    kind: Kinds = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete what jobs have found for the windows of a period; events stay, and the windows are due again."""
    from batch.jobs import require_kinds
    from batch.ledger.deleting import count_runs, delete_results
    from driftline.errors import UsageError

    period = _period(since, until)
    require_kinds(kind or ())
    with opened(ctx.obj) as (contract, store):
        runs = count_runs(store, contract, period, kind or ())
        if not yes:
            if not sys.stdin.isatty():
                msg = f"`driftline jobs delete` asks before it deletes {runs:,} runs, and nobody can answer; add --yes"
                raise UsageError(msg)
            typer.confirm(f"delete {runs:,} runs and their results?", abort=True)
        deleted = delete_results(store, contract, period, kind or ())
    runs_deleted = "1 run" if deleted == 1 else f"{deleted:,} runs"
    typer.echo(f"{runs_deleted} deleted; what they judged is due again")


def _period(since: str, until: str) -> Window:
    from driftline.cli.moments import moment_of
    from driftline.errors import UsageError
    from driftline.windows import Window

    start, end = moment_of("--from", since), moment_of("--to", until)
    if start >= end:
        msg = f"`--from` must lie before `--to`; got {since} and {until}"
        raise UsageError(msg)
    return Window(start, end)
