"""What a process counts of itself for Prometheus, in a registry of its own.

The only module that makes prometheus-client's objects; ``docs/how-to/operate.md`` lists their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

from driftline.clock import Clock, from_ms
from driftline.transport import Partition

# A flush takes 20 ms on an idle laptop; one that waits two minutes has met its client's timeout.
_FLUSH_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class Meters:
    """The meters of one process. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lagging: frozenset[Partition] = frozenset()
        self._watermarks_ms: dict[str, int] = {}
        self.lag_records: int | None = None
        self.waiting_rows: int | None = None
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"driftline_{name}", says, labels, registry=registry)

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(f"driftline_{name}", says, labels, registry=registry)

        self.consumed = counter("records_consumed", "Records read from the log, markers included.", "topic")
        self.ok = counter("events_ok", "Events counted.", "topic")
        self.duplicate = counter("events_duplicate", "Events whose identity had been counted before.", "topic")
        self.late = counter("events_late", "Events counted after their window was complete.", "topic")
        self.dead = counter("dead_letters", "Records that are no event.", "topic")
        self.lag = gauge("lag_records", "Records of the log not read yet.", "topic", "partition")
        self.watermark_age = gauge("watermark_age_seconds", "Clock minus the topic's least watermark.", "topic")
        self.paused = gauge("topic_paused", "1 while the topic is not read because most of it is bad.", "topic")
        self.partitions = gauge("assigned_partitions", "Partitions that this process reads.")
        self.pending_rows = gauge("pending_rows", "Rows read and not stored yet.")
        self.flush_seconds = Histogram(
            "driftline_flush_seconds", "How long storing took.", buckets=_FLUSH_BUCKETS, registry=registry
        )
        self.flushed_rows = counter("flushed_rows", "Raw rows stored.")
        self.last_flush = gauge(
            "last_flush_timestamp_seconds", "When all that was read was last stored, epoch seconds."
        )
        self.windows_closed = counter("windows_closed", "Stream windows that became complete.", "stream")
        self.store_errors = counter("store_errors", "Attempts that the store failed.")
        self.log_errors = counter("log_errors", "Attempts that the log failed.")
        self.rebalances = counter("rebalances", "Times the consumer group shared out its partitions anew.")
        self.audits = counter("audits", "Audits run.")
        self.audit_mismatches = gauge("audit_mismatches", "Comparisons of the last audit that disagreed.")
        self.job_runs = counter("job_runs", "Runs of window jobs stored.", "job", "status")
        self.job_failures = counter("job_failures", "Figures of window jobs that could not be computed.", "job")
        self.heartbeats = counter("heartbeats", "Heartbeats sent and answered.")
        self.heartbeat_errors = counter("heartbeat_errors", "Heartbeats that nobody answered.")
        self.stats_errors = counter("process_stats_errors", "Rows of process_stats that could not be stored.")

    def assigned(self, partitions: Iterable[Partition]) -> None:
        """Show the number of partitions, and a zero for every topic that has counted nothing yet."""
        found = frozenset(partitions)
        self.partitions.set(len(found))
        for topic in {partition.topic for partition in found}:
            for counter in (self.consumed, self.ok, self.duplicate, self.late, self.dead):
                counter.labels(topic)
            self.paused.labels(topic)

    def stands(self, lag: Mapping[Partition, int], watermark_ms: Mapping[Partition, int], pending_rows: int) -> None:
        """Show lag and watermarks of exactly these partitions; a watermark of 0 is none yet."""
        for partition in self._lagging - lag.keys():
            self.lag.remove(partition.topic, str(partition.index))
        for partition, records in lag.items():
            self.lag.labels(partition.topic, str(partition.index)).set(records)
        self._lagging, self.lag_records, self.waiting_rows = frozenset(lag), sum(lag.values()), pending_rows
        self.pending_rows.set(pending_rows)
        self._show_ages(watermark_ms)

    def flushed(self, seconds: float, rows: int) -> None:
        """Count a flush that succeeded; with 0 ``seconds`` there was nothing to store."""
        if seconds:
            self.flush_seconds.observe(seconds)
        self.flushed_rows.inc(rows)
        self.last_flush.set(self._clock.now().timestamp())

    def _show_ages(self, watermark_ms: Mapping[Partition, int]) -> None:
        least: dict[str, int] = {}
        for partition, moment in watermark_ms.items():
            if moment:
                least[partition.topic] = min(moment, least.get(partition.topic, moment))
        for topic in self._watermarks_ms.keys() - least.keys():
            self.watermark_age.remove(topic)
        for topic in least.keys() - self._watermarks_ms.keys():
            # Asked at every scrape: an age that stands still would hide a consumer that does.
            self.watermark_age.labels(topic).set_function(lambda topic=topic: self._age_seconds(topic))  # type: ignore[misc]
        self._watermarks_ms = least

    def _age_seconds(self, topic: str) -> float:
        moment = self._watermarks_ms.get(topic)
        return float("nan") if moment is None else (self._clock.now() - from_ms(moment)).total_seconds()
