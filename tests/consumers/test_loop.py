"""The consumer from log to store: bad input, a store that fails, restarts, logs that lose records."""

from __future__ import annotations

import math
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from consumers.counting.segments import DEFAULT_SEGMENT_SIZE
from consumers.loop import Pace
from driftline.cli.consuming import open_consumer
from driftline.clock import ManualClock, to_ms
from driftline.errors import CheckFailedError, ContractError
from driftline.events import Marker
from driftline.profiles import Profile
from driftline.store import Store
from driftline.transport import Partition
from tests.consumers.making import HOUR, MINUTE, T0, contract_of, input_of, label_of, prediction_of
from tests.consumers.running import FailingStore, Pipeline


@pytest.fixture
def pipeline(store: Store, model: str, tmp_path: Path) -> Pipeline:
    return Pipeline(store, contract_of(model), tmp_path / "log")


def inputs(count: int, first: int = 0, step_ms: int = 60_000) -> list[bytes]:
    return [input_of(f"e{n}", T0 + n * step_ms, amount=n % 150, colour="red") for n in range(first, first + count)]


def test_bad_input_is_counted_or_kept_as_a_dead_letter_and_nothing_else_is_lost(pipeline: Pipeline) -> None:
    bad = {
        b"not json": "not_json",
        b'{"id":"\xff\xfe"}': "not_utf8",
        b"[" * 10_000: "too_deep",
        b'{"x":"' + b"y" * (10_000_000 - 8) + b'"}': "too_large",
        b"": "empty_value",
        input_of("t1970", 0): "before_floor",
        input_of("t2999", 32_472_144_000_000): "in_future",
        input_of("t20", 10**19): "envelope",
        b'{"id":7,"event_time":%d,"features":{}}' % T0: "envelope",
    }
    hostile = "<img src=x onerror=alert(1)>'; DROP TABLE segments; --"
    violating = [
        input_of("v1", T0, amount="wrong"),
        input_of("v2", T0, amount=math.nan),
        input_of("v3", T0, amount=-math.inf),
        b'{"id":"v4","event_time":%d,"features":{"amount":%s}}' % (T0, b"9" * 5_000),
        input_of("v5", T0, amount=1, colour=hostile, note=hostile),
    ]
    good = inputs(30)

    pipeline.send([*good[:10], *bad, *good[10:20], None, *violating, *good[20:]], key=b"")
    pipeline.consume()
    pipeline.send(inputs(5, first=30))
    pipeline.consume()

    letters = pipeline.rows(
        "SELECT reason, raw, raw_bytes FROM dead_letters FINAL WHERE topic = {topic:String} ORDER BY o"
    )
    assert [row["reason"] for row in letters] == [*bad.values(), "empty_value"]
    assert [row["raw_bytes"] for row in letters] == [*map(len, bad), 0]
    account = pipeline.audit()
    assert (account.produced, account.ok, account.dead, account.mismatches) == (50, 40, 10, ())
    amount, colour = pipeline.counts("amount")[0], pipeline.counts("colour")[0]
    assert (amount["n"], amount["n_missing"], amount["n_type"], amount["n_nonfinite"]) == (40, 4, 1, 3)
    assert colour["n_unseen"] == 1
    notes = pipeline.store.query(f"SELECT note FROM {pipeline.contract.raw_inputs_table} FINAL WHERE id = 'v5'")
    assert notes == [{"note": hostile}]


