"""What every log promises (``driftline/transport/base.py``), asked of every backend."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from driftline.errors import (
    DeliveryFailed,
    OffsetOutOfRange,
    TopicMismatch,
    TopicNotFound,
    TransportError,
    UsageError,
)
from driftline.transport import Changes, Consumer, Partition, Producer, RecordBatch, open_transport
from driftline.transport.kafka import KafkaTransport
from driftline.transport.limits import MAX_VALUE_BYTES
from driftline.transport.local import LocalTransport
from tests.contracts.numbered_producer import value_of

_REPOSITORY = Path(__file__).parents[2]
_PATIENCE_SECONDS = 30.0

AnyTransport = LocalTransport | KafkaTransport


@pytest.fixture(params=["local", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.xdist_group("kafka")])])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the log is, one backend after the other."""
    if request.param == "local":
        return f"local://{tmp_path / 'log'}"
    return str(request.getfixturevalue("kafka_broker").url)


@pytest.fixture
def transport(url: str) -> Iterator[AnyTransport]:
    opened = open_transport(url)
    assert isinstance(opened, LocalTransport | KafkaTransport)
    yield opened
    opened.close()


@pytest.fixture
def topic(transport: AnyTransport) -> str:
    """A new topic of two partitions."""
    name = new_name()
    transport.create_topic(name, 2)
    return name


@pytest.fixture
def producer(transport: AnyTransport) -> Iterator[Producer]:
    with transport.producer() as opened:
        yield opened


@pytest.fixture
def consumer(transport: AnyTransport) -> Iterator[Consumer]:
    with transport.consumer() as opened:
        yield opened


def new_name() -> str:
    return f"topic-{uuid.uuid4().hex[:12]}"


def append(producer: Producer, partition: Partition, values: Iterable[bytes | None]) -> None:
    for value in values:
        producer.send(partition, key=b"key", value=value)
    producer.flush()


def poll_until(
    consumer: Consumer, done: Callable[[list[RecordBatch]], bool], max_records: int = 5_000
) -> list[RecordBatch]:
    """Poll until the batches so far satisfy ``done``; give up, with what there is, after half a minute."""
    batches: list[RecordBatch] = []
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not done(batches) and time.monotonic() < deadline:
        batches += consumer.poll(0.2, max_records)
    return batches


