"""What every command that judges windows does: open, compute in limited processes, show progress, stop in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from batch.jobs import Choice, RunSummary
    from batch.ledger.ledger import Key
    from batch.workers.pool import Workers
    from driftline.cli.context import Context
    from driftline.contract import Contract
    from driftline.store import Store

Kinds = Annotated[list[str] | None, typer.Option("--kind", help="Only this job; may be repeated.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
WorkerCount = Annotated[int, typer.Option("--workers", min=1, help="Processes that compute.")]
WorkerSeconds = Annotated[
    float, typer.Option(min=1.0, envvar="DRIFTLINE_WORKER_SECONDS", help="A window may take so long in a worker.")
]
WorkerMemory = Annotated[
    int,
    typer.Option("--worker-memory-mb", min=0, envvar="DRIFTLINE_WORKER_MEMORY_MB",
                 help="Memory of its own that a worker may have (MiB); 0 for any."),
]  # fmt: skip

SECONDS, MEMORY_MB = 300.0, 4096


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How many workers there are, and what each may take."""

    count: int = 1
    seconds: float = SECONDS
    memory_mb: int = MEMORY_MB

    def workers(self) -> Workers:
        """Return the workers; none has started yet."""
        from batch.workers.pool import Workers

        return Workers(self.count, self.seconds, memory_bytes=self.memory_mb * 2**20 or None)


@contextmanager
def opened(context: Context) -> Iterator[tuple[Contract, Store]]:
    """Yield the contract and the store, and close the store."""
    contract, store = context.contract(), context.open_store()
    try:
        yield contract, store
    finally:
        store.close()


def judge(
    context: Context,
    choice: Callable[[Contract, Store], Choice | None],
    kinds: list[str] | None,
    limits: WorkerLimits,
) -> RunSummary:
    """Judge what is chosen (what is due, when None).

    Raises:
        CheckFailedError: Ctrl-C or SIGTERM came; what was judged until then is stored.
    """
    import threading

    from batch.jobs import run_due
    from driftline.cli.progress import progress
    from driftline.cli.signals import stopped_by_signals
    from driftline.clock import SystemClock
    from driftline.errors import CheckFailedError

    stop = threading.Event()
    context.configure_logging()
    with (
        stopped_by_signals(stop),
        opened(context) as (contract, store),
        limits.workers() as pool,
        progress("jobs (windows)", SystemClock()) as report,
    ):

        def on_progress(key: Key, done: int, total: int) -> None:
            if stop.is_set():
                msg = f"stopped after {done:,} of {total:,} windows, which are stored; run it again to go on"
                raise CheckFailedError(msg)
            report(done, total, key.job)

        return run_due(store, contract, pool, SystemClock(), kinds, choice(contract, store), on_progress)


def print_summary(summary: RunSummary, as_json: bool) -> None:
    """Print what was judged."""
    if as_json:
        for count in summary.counts:
            echo_json(count)
        return
    for count in summary.counts:
        failed = f", {count.failures} figures failed (see job_errors)" if count.failures > count.error else ""
        errors = f", {count.error} could not be judged" if count.error else ""
        found = f"{count.ok} ok, {count.insufficient} insufficient, {count.empty} empty"
        typer.echo(f"{count.job} {count.granularity}: {found}{errors}{failed}")
    waiting = f"; {summary.waiting} wait" if summary.waiting else ""
    given_up = f"; {summary.given_up} failed too often (`driftline jobs retry --errors`)" if summary.given_up else ""
    runs = "1 run" if summary.runs == 1 else f"{summary.runs:,} runs"
    typer.echo(f"{runs} in {summary.seconds:.1f} s{waiting}{given_up}")


def echo_json(value: Any) -> None:
    """Print ``value`` as one line of JSON."""
    import msgspec

    typer.echo(msgspec.json.encode(value).decode())
