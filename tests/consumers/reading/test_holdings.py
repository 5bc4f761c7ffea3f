"""What may happen to topics and partitions while a consumer reads them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from consumers.loop import ConsumerLoop, Pace
from consumers.reading.membership import Group, Share
from driftline.cli.consuming import open_consumer
from driftline.errors import TransportUnavailable, UsageError
from driftline.store import Store
from driftline.transport import Partition
from driftline.transport.local_consumer import LocalConsumer
from tests.consumers.making import HOUR, T0, contract_of, input_of
from tests.consumers.running import Pipeline

AT_ONCE = Pace(flush_seconds=0.0, poll_seconds=0.0)


@pytest.fixture
def pipeline(store: Store, model: str, tmp_path: Path) -> Pipeline:
    return Pipeline(store, contract_of(model), tmp_path / "log")


def inputs(count: int, first: int = 0) -> list[bytes]:
    return [input_of(f"e{n}", T0 + n * HOUR // 60, amount=1) for n in range(first, first + count)]


def settle(loop: ConsumerLoop) -> None:
    """Let the loop notice, read and store what is there now."""
    loop.step()
    loop.flush()


def test_a_topic_made_again_while_it_is_read_is_counted_under_its_new_identity(pipeline: Pipeline) -> None:
    pipeline.send(inputs(10))
    with pipeline.consumer(pace=AT_ONCE) as loop:
        settle(loop)
        pipeline.transport.delete_topic(pipeline.topic("inputs"))
        pipeline.transport.create_topic(pipeline.topic("inputs"), 1)
        pipeline.send(inputs(5, first=100))
        settle(loop)
        settle(loop)
        settle(loop)

    account = pipeline.audit()
    assert (account.produced, account.ok, account.pending, account.mismatches) == (5, 5, 0, ())
    assert {hour: row["n"] for hour, row in pipeline.counts().items()} == {0: 10, 1: 5}


def test_a_topic_deleted_while_it_is_read_does_not_end_the_consumer_and_keeps_the_others_going(
    pipeline: Pipeline,
) -> None:
    pipeline.send(inputs(10))
    with pipeline.consumer(pace=AT_ONCE) as loop:
        settle(loop)
        pipeline.transport.delete_topic(pipeline.topic("labels"))
        pipeline.send(inputs(10, first=10))
        settle(loop)
        settle(loop)
        assert loop._holdings.missing == {pipeline.topic("labels")}
        pipeline.transport.create_topic(pipeline.topic("labels"), 1)
        settle(loop)
        assert loop._holdings.missing == set()

    assert (pipeline.audit().ok, pipeline.audit().mismatches) == (20, ())


def test_a_topic_made_again_while_another_is_still_deleted_is_read_at_once(pipeline: Pipeline) -> None:
    pipeline.send(inputs(10))
    with pipeline.consumer(pace=AT_ONCE) as loop:
        settle(loop)
        for stream in ("inputs", "labels"):
            pipeline.transport.delete_topic(pipeline.topic(stream))
        settle(loop)
        pipeline.transport.create_topic(pipeline.topic("inputs"), 1)
        pipeline.send(inputs(5, first=100))
        settle(loop)
        settle(loop)
        assert loop._holdings.missing == {pipeline.topic("labels")}
        assert {hour: row["n"] for hour, row in pipeline.counts().items()} == {0: 10, 1: 5}
        pipeline.transport.create_topic(pipeline.topic("labels"), 1)
        settle(loop)
        assert loop._holdings.missing == set()

    assert (pipeline.audit().ok, pipeline.audit().pending, pipeline.audit().mismatches) == (5, 0, ())


def test_records_deleted_before_a_running_consumer_read_them_are_a_gap_of_that_range(pipeline: Pipeline) -> None:
    pipeline.send(inputs(20))
    with pipeline.consumer(pace=AT_ONCE) as loop:
        settle(loop)
        pipeline.send(inputs(30, first=20))
        pipeline.transport.delete_records(Partition(pipeline.topic("inputs"), 0), 40)
        settle(loop)
        settle(loop)

    gaps = pipeline.rows("SELECT p, from_o, to_o, reason FROM data_gaps FINAL WHERE topic = {topic:String}")
    assert gaps == [{"p": 0, "from_o": 20, "to_o": 40, "reason": "retention"}]
    account = pipeline.audit()
    assert (account.ok, account.lost, account.pending, account.mismatches) == (30, 20, 0, ())


def test_two_shares_read_every_partition_once(store: Store, model: str, tmp_path: Path) -> None:
    pipeline = Pipeline(store, contract_of(model), tmp_path / "log", partitions=5)
    for partition in range(5):
        pipeline.send(inputs(10, first=10 * partition), partition=partition)
    for share, expected in ((Share(0, 2), 30), (Share(1, 2), 50)):
        with open_consumer(store, pipeline.transport, pipeline.contract, pipeline.clock, None, share) as loop:
            loop.run_until_end(threading.Event())
        assert pipeline.audit().ok == expected

    assert pipeline.audit().mismatches == ()


@pytest.mark.parametrize("text", ["2/2", "1", "-1/2", "a/b", "0/0", "", "0/2/3"])
def test_a_share_that_is_none_is_told(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Share.parse(text)

    assert str(caught.value) == (
        f"a share is written i/n with i from 0 to n-1; got {text!r}; two processes take 0/2 and 1/2"
    )


def test_a_local_log_has_no_groups(pipeline: Pipeline) -> None:
    with (
        pytest.raises(UsageError, match="share its partitions with `--assignment i/n`"),
        open_consumer(
            pipeline.store, pipeline.transport, pipeline.contract, pipeline.clock, None, Group("monitors")
        ) as loop,
    ):
        loop.step()


def test_a_topic_paused_and_resumed_by_others_is_left_and_taken_up_where_it_was(pipeline: Pipeline) -> None:
    from consumers.reading.breaker import Pauses

    pauses = Pauses(pipeline.store, pipeline.contract.model, pipeline.contract.id)
    topic = pipeline.topic("inputs")
    source = pipeline.transport.describe_topic(topic).topic_id
    pipeline.send(inputs(10))
    with pipeline.consumer(pace=AT_ONCE) as loop:
        settle(loop)
        pauses.pause(topic, source, "somebody")
        settle(loop)
        pipeline.send(inputs(10, first=10))
        settle(loop)
        assert (loop.progress.ok, list(loop.progress.paused_topics)) == (10, [topic])
        pauses.resume(topic, source, "somebody")
        settle(loop)
        settle(loop)
        assert (loop.progress.ok, loop.progress.paused_topics) == (20, {})

    assert (pipeline.audit().ok, pipeline.audit().mismatches) == (20, ())


def test_a_log_that_does_not_answer_at_the_start_is_asked_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, begin_offsets = iter([False, True, False]), LocalConsumer.begin_offsets

    def sometimes(self: LocalConsumer, partitions: Sequence[Partition]) -> dict[Partition, int]:
        if not next(answers, True):
            msg = "the log does not answer"
            raise TransportUnavailable(msg)
        return begin_offsets(self, partitions)

    monkeypatch.setattr(LocalConsumer, "begin_offsets", sometimes)
    pipeline.send(inputs(10))
    pipeline.consume()

    assert next(answers, None) is None
    assert (pipeline.audit().ok, pipeline.audit().mismatches) == (10, ())


def test_a_consumer_told_to_stop_while_the_log_is_away_at_the_start_ends(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_self: LocalConsumer, _partitions: Sequence[Partition]) -> dict[Partition, int]:
        stop.set()
        msg = "the log does not answer"
        raise TransportUnavailable(msg)

    stop = threading.Event()
    monkeypatch.setattr(LocalConsumer, "begin_offsets", never)
    with (
        pytest.raises(TransportUnavailable),
        open_consumer(pipeline.store, pipeline.transport, pipeline.contract, pipeline.clock, stop=stop),
    ):
        pass