def poll_for_ever(consumer: Consumer, batches: list[RecordBatch]) -> None:
    """Poll, keeping what comes in ``batches``, until an error ends it; give up after half a minute."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        batches += consumer.poll(0.2)


def read(consumer: Consumer, count: int, max_records: int = 5_000) -> list[RecordBatch]:
    return poll_until(consumer, lambda batches: sum(map(len, batches)) >= count, max_records)


def values_of(batches: Iterable[RecordBatch], partition: Partition) -> list[bytes | None]:
    return [value for batch in batches if batch.partition == partition for value in batch.values]


def offsets_of(batches: Iterable[RecordBatch], partition: Partition) -> list[int]:
    return [offset for batch in batches if batch.partition == partition for offset in batch.offsets]


class TestTopics:
    def test_a_new_topic_is_described_as_it_was_made(self, transport: AnyTransport) -> None:
        name = new_name()
        made = transport.create_topic(name, 3)
        assert (made.name, made.partitions, made.log_append_time) == (name, 3, True)
        assert made.topic_id
        assert transport.describe_topic(name) == made

    def test_creating_a_topic_again_returns_the_existing_one(self, transport: AnyTransport) -> None:
        name = new_name()
        assert transport.create_topic(name, 2) == transport.create_topic(name, 2)

    def test_creating_a_topic_with_another_number_of_partitions_is_refused(
        self, transport: AnyTransport, topic: str
    ) -> None:
        with pytest.raises(TopicMismatch) as caught:
            transport.create_topic(topic, 3)
        assert str(caught.value) == f"topic {topic!r} must have 3 partitions; it has 2; ask for 2"

    @pytest.mark.parametrize("name", ["", "a b", "ä", "..", "x" * 250, "a/b"])
    def test_a_name_that_no_log_takes_is_refused(self, transport: AnyTransport, name: str) -> None:
        with pytest.raises(UsageError) as caught:
            transport.create_topic(name, 1)
        assert str(caught.value) == f"a topic's name is 1 to 249 of the characters a-z A-Z 0-9 . _ -; got {name!r}"

    def test_a_topic_without_partitions_is_refused(self, transport: AnyTransport) -> None:
        with pytest.raises(UsageError) as caught:
            transport.create_topic("trips", 0)
        assert str(caught.value) == "topic 'trips' needs 1 partition or more; got 0"

    def test_a_topic_made_again_has_another_id_and_begins_at_zero(
        self, transport: AnyTransport, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        append(producer, Partition(topic, 0), [b"old"])
        first = transport.describe_topic(topic)
        transport.delete_topic(topic)
        second = transport.create_topic(topic, 2)
        assert second.topic_id != first.topic_id
        assert consumer.end_offsets([Partition(topic, 0)]) == {Partition(topic, 0): 0}

    def test_an_absent_topic_is_said_to_be_absent_everywhere(
        self, transport: AnyTransport, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition("absent", 0)
        calls: list[Callable[[], object]] = [
            lambda: transport.describe_topic("absent"),
            lambda: transport.delete_topic("absent"),
            lambda: transport.delete_records(place, 0),
            lambda: producer.send(place, key=b"key", value=b"value"),
            lambda: consumer.assign({place: 0}),
            lambda: consumer.begin_offsets([place]),
            lambda: consumer.end_offsets([place]),
        ]
        for call in calls:
            with pytest.raises(TopicNotFound) as caught:
                call()
            assert str(caught.value) == (
                f"topic 'absent' does not exist in {transport.url}; create it with `driftline topics create`"
            )
        with pytest.raises(TopicNotFound):  # asking has not made it
            transport.describe_topic("absent")

    def test_an_absent_partition_is_said_to_be_absent_everywhere(
        self, transport: AnyTransport, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 2)
        calls: list[Callable[[], object]] = [
            lambda: transport.delete_records(place, 0),
            lambda: producer.send(place, key=b"key", value=b"value"),
            lambda: consumer.assign({place: 0}),
            lambda: consumer.begin_offsets([place]),
            lambda: consumer.end_offsets([place]),
        ]
        for call in calls:
            with pytest.raises(TopicNotFound) as caught:
                call()
            assert str(caught.value) == (f"topic {topic!r} in {transport.url} has 2 partitions, counted from 0; got 2")


class TestRecords:
    def test_records_are_read_in_the_order_they_were_sent_with_offsets_from_zero(
        self, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 0)
        sent = [f"value {number}".encode() for number in range(2_500)]
        append(producer, place, sent)
        consumer.assign({place: 0})
        batches = read(consumer, 2_500)
        assert values_of(batches, place) == sent
        assert offsets_of(batches, place) == list(range(2_500))

    def test_each_partition_numbers_its_own_records(self, topic: str, producer: Producer, consumer: Consumer) -> None:
        places = [Partition(topic, 0), Partition(topic, 1)]
        for number in range(10):
            producer.send(places[number % 2], key=None, value=str(number).encode())
        producer.flush()
        consumer.assign(dict.fromkeys(places, 0))
        batches = read(consumer, 10)
        assert [values_of(batches, place) for place in places] == [
            [b"0", b"2", b"4", b"6", b"8"],
            [b"1", b"3", b"5", b"7", b"9"],
        ]
        assert [offsets_of(batches, place) for place in places] == [[0, 1, 2, 3, 4]] * 2

    def test_columns_have_equal_length_and_the_batch_ends_at_the_position(
        self, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 0)
        append(producer, place, [b"a", b"b", b"c"])
        consumer.assign({place: 0})
        for batch in read(consumer, 3):
            assert len(batch) == len(batch.append_times_ms) == len(batch.values)
            assert batch.next_offset == batch.offsets[-1] + 1
        assert consumer.position(place) == 3

    def test_null_empty_and_binary_values_come_back_as_they_are(
        self, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 0)
        sent = [None, b"", bytes(range(256)), b"\xff\xfe", "Straße".encode()]
        append(producer, place, sent)
        consumer.assign({place: 0})
        assert values_of(read(consumer, 5), place) == sent

    def test_headers_are_kept_for_the_records_that_have_any(
        self, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 0)
        headers = (("marker", b"\x00\xff"), ("marker", b""), ("ключ", b"2"))
        producer.send(place, key=b"key", value=b"plain")
        producer.send(place, key=b"key", value=b"", headers=headers)
        producer.send(place, key=b"key", value=b"plain")
        producer.flush()
        consumer.assign({place: 0})
        batches = read(consumer, 3)
        kept = {batch.offsets[index]: found for batch in batches for index, found in batch.headers.items()}
        assert kept == {1: headers}

    def test_append_times_are_the_logs_own_and_never_go_back(
        self, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 0)
        before_ms = time.time_ns() // 1_000_000
        for _ in range(5):
            append(producer, place, [b"a", b"b"])
        after_ms = time.time_ns() // 1_000_000
        consumer.assign({place: 0})
        times = [moment for batch in read(consumer, 10) for moment in batch.append_times_ms]
        assert times == sorted(times)
        assert before_ms <= times[0]
        assert times[-1] <= after_ms

    def test_offsets_of_deleted_records_are_not_given_again(
        self, transport: AnyTransport, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 0)
        append(producer, place, [b"0", b"1", b"2"])
        transport.delete_records(place, 3)
        assert consumer.begin_offsets([place]) == consumer.end_offsets([place]) == {place: 3}
        append(producer, place, [b"3"])
        consumer.assign({place: 3})
        batches = read(consumer, 1)
        assert (offsets_of(batches, place), values_of(batches, place)) == ([3], [b"3"])

    def test_offsets_go_on_where_an_earlier_process_left_them(self, url: str, topic: str) -> None:
        place = Partition(topic, 0)
        for value in (b"first", b"second"):
            again = open_transport(url)
            with again.producer() as producer:
                append(producer, place, [value])
            again.close()
        again = open_transport(url)
        with again.consumer() as consumer:
            consumer.assign({place: 0})
            batches = read(consumer, 2)
        again.close()
        assert (offsets_of(batches, place), values_of(batches, place)) == ([0, 1], [b"first", b"second"])

    def test_a_value_of_ten_megabytes_is_kept(self, topic: str, producer: Producer, consumer: Consumer) -> None:
        place = Partition(topic, 0)
        large = b"\xa7" * MAX_VALUE_BYTES
        append(producer, place, [b"before", large, b"after"])
        consumer.assign({place: 0})
        found = values_of(read(consumer, 3), place)
        assert [len(value or b"") for value in found] == [6, MAX_VALUE_BYTES, 5]
        assert found[1] == large

    def test_a_larger_value_is_refused_and_nothing_else_is_lost(
        self, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 0)
        producer.send(place, key=b"key", value=b"before")
        with pytest.raises(DeliveryFailed) as caught:
            producer.send(place, key=b"key", value=bytes(MAX_VALUE_BYTES + 1))
        assert str(caught.value) == ("a record's value has at most 10485760 bytes; got 10485761; send a smaller event")
        append(producer, place, [b"after"])
        consumer.assign({place: 0})
        assert values_of(read(consumer, 2), place) == [b"before", b"after"]

    def test_a_record_with_neither_key_nor_value_is_refused(self, topic: str, producer: Producer) -> None:
        with pytest.raises(DeliveryFailed) as caught:
            producer.send(Partition(topic, 0), key=None, value=None)
        assert str(caught.value) == "a record needs a key or a value; got neither"


class TestDelivery:
    def test_what_was_flushed_is_counted_as_acknowledged_by_topic(
        self, transport: AnyTransport, topic: str, producer: Producer
    ) -> None:
        other = new_name()
        transport.create_topic(other, 1)
        append(producer, Partition(topic, 0), [b"a", b"b"])
        append(producer, Partition(topic, 1), [b"c"])
        append(producer, Partition(other, 0), [b"d"])
        assert dict(producer.acknowledged) == {topic: 3, other: 1}

    def test_closing_a_producer_flushes_it(self, transport: AnyTransport, topic: str, consumer: Consumer) -> None:
        place = Partition(topic, 0)
        with transport.producer() as producer:
            producer.send(place, key=b"key", value=b"last words")
        consumer.assign({place: 0})
        assert values_of(read(consumer, 1), place) == [b"last words"]

    def test_acknowledged_records_outlive_a_producer_killed_at_any_moment(
        self, url: str, topic: str, consumer: Consumer
    ) -> None:
        with start_producer(url, topic, "victim", count=10_000_000, flush_every=50) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(20)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        acknowledged = int(lines[-1])
        place = Partition(topic, 0)
        consumer.assign({place: 0})
        end = consumer.end_offsets([place])[place]
        found = values_of(read(consumer, end), place)
        assert end >= acknowledged >= 1_000
        assert found == [value_of("victim", number) for number in range(end)]

    def test_two_producing_processes_lose_and_reorder_nothing(self, url: str, topic: str, consumer: Consumer) -> None:
        names = ["one", "two"]
        processes = [start_producer(url, topic, name, count=3_000, flush_every=100) for name in names]
        said = [process.communicate()[0].split() for process in processes]
        assert [lines[-1:] for lines in said] == [[b"3000"], [b"3000"]]
        place = Partition(topic, 0)
        consumer.assign({place: 0})
        batches = read(consumer, 6_000)
        found = values_of(batches, place)
        assert offsets_of(batches, place) == list(range(6_000))
        for name in names:
            own = [value for value in found if value is not None and value.startswith(name.encode())]
            assert own == [value_of(name, number) for number in range(3_000)]


class TestPolling:
    def test_nothing_new_is_an_empty_list(self, topic: str, consumer: Consumer) -> None:
        consumer.assign({Partition(topic, 0): 0})
        assert consumer.poll(0) == []
        assert consumer.poll(0.05) == []

    def test_a_consumer_without_partitions_reads_nothing(self, consumer: Consumer) -> None:
        consumer.assign({})
        assert consumer.poll(0.05) == []

    def test_a_waiting_poll_returns_what_arrives(self, topic: str, producer: Producer, consumer: Consumer) -> None:
        place = Partition(topic, 0)
        consumer.assign({place: 0})
        arrival = threading.Timer(0.3, append, (producer, place, [b"late"]))
        arrival.start()
        found = consumer.poll(_PATIENCE_SECONDS)
        arrival.join()
        assert values_of(found, place) == [b"late"]

    def test_a_poll_returns_at_most_so_many_records_and_one_batch_a_partition(
        self, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        places = [Partition(topic, 0), Partition(topic, 1)]
        for place in places:
            append(producer, place, [str(number).encode() for number in range(10)])
        consumer.assign(dict.fromkeys(places, 0))
        polls: list[list[RecordBatch]] = []
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while sum(len(batch) for found in polls for batch in found) < 20 and time.monotonic() < deadline:
            polls.append(consumer.poll(0.2, max_records=7))
        for found in polls:
            assert sum(map(len, found)) <= 7
            assert len({batch.partition for batch in found}) == len(found)
        batches = [batch for found in polls for batch in found]
        assert [offsets_of(batches, place) for place in places] == [list(range(10))] * 2

    def test_reading_starts_at_the_assigned_offset(self, topic: str, producer: Producer, consumer: Consumer) -> None:
        place = Partition(topic, 0)
        append(producer, place, [b"0", b"1", b"2", b"3"])
        consumer.assign({place: 2})
        assert consumer.position(place) == 2
        assert offsets_of(read(consumer, 2), place) == [2, 3]
        assert consumer.position(place) == 4

    def test_a_sought_partition_is_read_again_from_there(
        self, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 0)
        append(producer, place, [b"0", b"1", b"2"])
        consumer.assign({place: 0})
        read(consumer, 3)
        consumer.seek(place, 1)
        assert consumer.position(place) == 1
        assert offsets_of(read(consumer, 2), place) == [1, 2]

    def test_a_paused_partition_is_silent_until_resumed_and_keeps_its_position(
        self, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        quiet, loud = Partition(topic, 0), Partition(topic, 1)
        for place in (quiet, loud):
            append(producer, place, [b"0", b"1"])
        consumer.assign({quiet: 0, loud: 0})
        consumer.pause([quiet])
        batches = read(consumer, 2) + consumer.poll(0.3)
        assert {batch.partition for batch in batches} == {loud}
        assert consumer.position(quiet) == 0
        consumer.resume([quiet])
        assert offsets_of(read(consumer, 2), quiet) == [0, 1]

    def test_a_new_assignment_replaces_the_old_one_and_resumes_all(
        self, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        first, second = Partition(topic, 0), Partition(topic, 1)
        for place in (first, second):
            append(producer, place, [b"0", b"1"])
        consumer.assign({first: 0, second: 0})
        consumer.pause([first, second])
        consumer.assign({second: 1})
        batches = read(consumer, 1) + consumer.poll(0.3)
        assert (offsets_of(batches, first), offsets_of(batches, second)) == ([], [1])
        consumer.pause([second])
        consumer.assign({second: 0})
        assert offsets_of(read(consumer, 2), second) == [0, 1]

    def test_a_partition_that_is_not_assigned_has_no_position(self, topic: str, consumer: Consumer) -> None:
        place = Partition(topic, 1)
        consumer.assign({Partition(topic, 0): 0})
        calls: list[Callable[[], object]] = [
            lambda: consumer.position(place),
            lambda: consumer.seek(place, 0),
            lambda: consumer.pause([place]),
            lambda: consumer.resume([place]),
        ]
        for call in calls:
            with pytest.raises(TransportError) as caught:
                call()
            assert str(caught.value) == f"{topic}[1] is not assigned to this consumer; assign it first"


class TestAssignment:
    def test_what_was_assigned_is_held_and_does_not_change(self, topic: str, consumer: Consumer) -> None:
        assert consumer.assignment() == frozenset()
        both = frozenset({Partition(topic, 0), Partition(topic, 1)})
        consumer.assign(dict.fromkeys(both, 0))
        consumer.poll(0)
        assert (consumer.assignment(), consumer.changes()) == (both, Changes())
        consumer.assign({Partition(topic, 1): 0})
        assert (consumer.assignment(), consumer.changes()) == (frozenset({Partition(topic, 1)}), Changes())

    def test_a_topic_made_again_is_read_from_its_own_beginning_after_assigning_again(
        self, transport: AnyTransport, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 0)
        append(producer, place, [b"old 0", b"old 1"])
        consumer.assign({place: 0})
        consumer.pause([place])
        consumer.poll(0.3)
        transport.delete_topic(topic)
        transport.create_topic(topic, 2)
        with transport.producer() as another:
            append(another, place, [b"new 0", b"new 1", b"new 2"])
        consumer.assign({place: 0})
        assert values_of(read(consumer, 3), place) == [b"new 0", b"new 1", b"new 2"]

    def test_a_subscription_without_a_group_is_refused(self, topic: str, consumer: Consumer) -> None:
        with pytest.raises(UsageError):
            consumer.subscribe([topic])


class TestOffsets:
    def test_an_empty_partition_begins_and_ends_at_zero(self, topic: str, consumer: Consumer) -> None:
        places = [Partition(topic, 0), Partition(topic, 1)]
        assert consumer.begin_offsets(places) == consumer.end_offsets(places) == dict.fromkeys(places, 0)

    def test_begin_and_end_enclose_what_is_kept(
        self, transport: AnyTransport, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 1)
        append(producer, place, [b"0", b"1", b"2"])
        transport.delete_records(place, 1)
        assert (consumer.begin_offsets([place]), consumer.end_offsets([place])) == ({place: 1}, {place: 3})

    @pytest.mark.parametrize("offset", [1, 9])
    def test_a_position_outside_what_is_kept_is_an_error_that_costs_other_partitions_nothing(
        self, transport: AnyTransport, topic: str, producer: Producer, consumer: Consumer, offset: int
    ) -> None:
        broken, sound = Partition(topic, 0), Partition(topic, 1)
        append(producer, broken, [b"0", b"1", b"2", b"3"])
        append(producer, sound, [b"0", b"1"])
        transport.delete_records(broken, 2)
        consumer.assign({broken: offset, sound: 0})
        batches: list[RecordBatch] = []
        with pytest.raises(OffsetOutOfRange) as caught:
            poll_for_ever(consumer, batches)
        assert caught.value.positions == {(topic, 0): offset}
        assert str(caught.value) == (
            "the position must lie between the first offset kept and the end; "
            f"got {topic}[0] at offset {offset}; seek to a kept offset"
        )
        consumer.seek(broken, 2)
        batches += poll_until(
            consumer, lambda found: len(offsets_of(batches + found, broken) + offsets_of(batches + found, sound)) == 4
        )
        assert (offsets_of(batches, broken), offsets_of(batches, sound)) == ([2, 3], [0, 1])

    def test_a_negative_offset_is_out_of_range(self, topic: str, consumer: Consumer) -> None:
        place = Partition(topic, 0)
        with pytest.raises(OffsetOutOfRange):
            consumer.assign({place: -1})
        consumer.assign({place: 0})
        with pytest.raises(OffsetOutOfRange) as caught:
            consumer.seek(place, -1)
        assert caught.value.positions == {(topic, 0): -1}

    def test_committing_never_raises(self, topic: str, consumer: Consumer) -> None:
        place = Partition(topic, 0)
        consumer.commit({place: 7})
        consumer.assign({place: 0})
        consumer.commit({place: 7, Partition("absent", 3): 1})
        consumer.close()
        consumer.commit({place: 7})


class TestClosing:
    def test_everything_may_be_closed_twice(self, transport: AnyTransport) -> None:
        for opened in (transport.producer(), transport.consumer(), transport):
            opened.close()
            opened.close()

    def test_producers_and_consumers_work_on_after_their_transport_was_closed_once_they_know_the_topic(
        self, transport: AnyTransport, topic: str, producer: Producer, consumer: Consumer
    ) -> None:
        place = Partition(topic, 0)
        append(producer, place, [b"0"])
        consumer.assign({place: 0})
        transport.close()
        append(producer, place, [b"1"])
        assert values_of(read(consumer, 2), place) == [b"0", b"1"]

    def test_what_is_closed_says_so(self, transport: AnyTransport, topic: str) -> None:
        place = Partition(topic, 0)
        producer, consumer = transport.producer(), transport.consumer()
        producer.close()
        consumer.close()
        with pytest.raises(TransportError) as caught:
            producer.send(place, key=b"key", value=b"value")
        assert str(caught.value) == f"this producer of {transport.url} is closed; open another"
        with pytest.raises(TransportError) as caught:
            consumer.poll(0)
        assert str(caught.value) == f"this consumer of {transport.url} is closed; open another"
        transport.close()
        with pytest.raises(TransportError) as caught:
            transport.describe_topic(topic)
        assert str(caught.value) == f"this transport of {transport.url} is closed; open another"


def start_producer(url: str, topic: str, name: str, *, count: int, flush_every: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.contracts.numbered_producer", url, topic, name]
    return subprocess.Popen(
        [*command, str(count), str(flush_every)], cwd=_REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
