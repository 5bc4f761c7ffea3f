"""Everything in one process: replay, consumer, jobs and page over one store; what ``up`` and ``demo`` share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batch.jobs import RunSummary
    from batch.workers.pool import Workers
    from driftline.cli.context import Context
    from driftline.cli.judging import WorkerLimits
    from driftline.cli.operating import Operations
    from driftline.clock import Clock
    from driftline.contract import Contract
    from driftline.store import Store
    from driftline.transport import Transport
    from producers.plan import ReplayPlan
    from producers.replay import Replay

_JOBS_EVERY = timedelta(seconds=5)
LIVE_FLUSH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class System:
    """The parts that are open; ``stop`` ends whatever runs on them."""

    contract: Contract
    clock: Clock
    workers: Workers
    store: Store
    transport: Transport
    operations: Operations
    stop: threading.Event

    def replay(self, plan: ReplayPlan, context: Context) -> Replay:
        """Return a replay of ``plan`` with the trained models of ``--home``."""
        from producers.model_files import load_models
        from producers.replay import Replay

        models = load_models(context.home, self.contract)
        return Replay(plan, self.contract, models, self.transport, self.clock)

    def consume(self) -> None:
        """Consume until stopped."""
        from consumers.loop import Pace
        from driftline.cli.consuming import open_consumer

        pace = Pace(flush_seconds=LIVE_FLUSH_SECONDS)
        observer = self.operations.consumer
        with open_consumer(
            self.store, self.transport, self.contract, self.clock, pace, observer=observer, stop=self.stop
        ) as loop:
            loop.run(self.stop)

    def judge(self, report: Callable[[RunSummary], None]) -> None:
        """Run jobs as windows close and labels come, until stopped."""
        from batch.watch import watch

        observer = self.operations.jobs
        watch(self.store, self.contract, self.workers, self.clock, self.stop.wait, report, _JOBS_EVERY, observer)


@contextmanager
def open_system(
    context: Context, limits: WorkerLimits, ops_port: int | None = None, ops_host: str = "127.0.0.1"
) -> Iterator[System]:
    """Open store, log and workers; the workers first, so that their slow imports overlap with the rest.

    From its start on, the first Ctrl-C or SIGTERM sets the system's ``stop``.
    """
    from driftline.cli.operating import operating
    from driftline.cli.signals import stopped_by_signals
    from driftline.clock import SystemClock
    from producers.topics import ensure_topics

    context.configure_logging()
    stop = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(stopped_by_signals(stop))
        contract, pool = context.contract(), stack.enter_context(limits.workers())
        pool.start()
        store = context.open_store(serve=True)
        stack.callback(store.close)
        transport = context.open_transport()
        stack.callback(transport.close)
        ensure_topics(transport, contract, None)
        operations = stack.enter_context(operating("up", store, ops_port, ops_host))
        yield System(contract, SystemClock(), pool, store, transport, operations, stop)