def test_hostile_predictions_and_labels_leave_the_others_alone(pipeline: Pipeline) -> None:
    pipeline.send(
        [
            prediction_of("a"),
            prediction_of("b", version="v" * 900_000),
            prediction_of("c", version="\ud800"),
            prediction_of("d", prediction={"cat": 1}, latency_ms=1e300),
            prediction_of("e", prediction=None, status="timeout"),
            prediction_of("f", version="v1\0"),
        ],
        "predictions",
    )
    pipeline.send([label_of("a"), label_of("b", T0, None), label_of("c", T0, 1e308), label_of("d", -1)], "labels")

    pipeline.consume()

    predictions, labels = pipeline.audit("predictions"), pipeline.audit("labels")
    assert (predictions.ok, predictions.dead, predictions.mismatches) == (4, 2, ())
    assert (labels.ok, labels.dead, labels.mismatches) == (3, 1, ())


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_consumer_whose_clock_is_wrong_counts_the_same(store: Store, model: str, tmp_path: Path, hours: int) -> None:
    found = []
    for name, off in (("right", timedelta(0)), ("wrong", timedelta(hours=hours))):
        pipeline = Pipeline(store, contract_of(f"{name}_{model[-40:]}"), tmp_path / name)
        now = to_ms(pipeline.clock.now())
        pipeline.send([*inputs(90), input_of("now", now + MINUTE), input_of("ahead", now + HOUR)])
        clock = ManualClock(pipeline.clock.now() + off)
        with open_consumer(store, pipeline.transport, pipeline.contract, clock, Pace(poll_records=20)) as loop:
            loop.step()
            loop.flush()
            clock.set_ahead(-2 * off)
            loop.run_until_end(threading.Event())
        account = pipeline.audit()
        assert (account.ok, account.dead, account.mismatches) == (91, 1, ())
        progress = pipeline.rows("SELECT watermark, complete_to FROM topic_progress WHERE topic = {topic:String}")
        told = {hour: (row["n"], row["n_late"], row["id_sum"]) for hour, row in pipeline.counts().items()}
        found.append((told, progress))
    assert found[0] == found[1]


def test_a_segment_of_markers_and_poison_alone_is_stored(pipeline: Pipeline) -> None:
    pipeline.send([Marker("A", T0), b"poison", Marker("A", T0 + HOUR)])

    pipeline.consume()

    account = pipeline.audit()
    assert (account.produced, account.markers, account.dead, account.mismatches) == (1, 2, 1, ())


@pytest.mark.parametrize("written", [False, True], ids=["refused", "answer_lost"])
@pytest.mark.parametrize("fail_at", range(1, 8))
def test_a_flush_repeated_after_any_failed_insert_loses_and_doubles_nothing(
    pipeline: Pipeline, fail_at: int, written: bool
) -> None:
    pipeline.send([*inputs(100), b"poison", *inputs(20)])
    with pipeline.consumer(failing := FailingStore(pipeline.store)) as loop:
        failing.inserts, failing.fail_at, failing.written = 0, fail_at, written
        loop.run_until_end(threading.Event())

    account = pipeline.audit()
    assert failing.inserts > fail_at or fail_at == 7
    assert (account.ok, account.duplicate, account.dead, account.pending) == (100, 20, 1, 0)
    assert account.mismatches == ()


def test_a_store_that_cannot_be_read_is_waited_for_too(pipeline: Pipeline) -> None:
    pipeline.send(inputs(50))
    pipeline.consume()
    pipeline.send(inputs(50))
    failing = FailingStore(pipeline.store)
    with pipeline.consumer(failing) as loop:
        # a segment of its own, so that the ids before it are asked for
        state = next(iter(loop._holdings.states.values()))
        state.start.seen._hours.clear()
        state.start.seen._stored_hours = {T0}
        failing.fail_queries = 3
        loop.run_until_end(threading.Event())

    assert failing.fail_queries == 0
    assert (pipeline.audit().duplicate, pipeline.audit().mismatches) == (50, ())


def test_a_second_replay_is_all_duplicates_even_after_a_restart(pipeline: Pipeline) -> None:
    pipeline.send(inputs(300))
    pipeline.consume()
    before = pipeline.counts()
    pipeline.send(inputs(300))
    pipeline.consume()

    account = pipeline.audit()
    assert (account.ok, account.duplicate, account.mismatches) == (300, 300, ())
    assert {hour: row["n"] for hour, row in pipeline.counts().items()} == {
        hour: row["n"] for hour, row in before.items()
    }


