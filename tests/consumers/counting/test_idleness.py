"""Silent partitions hold nothing back where the contract says so, and a partition that is not read is not silent."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from consumers.loop import FLUSH_SECONDS, ConsumerLoop, Pace
from consumers.reading.breaker import Pauses
from driftline.clock import to_ms
from driftline.events import Marker
from driftline.store import Store
from tests.consumers.making import MINUTE, contract_of, input_of
from tests.consumers.running import Pipeline

PACE = Pace(poll_seconds=0)
IDLE_AFTER = timedelta(minutes=2)
MINUTES = "windows: {stream: 1m, profile: 1m, data: 1m, drift: 1m, quality: [1m]%s}"
_LOOK = timedelta(seconds=10)
_FLUSH = timedelta(seconds=FLUSH_SECONDS)


@pytest.fixture
def pipeline(store: Store, model: str, tmp_path: Path) -> Pipeline:
    contract = contract_of(model, MINUTES % ", idle_after: 2m")
    return Pipeline(store, contract, tmp_path / "log", partitions=4)


def pass_time(pipeline: Pipeline, loop: ConsumerLoop, by: timedelta) -> None:
    """Let the consumer live through ``by``, a flush after another."""
    end = pipeline.clock.now() + by
    while pipeline.clock.now() < end:
        pipeline.clock.advance(_FLUSH)
        loop.step()
        loop.flush()


def complete_to(pipeline: Pipeline) -> datetime:
    rows = pipeline.rows("SELECT complete_to FROM topic_progress WHERE topic = {topic:String}")
    moment: datetime = rows[0]["complete_to"]
    return moment


def bases(pipeline: Pipeline) -> list[str]:
    rows = pipeline.rows("SELECT basis FROM watermarks FINAL WHERE topic = {topic:String} ORDER BY p")
    return [row["basis"] for row in rows]


def minute_of(pipeline: Pipeline) -> int:
    return to_ms(pipeline.clock.now()) // MINUTE


def test_an_idle_partition_holds_windows_back_for_idle_after_and_its_burst_is_counted(pipeline: Pipeline) -> None:
    #  minute       0 … 4     5 … 14     15      16 …
    #  0, 1, 2      events    events     events
    #  3            events    silence    the events of 5 … 14 at once
    first, truth, kept_back = minute_of(pipeline), Counter[int](), []
    with pipeline.consumer(pace=PACE) as loop:
        for minute in range(18):
            if minute == 15:
                pipeline.send(kept_back, partition=3)
            for partition in range(4):
                record = input_of(f"{partition}-{minute}", to_ms(pipeline.clock.now()), amount=1)
                if partition == 3 and 5 <= minute < 15:
                    kept_back.append(record)
                else:
                    pipeline.send([record], partition=partition)
                truth[minute] += 1
            pass_time(pipeline, loop, timedelta(minutes=1))
            behind = pipeline.clock.now() - complete_to(pipeline)
            if 9 <= minute < 15:
                assert IDLE_AFTER <= behind <= IDLE_AFTER + timedelta(minutes=1) + _LOOK + 2 * _FLUSH
                assert bases(pipeline)[3] == "idle"
        pass_time(pipeline, loop, timedelta(minutes=5))

    rows = pipeline.rows(
        "SELECT window_start, n, n_late FROM window_counts WHERE topic = {topic:String} AND column = ''"
    )
    assert {to_ms(row["window_start"]) // MINUTE - first: row["n"] for row in rows} == truth
    assert sum(row["n_late"] for row in rows) == 0  # the log of a partition decides what is late, no clock
    assert complete_to(pipeline) >= pipeline.clock.now() - IDLE_AFTER - timedelta(minutes=1) - _LOOK - 2 * _FLUSH
    assert pipeline.audit().mismatches == ()


def test_a_paused_partition_with_records_waiting_is_not_idle(pipeline: Pipeline) -> None:
    with pipeline.consumer(pace=PACE) as loop:
        for partition in range(4):
            pipeline.send([input_of(f"{partition}", to_ms(pipeline.clock.now()))], partition=partition)
        pass_time(pipeline, loop, timedelta(minutes=1))
        [source] = pipeline.rows("SELECT source_id FROM sources FINAL WHERE topic = {topic:String}")
        pauses = Pauses(pipeline.store, pipeline.contract.model, pipeline.contract.id)
        pauses.pause(pipeline.topic("inputs"), source["source_id"], "test")
        pass_time(pipeline, loop, _LOOK)
        waiting = pipeline.clock.now()
        pipeline.send([input_of("waits", to_ms(waiting))], partition=3)
        pass_time(pipeline, loop, timedelta(minutes=10))
        assert complete_to(pipeline) <= waiting

        pauses.resume(pipeline.topic("inputs"), source["source_id"], "test")
        pass_time(pipeline, loop, timedelta(minutes=4))

    assert complete_to(pipeline) > waiting
    assert (
        sum(
            row["n"]
            for row in pipeline.rows("SELECT n FROM window_counts WHERE topic = {topic:String} AND column = ''")
        )
        == 5
    )


def test_a_partition_that_never_had_a_record_is_complete_after_a_while(pipeline: Pipeline) -> None:
    with pipeline.consumer(pace=PACE) as loop:
        pipeline.send([input_of("only", to_ms(pipeline.clock.now()))])
        pass_time(pipeline, loop, timedelta(minutes=1))
        assert complete_to(pipeline).year == 1970
        pass_time(pipeline, loop, timedelta(minutes=4))
    assert bases(pipeline) == ["idle"] * 4
    assert complete_to(pipeline) >= pipeline.clock.now() - timedelta(minutes=4)


def test_producers_that_send_markers_complete_their_partitions_themselves(pipeline: Pipeline) -> None:
    promised = to_ms(pipeline.clock.now())
    with pipeline.consumer(pace=PACE) as loop:
        for partition in range(4):
            pipeline.send([Marker("A", promised)], partition=partition)
        pass_time(pipeline, loop, timedelta(minutes=10))
    assert (to_ms(complete_to(pipeline)), bases(pipeline)) == (promised, ["marker"] * 4)


def test_without_the_key_silence_completes_nothing(store: Store, model: str, tmp_path: Path) -> None:
    pipeline = Pipeline(store, contract_of(model, MINUTES % ""), tmp_path / "log", partitions=2)
    with pipeline.consumer(pace=PACE) as loop:
        pipeline.send([input_of("only", to_ms(pipeline.clock.now()))])
        pass_time(pipeline, loop, timedelta(minutes=10))
    assert complete_to(pipeline).year == 1970


def test_a_clock_that_is_set_moves_no_window_that_was_silent_before(pipeline: Pipeline) -> None:
    with pipeline.consumer(pace=PACE) as loop:
        for partition in range(4):
            pipeline.send([input_of(f"{partition}", to_ms(pipeline.clock.now()))], partition=partition)
        pass_time(pipeline, loop, timedelta(minutes=4))
        before = pipeline.clock.now()
        pipeline.clock.set_ahead(timedelta(hours=1))
        pass_time(pipeline, loop, timedelta(minutes=1))
    assert complete_to(pipeline) <= before


def test_allowed_lateness_is_added_to_the_silence(store: Store, model: str, tmp_path: Path) -> None:
    contract = contract_of(model, MINUTES % ", idle_after: 2m, allowed_lateness: 10m")
    pipeline = Pipeline(store, contract, tmp_path / "log", partitions=1)
    with pipeline.consumer(pace=PACE) as loop:
        pipeline.send([input_of("only", to_ms(pipeline.clock.now()))])
        pass_time(pipeline, loop, timedelta(minutes=30))
    assert pipeline.clock.now() - complete_to(pipeline) >= IDLE_AFTER + timedelta(minutes=10)
