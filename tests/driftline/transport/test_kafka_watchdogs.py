"""Clients that fail in silence are replaced once, and then given up, on a real broker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from driftline.clock import ManualClock
from driftline.errors import TransportError
from driftline.transport import Changes, Partition, RecordBatch
from driftline.transport.kafka import KafkaLogConsumer, KafkaTransport
from driftline.transport.kafka.connecting import connect_consumer
from driftline.transport.kafka.watchdog import Patience, StuckPartitions
from driftline.transport.kafka_url import KafkaUrl
from tests.kafka_broker import KafkaBroker

kafka = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

_START = datetime(2026, 1, 1, tzinfo=UTC)
_PLACE = Partition("trips", 0)
_OTHER = Partition("trips", 1)


class TestStuckPartitions:
    def test_a_partition_behind_for_as_long_as_patience_lasts_is_stuck(self) -> None:
        clock = ManualClock(_START)
        stuck = StuckPartitions(clock, 60)
        found = []
        for _ in range(6):
            clock.advance(timedelta(seconds=15))
            assert stuck.is_due()
            found.append(stuck.find({_PLACE: 7, _OTHER: 3}, {_PLACE: 8, _OTHER: 3}))
        assert found == [frozenset()] * 4 + [frozenset({_PLACE})] * 2

    def test_the_log_is_asked_four_times_while_patience_lasts(self) -> None:
        clock = ManualClock(_START)
        stuck = StuckPartitions(clock, 60)
        due = []
        for _ in range(60):
            clock.advance(timedelta(seconds=1))
            due.append(stuck.is_due())
        assert sum(due) == 4

    def test_a_partition_that_moves_or_was_idle_until_now_is_not_stuck(self) -> None:
        clock = ManualClock(_START)
        stuck = StuckPartitions(clock, 60)
        for step in range(10):
            clock.advance(timedelta(seconds=15))
            assert not stuck.find({_PLACE: step, _OTHER: 0}, {_PLACE: 1_000, _OTHER: 0})
        clock.advance(timedelta(seconds=15))
        assert not stuck.find({_PLACE: 10, _OTHER: 0}, {_PLACE: 1_000, _OTHER: 1})

    def test_a_partition_that_is_not_read_for_a_while_starts_anew(self) -> None:
        clock = ManualClock(_START)
        stuck = StuckPartitions(clock, 60)
        for read in ({_PLACE: 0}, {_PLACE: 0}, {}, {_PLACE: 0}, {_PLACE: 0}, {_PLACE: 0}):
            clock.advance(timedelta(seconds=20))
            assert not stuck.find(read, dict.fromkeys(read, 1))

    def test_a_second_client_that_is_stuck_at_the_same_partition_is_in_vain_unless_it_moved(self) -> None:
        stuck = StuckPartitions(ManualClock(_START), 60)
        assert not stuck.blame({_PLACE})
        assert not stuck.blame({_OTHER})
        assert stuck.blame({_PLACE, _OTHER})
        stuck.moved(_PLACE)
        stuck.moved(_OTHER)
        assert not stuck.blame({_PLACE})


class Swallowing:
    """A real client that returns no record of some partitions, and does not pass over them."""

    def __init__(self, client: KafkaConsumer, swallowed: Sequence[TopicPartition]) -> None:
        self._client = client
        self._swallowed = swallowed

    def poll(self, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Sequence[Any]]:
        positions = {place: self._client.position(place) for place in self._swallowed if self._reads(place)}
        polled: dict[TopicPartition, Sequence[Any]] = self._client.poll(timeout_ms, max_records)
        for place, position in positions.items():
            if polled.pop(place, None):
                self._client.seek(place, position)
        return polled

    def _reads(self, place: TopicPartition) -> bool:
        return place in self._client.assignment()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


@pytest.fixture
def transport(kafka_broker: KafkaBroker) -> Iterator[KafkaTransport]:
    opened = KafkaTransport.open(kafka_broker.url)
    yield opened
    opened.close()


@pytest.fixture
def topic(transport: KafkaTransport) -> str:
    name = transport.create_topic(f"topic-{uuid.uuid4().hex[:12]}", 2).name
    with transport.producer() as producer:
        for index in range(2):
            producer.send(Partition(name, index), key=b"key", value=str(index).encode())
    return name


def open_consumer(
    transport: KafkaTransport,
    clock: ManualClock,
    swallowing: Sequence[Sequence[TopicPartition]],
    group: str | None = None,
) -> KafkaLogConsumer:
    """Return a consumer whose first clients swallow records, one entry each; later ones are sound."""
    remaining = list(swallowing)

    def new_client() -> Any:
        client = connect_consumer(KafkaUrl.parse(transport.url), group)
        return Swallowing(client, remaining.pop(0)) if remaining else client

    return KafkaLogConsumer(new_client, transport, group, clock, Patience(stuck_seconds=60, join_seconds=20))


def poll_while_time_passes(
    consumer: KafkaLogConsumer, clock: ManualClock, seconds: int, on_gained: Callable[[Partition], None] | None = None
) -> list[RecordBatch]:
    batches: list[RecordBatch] = []
    for _ in range(seconds // 5):
        batches += consumer.poll(0.2)
        for partition in consumer.changes().gained:
            assert on_gained is not None
            on_gained(partition)
        clock.advance(timedelta(seconds=5))
    return batches


def values(batches: Sequence[RecordBatch]) -> list[bytes | None]:
    return [value for batch in batches for value in batch.values]


class TestAClient:
    pytestmark = kafka

    def test_that_returns_nothing_of_a_partition_is_replaced_and_goes_on_where_it_was(
        self, transport: KafkaTransport, topic: str
    ) -> None:
        clock = ManualClock(_START)
        with open_consumer(transport, clock, [[TopicPartition(topic, 0)]]) as consumer:
            consumer.assign({Partition(topic, 0): 0, Partition(topic, 1): 0})
            before = poll_while_time_passes(consumer, clock, 60)
            after = poll_while_time_passes(consumer, clock, 40)
            assert (values(before), values(after)) == ([b"1"], [b"0"])
            assert consumer.changes() == Changes()

    def test_that_stays_silent_after_it_was_replaced_is_given_up(self, transport: KafkaTransport, topic: str) -> None:
        clock = ManualClock(_START)
        silent = [TopicPartition(topic, 0)]
        with open_consumer(transport, clock, [silent, silent]) as consumer:
            consumer.assign({Partition(topic, 0): 0})
            with pytest.raises(TransportError) as caught:
                poll_while_time_passes(consumer, clock, 300)
        assert not caught.value.retriable
        assert str(caught.value) == (
            f"{topic}[0] of {transport.url} returned no record for 60 s, and again with a new client, "
            "although there are some; look at the brokers, then start again"
        )

    def test_that_is_paused_may_be_silent(self, transport: KafkaTransport, topic: str) -> None:
        clock = ManualClock(_START)
        silent = [TopicPartition(topic, 0)]
        with open_consumer(transport, clock, [silent, silent, silent]) as consumer:
            consumer.assign({Partition(topic, 0): 0})
            consumer.pause([Partition(topic, 0)])
            assert poll_while_time_passes(consumer, clock, 300) == []

    def test_of_a_group_that_returns_nothing_leaves_it_and_joins_anew(
        self, transport: KafkaTransport, topic: str
    ) -> None:
        clock = ManualClock(_START)
        with open_consumer(transport, clock, [[TopicPartition(topic, 0)]], f"group-{topic}") as consumer:
            consumer.subscribe([topic])
            gained: list[Partition] = []

            def start(partition: Partition) -> None:
                gained.append(partition)
                consumer.seek(partition, 0)

            batches = poll_while_time_passes(consumer, clock, 200, start)
            assert sorted(gained) == sorted([Partition(topic, 0), Partition(topic, 1)] * 2)
            assert sorted(filter(None, values(batches))) == [b"0", b"1", b"1"]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_whose_thread_has_died_is_given_up_at_once(self, transport: KafkaTransport, topic: str) -> None:
        clock = ManualClock(_START)
        consumer = open_consumer(transport, clock, [])
        consumer.assign({Partition(topic, 0): 0})

        def die() -> None:
            msg = "as a bug of the client would end it"
            raise RuntimeError(msg)

        consumer._client._net._poll_once = die
        with pytest.raises(TransportError) as caught:
            poll_while_time_passes(consumer, clock, 300)
        assert not caught.value.retriable
        assert str(caught.value) == (
            f"the client of {transport.url} has broken down: its thread has ended; see the log above, then start again"
        )
        consumer.close()
