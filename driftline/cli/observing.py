"""What the parts of a process tell, into its meters, its health and its log lines."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from batch.jobs import RunSummary
    from consumers.observing import BatchCounts, ClosedWindow, Standing
    from driftline.errors import StoreUnavailable
    from driftline.ops.health import Health
    from driftline.ops.meters import Meters
    from driftline.transport import Partition

_log = structlog.get_logger(__name__)
_CONSUMER, _JOBS = "consumer", "jobs"  # the parts that a healthy process hears from


@dataclass(frozen=True, slots=True)
class ConsumerWatch:
    """A ``consumers.observing.Observer``."""

    meters: Meters
    health: Health

    def polled(self) -> None:
        """Show that the loop turns."""
        self.health.ticked(_CONSUMER)

    def absorbed(self, partition: Partition, counts: BatchCounts) -> None:
        """Count a batch, and show that the log answers."""
        self.health.answered("log")
        topic, meters = partition.topic, self.meters
        meters.consumed.labels(topic).inc(counts.records)
        meters.ok.labels(topic).inc(counts.ok)
        meters.duplicate.labels(topic).inc(counts.duplicate)
        meters.late.labels(topic).inc(counts.late)
        meters.dead.labels(topic).inc(counts.dead)

    def flushed(self, seconds: float, rows: int) -> None:
        """Show that the store has everything; it has answered only where there was something to store."""
        self.meters.flushed(seconds, rows)
        self.health.ticked(_CONSUMER)
        self.health.answered("flush")
        if seconds:
            self.health.answered("store")
            _log.debug("flushed", rows=rows, seconds=round(seconds, 6))

    def window_closed(self, window: ClosedWindow) -> None:
        """Write the line per window."""
        self.meters.windows_closed.labels(window.stream).inc()
        _log.info(
            "window_closed",
            stream=window.stream,
            window_start=window.window_start.isoformat(),
            window_end=window.window_end.isoformat(),
            events=window.events,
        )

    def store_failed(self, error: Exception) -> None:
        """Show that the store does not answer, and that the loop knows."""
        self.meters.store_errors.inc()
        self.health.ticked(_CONSUMER)
        self.health.failed("store", str(error))

    def log_failed(self, error: Exception) -> None:
        """Show that the log does not answer, and that the loop knows."""
        self.meters.log_errors.inc()
        self.health.ticked(_CONSUMER)
        self.health.failed("log", str(error))

    def topic_paused(self, topic: str, reason: str) -> None:
        """Show that a topic is not read."""
        self.meters.paused.labels(topic).set(1 if reason else 0)
        self.health.paused(topic, reason)

    def assigned(self, partitions: Collection[Partition]) -> None:
        """Show what this process reads, and that the log answers."""
        self.health.answered("log")
        self.meters.assigned(partitions)
        self.health.assigned(len(partitions))
        _log.info("partitions_assigned", partitions=sorted(str(partition) for partition in partitions))

    def rebalanced(self) -> None:
        """Count a rebalance."""
        self.meters.rebalances.inc()

    def progress(self, standing: Standing) -> None:
        """Show lag and watermarks, and that the log answers."""
        self.health.answered("log")
        self.meters.stands(standing.lag, standing.watermark_ms, standing.pending_rows)

    def audited(self, mismatches: int) -> None:
        """Show the last audit."""
        self.meters.audits.inc()
        self.meters.audit_mismatches.set(mismatches)


@dataclass(frozen=True, slots=True)
class JobsWatch:
    """A ``batch.observing.JobsObserver``."""

    meters: Meters
    health: Health

    def turned(self) -> None:
        """Show that the watch is at work."""
        self.health.ticked(_JOBS)

    def ran(self, summary: RunSummary) -> None:
        """Count runs, and show that the store answers."""
        self.health.answered("store")
        for count in summary.counts:
            for status, runs in (("ok", count.ok), ("empty", count.empty), ("insufficient", count.insufficient)):
                self.meters.job_runs.labels(count.job, status).inc(runs)
            self.meters.job_failures.labels(count.job).inc(count.failures)
        if summary.runs:
            _log.info("jobs_ran", runs=summary.runs, failures=summary.failures, seconds=round(summary.seconds, 3))

    def store_failed(self, error: StoreUnavailable) -> None:
        """Show that the store does not answer."""
        self.meters.store_errors.inc()
        self.health.failed("store", str(error))
