from __future__ import annotations

from datetime import UTC, datetime

import pytest

from driftline.clock import ManualClock
from driftline.ops.health import ALIVE_SECONDS, FRESH_SECONDS, Health


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def health(clock: ManualClock) -> Health:
    return Health(clock, ("consumer", "jobs"), reads_log=True)


def working(health: Health) -> None:
    health.assigned(2)
    for part in ("consumer", "jobs"):
        health.ticked(part)
    for what in ("store", "log", "flush"):
        health.answered(what)


def test_a_part_that_never_began_is_noticed_as_one_that_hangs(health: Health, clock: ManualClock) -> None:
    clock.sleep(ALIVE_SECONDS)
    assert health.against_alive() == []
    health.ticked("consumer")
    clock.sleep(1)
    assert health.against_alive() == ["the jobs has not moved for 301 s"]


def test_a_process_is_not_ready_before_store_and_log_have_answered_and_partitions_are_its_own(health: Health) -> None:
    assert health.against_ready() == [
        "the store has not answered yet",
        "the log has not answered yet",
        "no partition is assigned to this process",
    ]
    working(health)
    assert health.against_ready() == []


def test_a_failure_counts_until_the_next_answer(health: Health) -> None:
    working(health)
    health.failed("store", "store does not answer")
    assert health.against_ready() == ["store does not answer"]
    health.answered("store")
    assert health.against_ready() == []


def test_a_process_that_reads_no_log_needs_none(clock: ManualClock) -> None:
    health = Health(clock)
    health.answered("store")
    assert (health.against_alive(), health.against_ready()) == ([], [])


def test_silence_is_not_flowing(health: Health, clock: ManualClock) -> None:
    working(health)
    assert health.against_flowing() == []
    clock.sleep(FRESH_SECONDS + 1)
    assert health.against_ready() == []
    for what in ("flush", "log"):
        health.answered(what)
    assert health.against_flowing() == ["no store has succeeded for 121 s"]


def test_a_paused_topic_is_not_flowing_and_yet_ready(health: Health) -> None:
    working(health)
    health.paused("trips", "topic trips is paused")
    assert (health.against_ready(), health.against_flowing()) == ([], ["topic trips is paused"])
    health.paused("trips", "")
    assert health.against_flowing() == []