def test_duplicates_of_forgotten_hours_are_found_again_across_segments(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.reading.recovery.DEFAULT_SEGMENT_SIZE", 40)
    pipeline.send(inputs(200))
    pipeline.send(inputs(200))
    with pipeline.consumer(pace=Pace(flush_rows=1, poll_records=30)) as loop:
        for state in loop._holdings.states.values():
            state.start.seen._capacity = 0
        loop.run_until_end(threading.Event())

    assert (pipeline.audit().ok, pipeline.audit().duplicate, pipeline.audit().mismatches) == (200, 200, ())


def test_an_interrupted_consumer_goes_on_from_its_segments_start(pipeline: Pipeline) -> None:
    pipeline.send(inputs(50))
    pipeline.consume()
    pipeline.send(inputs(50, first=50))
    with pipeline.consumer() as loop:
        loop.step()  # read, counted, and never stored: as after SIGKILL
    pipeline.consume()

    assert (pipeline.audit().ok, pipeline.audit().mismatches) == (100, ())


def test_most_records_bad_pauses_the_topic_and_says_so(pipeline: Pipeline) -> None:
    pipeline.send([b"poison"] * 1_200)
    pipeline.send([label_of(f"l{n}") for n in range(20)], "labels")

    with pytest.raises(CheckFailedError) as caught:
        pipeline.consume(pace=Pace(poll_records=100))

    topic = pipeline.topic("inputs")
    assert str(caught.value) == (
        f"topic {topic} is paused: more than 50% of its last 1000 records cannot be read; see `driftline dlq ls "
        f"--topic {topic}`, mend the contract and start again, or mend the producer and run "
        f"`driftline dlq resume {topic}`"
    )
    account = pipeline.audit()
    assert 1_000 <= account.dead < 1_200
    assert (account.pending, account.mismatches) == (1_200 - account.dead, ())
    assert pipeline.audit("labels").ok == 20


def test_records_lost_to_retention_are_a_gap_with_its_exact_range(pipeline: Pipeline) -> None:
    pipeline.send(inputs(30))
    pipeline.consume()
    pipeline.send(inputs(30, first=30))
    pipeline.transport.delete_records(Partition(pipeline.topic("inputs"), 0), 45)
    pipeline.consume()

    gaps = pipeline.rows("SELECT from_o, to_o, reason FROM data_gaps FINAL WHERE topic = {topic:String}")
    assert gaps == [{"from_o": 30, "to_o": 45, "reason": "retention"}]
    account = pipeline.audit()
    assert (account.produced, account.ok, account.pending, account.mismatches) == (45, 45, 0, ())


def test_records_expired_after_they_were_counted_are_no_gap(pipeline: Pipeline) -> None:
    pipeline.send(inputs(30))
    pipeline.consume()
    pipeline.transport.delete_records(Partition(pipeline.topic("inputs"), 0), 20)
    pipeline.send(inputs(30, first=20))
    pipeline.consume()

    assert pipeline.rows("SELECT * FROM data_gaps FINAL WHERE topic = {topic:String}") == []
    account = pipeline.audit()
    assert (account.ok, account.duplicate, account.mismatches) == (50, 10, ())


def test_a_partition_whose_log_lost_its_end_is_not_read_and_the_others_are(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.send(inputs(30))
    pipeline.consume()
    topic, source = pipeline.topic("inputs"), pipeline.transport.describe_topic(pipeline.topic("inputs")).topic_id
    row = pipeline.rows("SELECT * EXCEPT (written) FROM segments FINAL WHERE topic = {topic:String}")[0]
    pipeline.store.insert_rows("segments", [{**row, "hi": 40, "seg_version": 40 << 16, "source_id": source}])

    with pytest.raises(CheckFailedError) as caught:
        pipeline.consume()

    assert str(caught.value) == (
        f"{topic}[0] ended at offset 30 when the store had counted up to 40: the log has lost records, and others may "
        "have taken their offsets; delete and recreate the topic so that it gets a new identity, or restore the log "
        "and delete the row of data_gaps"
    )

    pipeline.send(inputs(30, first=30))  # the log passes the place again, with other records
    with pytest.raises(CheckFailedError, match="ended at offset 30"):
        pipeline.consume()


def test_counts_that_the_store_lost_are_made_again(pipeline: Pipeline) -> None:
    pipeline.send(inputs(120))
    pipeline.consume()
    before = {hour: row["n"] for hour, row in pipeline.counts().items()}
    pipeline.store.execute(
        "DELETE FROM segment_counts WHERE topic = {topic:String} AND window_start = toDateTime64('2023-05-01 01:00:00', 3, 'UTC')",  # noqa: E501
        {"topic": pipeline.topic("inputs")},
    )
    assert pipeline.audit().mismatches != ()
    pipeline.send(inputs(1, first=120))
    pipeline.consume()

    assert pipeline.audit().mismatches == ()
    assert {hour: row["n"] for hour, row in pipeline.counts().items()} == {**before, 2: 1}


@pytest.mark.parametrize("lost", [0, 1])
def test_a_commit_record_that_the_store_lost_is_made_again(pipeline: Pipeline, lost: int) -> None:
    pipeline.send(inputs(3 * DEFAULT_SEGMENT_SIZE - 10))
    pipeline.consume()
    before = {hour: (row["n"], row["id_sum"]) for hour, row in pipeline.counts().items()}
    pipeline.store.execute(
        "DELETE FROM segments WHERE topic = {topic:String} AND lo = {lo:UInt64}",
        {"topic": pipeline.topic("inputs"), "lo": lost * DEFAULT_SEGMENT_SIZE},
    )
    assert pipeline.audit().mismatches != ()
    pipeline.consume()

    assert pipeline.audit().mismatches == ()
    assert {hour: (row["n"], row["id_sum"]) for hour, row in pipeline.counts().items()} == before


def test_a_contract_changed_within_a_segment_counts_each_event_once(store: Store, model: str, tmp_path: Path) -> None:
    before = Pipeline(store, contract_of(model), tmp_path / "log")
    before.send(inputs(60))
    before.consume()

    narrower = contract_of(model, columns="\n  amount: {type: number, range: [0, 10]}\n  colour: {type: category}")
    after = Pipeline(store, narrower, tmp_path / "log")
    after.send(inputs(10, first=60))
    with after.consumer(pace=Pace(poll_records=25)) as loop:
        loop.step()
        loop.flush()  # the new contract has reached offset 25, the old one 60: the old one's figures stand
        halfway = after.counts("amount")[0]
        loop.run_until_end(threading.Event())

    assert (halfway["n"], halfway["n_range"]) == (60, 0)
    assert {hour: (row["n"], row["n_range"]) for hour, row in after.counts("amount").items()} == {
        0: (60, 49),
        1: (10, 10),
    }
    assert (after.audit().ok, after.audit().mismatches) == (70, ())


def test_events_of_a_hundred_and_thirty_months_fit_one_flush(pipeline: Pipeline) -> None:
    month = 2_629_800_000
    pipeline.send([input_of(f"e{n}", 946_684_800_000 + n * month, amount=1) for n in range(130)])

    pipeline.consume()

    assert (pipeline.audit().ok, pipeline.audit().mismatches) == (130, ())
    profiles = pipeline.rows("SELECT sum(n) AS n FROM segment_profiles FINAL WHERE topic = {topic:String}")
    assert profiles == [{"n": 130}]


def test_every_window_has_its_profile_whenever_the_minute_ran_out(pipeline: Pipeline) -> None:
    """Time goes on within a flush: a profile must not be ticked off that was not written."""

    class HastyClock(type(pipeline.clock)):  # type: ignore[misc]
        def monotonic(self) -> float:
            self.sleep(0.4)
            return float(super().monotonic())

    pipeline.clock = HastyClock(pipeline.clock.now())
    pipeline.send(inputs(200))
    with pipeline.consumer(pace=Pace(flush_seconds=5, poll_seconds=0, poll_records=10)) as loop:
        loop.run_until_end(threading.Event())

    rows = pipeline.rows(
        "SELECT n, hex(blob) AS blob FROM segment_profiles FINAL WHERE topic = {topic:String} ORDER BY window_start"
    )
    assert [row["n"] for row in rows] == [60, 60, 60, 20]
    assert [Profile.from_bytes(bytes.fromhex(row["blob"])).rows()["amount"] for row in rows] == [60, 60, 60, 20]


def test_partitions_are_counted_apart_and_read_as_one(store: Store, model: str, tmp_path: Path) -> None:
    pipeline = Pipeline(store, contract_of(model), tmp_path / "log", partitions=3)
    for partition in range(3):
        pipeline.send(inputs(20, first=100 * partition, step_ms=0), partition=partition)

    pipeline.consume()

    assert pipeline.counts()[0]["n"] == 60
    assert (pipeline.audit().ok, pipeline.audit().mismatches) == (60, ())


def test_two_hundred_columns_go_through(store: Store, model: str, tmp_path: Path) -> None:
    columns = "".join(f"\n  c{number}: {{type: number}}" for number in range(200))
    pipeline = Pipeline(store, contract_of(model, columns=columns), tmp_path / "log")
    pipeline.send([input_of(f"e{n}", T0, **{f"c{number}": number + n for number in range(200)}) for n in range(20)])

    pipeline.consume()

    totals = pipeline.rows("SELECT column, total FROM window_counts WHERE topic = {topic:String} AND column != ''")
    assert {row["column"]: row["total"] for row in totals} == {f"c{n}": 20 * n + 190.0 for n in range(200)}
    assert pipeline.audit().mismatches == ()


def test_a_second_model_on_the_same_topics_is_refused_and_takes_no_counts(pipeline: Pipeline, model: str) -> None:
    pipeline.send(inputs(20))
    pipeline.consume()
    topics = pipeline.contract.topics
    stranger = contract_of(
        f"{model}_copy",
        f"topics: {{inputs: {topics.inputs}, predictions: {topics.predictions}, labels: {topics.labels}}}\n",
    )
    copied = Pipeline(pipeline.store, stranger, pipeline.log)

    with pytest.raises(ContractError) as caught:
        copied.consume()

    assert str(caught.value) == (
        f"`topics.inputs` must be a topic of this model's own; {topics.inputs} is counted for model {model}; "
        f"give {model}_copy other topics, or another --home or --store"
    )
    assert pipeline.audit().mismatches == ()
    assert sum(row["n"] for row in pipeline.counts().values()) == 20


def test_other_windows_are_refused_once_a_whole_segment_is_counted_and_taken_before(
    pipeline: Pipeline, model: str
) -> None:
    half_hours = contract_of(model, "windows: {stream: 30m, profile: 30m}\n")
    pipeline.send(inputs(20))
    pipeline.consume()
    changed = Pipeline(pipeline.store, half_hours, pipeline.log)
    changed.consume()
    changed.send(inputs(DEFAULT_SEGMENT_SIZE, first=20, step_ms=100))
    changed.consume()
    assert changed.audit().mismatches == ()

    with pytest.raises(ContractError) as caught:
        pipeline.consume()

    assert str(caught.value) == (
        f"`windows.stream` must stay 30m, the windows that {changed.topic('inputs')}[0] is counted in; got 1h; "
        "set it back, or count the topic anew in another --home or --store"
    )
    changed.consume()
    assert changed.audit().mismatches == ()
