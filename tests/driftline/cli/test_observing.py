"""What the consumer and the jobs tell, as meters, health and log lines show it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from batch.jobs import RunCount, RunSummary
from batch.observing import JobsObserver
from consumers.observing import BatchCounts, ClosedWindow, Observer, Standing
from driftline.cli.observing import ConsumerWatch, JobsWatch
from driftline.clock import ManualClock
from driftline.errors import StoreUnavailable, TransportUnavailable
from driftline.ops.health import Health
from driftline.ops.meters import Meters
from driftline.transport import Partition

START = datetime(2026, 1, 1, tzinfo=UTC)
PART = Partition("trips", 0)
IDLE = Standing({PART: 0}, {PART: 0}, 0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def meters(clock: ManualClock) -> Meters:
    return Meters(clock)


@pytest.fixture
def health(clock: ManualClock) -> Health:
    return Health(clock, ["consumer", "jobs"], reads_log=True)


@pytest.fixture
def consumer(meters: Meters, health: Health) -> Observer:
    return ConsumerWatch(meters, health)


@pytest.fixture
def jobs(meters: Meters, health: Health) -> JobsObserver:
    return JobsWatch(meters, health)


def value(meters: Meters, name: str, **labels: str) -> float | None:
    return meters.registry.get_sample_value(f"driftline_{name}", labels)


def test_batches_add_up_by_topic(consumer: Observer, meters: Meters) -> None:
    for counts in (BatchCounts(10, 6, 2, 1, 1), BatchCounts(5, 5, 0, 0, 0)):
        consumer.absorbed(PART, counts)
    consumer.absorbed(Partition("labels", 3), BatchCounts(1, 1, 0, 0, 0))
    names = ("records_consumed", "events_ok", "events_duplicate", "events_late", "dead_letters")
    assert [value(meters, f"{name}_total", topic="trips") for name in names] == [15, 11, 2, 1, 1]
    assert [value(meters, f"{name}_total", topic="labels") for name in names] == [1, 1, 0, 0, 0]


def test_a_poll_without_records_does_not_say_that_the_log_answers(consumer: Observer, health: Health) -> None:
    consumer.assigned([PART])
    consumer.flushed(0.1, 1)
    assert health.against_ready() == []
    consumer.log_failed(TransportUnavailable("broker away"))
    consumer.polled()
    assert health.against_ready() == ["broker away"]
    consumer.progress(IDLE)
    assert health.against_ready() == []


def test_a_flush_of_nothing_does_not_say_that_the_store_answers(consumer: Observer, health: Health) -> None:
    consumer.assigned([PART])
    consumer.store_failed(StoreUnavailable("store away"))
    consumer.flushed(0.0, 0)
    assert health.against_ready() == ["store away"]
    consumer.flushed(0.1, 0)
    assert health.against_ready() == []


def test_a_consumer_that_waits_for_its_store_is_alive(consumer: Observer, health: Health, clock: ManualClock) -> None:
    for _ in range(4):
        clock.sleep(200)
        health.ticked("jobs")
        consumer.store_failed(StoreUnavailable("store away"))
        assert health.against_alive() == []


def test_failures_pauses_rebalances_and_audits_are_counted(consumer: Observer, meters: Meters, health: Health) -> None:
    consumer.store_failed(StoreUnavailable("store away"))
    consumer.log_failed(TransportUnavailable("broker away"))
    consumer.rebalanced()
    consumer.topic_paused("trips", "most of it is bad")
    consumer.audited(3)
    names = ("store_errors_total", "log_errors_total", "rebalances_total", "audits_total", "audit_mismatches")
    assert [value(meters, name) for name in names] == [1, 1, 1, 1, 3]
    assert value(meters, "topic_paused", topic="trips") == 1
    assert "most of it is bad" in health.against_flowing()
    consumer.topic_paused("trips", "")
    consumer.audited(0)
    assert (value(meters, "topic_paused", topic="trips"), value(meters, "audit_mismatches")) == (0, 0)


def test_a_window_that_closes_is_a_line_and_a_count(consumer: Observer, meters: Meters) -> None:
    with capture_logs() as lines:
        consumer.window_closed(ClosedWindow("labels", START, datetime(2026, 1, 1, 1, tzinfo=UTC), 42))
    assert lines == [
        {
            "event": "window_closed",
            "log_level": "info",
            "stream": "labels",
            "window_start": "2026-01-01T00:00:00+00:00",
            "window_end": "2026-01-01T01:00:00+00:00",
            "events": 42,
        }
    ]
    assert value(meters, "windows_closed_total", stream="labels") == 1


def test_runs_of_jobs_are_counted_by_job_and_status(jobs: JobsObserver, meters: Meters) -> None:
    counts = (RunCount("drift", "1h", 3, 0, 2, 1), RunCount("drift", "1d", 1, 1, 0, 0))
    jobs.ran(RunSummary(counts, (), 0, 1.5))
    found = [value(meters, "job_runs_total", job="drift", status=status) for status in ("ok", "empty", "insufficient")]
    assert found == [4, 1, 2]
    assert value(meters, "job_failures_total", job="drift") == 1


def test_a_watch_whose_store_is_away_is_alive_and_not_ready(meters: Meters, clock: ManualClock) -> None:
    health = Health(clock, ["jobs"])
    jobs = JobsWatch(meters, health)
    jobs.ran(RunSummary((), (), 0, 0.1))
    clock.sleep(299)
    jobs.turned()
    jobs.store_failed(StoreUnavailable("store away"))
    clock.sleep(299)
    assert (health.against_alive(), health.against_ready()) == ([], ["store away"])
