"""Judging windows as they become due, for as long as someone wants it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog

from batch.jobs import RunSummary, run_due
from batch.ledger.ledger import Key
from batch.ledger.triggers import Ladder
from batch.observing import JobsObserver, NullJobsObserver
from batch.workers.pool import Workers
from driftline.clock import Clock
from driftline.contract.model import Contract
from driftline.errors import StoreUnavailable
from driftline.store import Store

_log = structlog.get_logger(__name__)

RECONCILE_EVERY = timedelta(seconds=60)


class _Stopped(Exception):
    """Leaves a run between two chunks."""


def watch(
    store: Store,
    contract: Contract,
    workers: Workers,
    clock: Clock,
    stopped: Callable[[float], bool],
    report: Callable[[RunSummary], None],
    every: timedelta = RECONCILE_EVERY,
    observer: JobsObserver | None = None,
) -> None:
    """Run what the ladder wants and look again ``every`` so often; ``report`` hears of all that ran.

    A store that does not answer is tried again at the next look. ``stopped`` waits so many seconds, or less, and
    returns whether to end (``threading.Event.wait``); asked between chunks of windows too, as each is stored for good.
    """
    ladder, observer = Ladder(clock), observer or NullJobsObserver()

    def turn(_key: Key, _done: int, _total: int) -> None:
        observer.turned()
        if stopped(0.0):
            raise _Stopped

    while not stopped(0.0):
        observer.turned()
        try:
            summary = run_due(store, contract, workers, clock, choose=ladder.wants, progress=turn)
        except _Stopped:
            return
        except StoreUnavailable as error:
            _log.warning("jobs_postponed", reason=str(error))
            observer.store_failed(error)
        else:
            ladder.ran(summary.keys)
            observer.ran(summary)
            if summary.runs:
                report(summary)
        if stopped(every.total_seconds()):
            return
