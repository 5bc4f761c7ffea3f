"""Members of a consumer group on a real broker: who holds what, and that no partition is left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.structs import TopicPartition

from driftline.errors import OffsetOutOfRange, TransportError, UsageError
from driftline.transport import Changes, Consumer, Partition, RecordBatch
from driftline.transport.kafka import KafkaTransport
from tests.kafka_broker import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]

_REPOSITORY = Path(__file__).parents[3]
_PATIENCE_SECONDS = 60.0
_PARTITIONS = 4


@pytest.fixture
def transport(kafka_broker: KafkaBroker) -> Iterator[KafkaTransport]:
    opened = KafkaTransport.open(f"{kafka_broker.url}?group=group-{uuid.uuid4().hex[:8]}")
    yield opened
    opened.close()


@pytest.fixture
def topic(transport: KafkaTransport) -> str:
    return transport.create_topic(f"topic-{uuid.uuid4().hex[:12]}", _PARTITIONS).name


def places(topic: str, *indexes: int) -> frozenset[Partition]:
    return frozenset(Partition(topic, index) for index in indexes or range(_PARTITIONS))


def append(transport: KafkaTransport, topic: str, value: str) -> None:
    """Append ``value:partition`` to each partition."""
    with transport.producer() as producer:
        for place in places(topic):
            producer.send(place, key=b"key", value=f"{value}:{place.index}".encode())


def eventually(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def poll_until(consumer: Consumer, done: Callable[[list[RecordBatch]], bool]) -> list[RecordBatch]:
    batches: list[RecordBatch] = []
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not done(batches) and time.monotonic() < deadline:
        batches += consumer.poll(0.2)
    return batches


def read_values(batches: list[RecordBatch]) -> list[str]:
    return sorted(value.decode() for batch in batches for value in batch.values if value is not None)


def join(consumer: Consumer, topic: str) -> Changes:
    """Subscribe and poll until the group has given something."""
    consumer.subscribe([topic])
    poll_until(consumer, lambda _batches: bool(consumer.assignment()))
    return consumer.changes()


class Member:
    """A member in a process of its own, and what it said."""

    def __init__(self, url: str, topic: str) -> None:
        command = [sys.executable, "-m", "tests.driftline.transport.group_member", url, topic]
        self.process = subprocess.Popen(command, cwd=_REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.held: set[int] = set()
        self.read: set[str] = set()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            self.held = set(said["held"])
            self.read.update(said["read"])

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(30)
        self._listener.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGCONT)
            self.end(signal.SIGKILL)


def shares_are_whole(members: list[Member]) -> bool:
    held = sorted(index for member in members for index in member.held)
    return held == list(range(_PARTITIONS)) and all(member.held for member in members)


def everything_is_read(members: list[Member], value: str) -> bool:
    read = set().union(*(member.read for member in members))
    return read >= {f"{value}:{index}" for index in range(_PARTITIONS)}


def test_a_member_gets_all_partitions_and_none_speaks_before_it_is_sought(
    transport: KafkaTransport, topic: str
) -> None:
    append(transport, topic, "a")
    with transport.consumer() as consumer:
        assert join(consumer, topic) == Changes(gained=places(topic))
        assert consumer.assignment() == places(topic)
        assert [consumer.poll(0.3), consumer.poll(0.3)] == [[], []]
        with pytest.raises(TransportError, match="is not assigned to this consumer"):
            consumer.position(Partition(topic, 0))
        consumer.seek(Partition(topic, 2), 0)
        batches = poll_until(consumer, bool) + consumer.poll(0.3)
        assert read_values(batches) == ["a:2"]
        assert consumer.position(Partition(topic, 2)) == 1
        assert consumer.changes() == Changes()


def test_partitions_retained_over_a_rebalance_go_on_where_they_were_and_stay_paused(
    transport: KafkaTransport, topic: str
) -> None:
    append(transport, topic, "a")
    with transport.consumer() as first, transport.consumer() as second:
        join(first, topic)
        for place in places(topic):
            first.seek(place, 1)
        first.pause(sorted(places(topic)))
        second.subscribe([topic])
        settled = threading.Event()
        joining = threading.Thread(
            target=lambda: (poll_until(second, lambda _batches: bool(second.assignment())), settled.set())
        )
        joining.start()
        poll_until(first, lambda _batches: settled.is_set())
        joining.join()
        lost = first.changes()
        kept = first.assignment()
        assert (lost.gained, lost.lost) == (frozenset(), places(topic) - kept)
        assert second.changes() == Changes(gained=places(topic) - kept)
        assert len(kept) == _PARTITIONS // 2
        append(transport, topic, "b")
        assert first.poll(0.5) == []
        first.resume(sorted(kept))
        batches = poll_until(first, lambda found: sum(map(len, found)) >= len(kept))
        assert read_values(batches) == sorted(f"b:{place.index}" for place in kept)


@pytest.mark.slow
def test_no_partition_is_left_alone_when_members_come_leave_are_killed_or_sleep(
    transport: KafkaTransport, topic: str, kafka_broker: KafkaBroker
) -> None:
    url = f"{kafka_broker.url}?group=group-{topic}"
    with ExitStack() as stack:
        first, second = [stack.enter_context(Member(url, topic)) for _ in range(2)]
        assert eventually(lambda: shares_are_whole([first, second]))
        third = stack.enter_context(Member(url, topic))
        assert eventually(lambda: shares_are_whole([first, second, third]))
        append(transport, topic, "three")
        assert eventually(lambda: everything_is_read([first, second, third], "three"))
        first.end(signal.SIGTERM)
        assert eventually(lambda: shares_are_whole([second, third]))
        append(transport, topic, "two")
        assert eventually(lambda: everything_is_read([second, third], "two"))
        second.end(signal.SIGKILL)
        assert eventually(lambda: shares_are_whole([third]))
        append(transport, topic, "one")
        assert eventually(lambda: everything_is_read([third], "one"))
        fourth = stack.enter_context(Member(url, topic))
        assert eventually(lambda: shares_are_whole([third, fourth]))
        third.process.send_signal(signal.SIGSTOP)
        assert eventually(lambda: shares_are_whole([fourth]))
        append(transport, topic, "asleep")
        assert eventually(lambda: everything_is_read([fourth], "asleep"))
        third.process.send_signal(signal.SIGCONT)
        assert eventually(lambda: shares_are_whole([third, fourth]))
        append(transport, topic, "awake")
        assert eventually(lambda: everything_is_read([third, fourth], "awake"))


def test_partitions_added_while_running_are_gained(
    transport: KafkaTransport, topic: str, kafka_broker: KafkaBroker
) -> None:
    with transport.consumer() as consumer:
        join(consumer, topic)
        admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{kafka_broker.port}")
        admin.create_partitions({topic: _PARTITIONS + 1})
        admin.close()
        assert transport.describe_topic(topic).partitions == _PARTITIONS + 1
        poll_until(consumer, lambda _batches: len(consumer.assignment()) > _PARTITIONS)
        assert consumer.changes() == Changes(gained=frozenset({Partition(topic, _PARTITIONS)}))


def test_a_topic_made_again_is_read_from_its_own_beginning_after_subscribing_again(
    transport: KafkaTransport, topic: str
) -> None:
    append(transport, topic, "old")
    with transport.consumer() as consumer:
        join(consumer, topic)
        for place in places(topic):
            consumer.seek(place, 0)
        poll_until(consumer, lambda found: sum(map(len, found)) >= _PARTITIONS)
        transport.delete_topic(topic)
        transport.create_topic(topic, _PARTITIONS)
        append(transport, topic, "new")
        append(transport, topic, "newer")
        changes = join(consumer, topic)
        assert changes == Changes(gained=places(topic), lost=places(topic))
        for place in places(topic):
            consumer.seek(place, 0)
        batches = poll_until(consumer, lambda found: sum(map(len, found)) >= 2 * _PARTITIONS)
        assert read_values(batches) == sorted(
            f"{value}:{index}" for value in ("new", "newer") for index in range(_PARTITIONS)
        )


def test_assigning_after_a_subscription_leaves_the_group(transport: KafkaTransport, topic: str) -> None:
    append(transport, topic, "a")
    with transport.consumer() as consumer:
        join(consumer, topic)
        consumer.assign({Partition(topic, 1): 0})
        assert consumer.assignment() == places(topic, 1)
        assert consumer.changes() == Changes()
        assert read_values(poll_until(consumer, bool)) == ["a:1"]


def test_a_subscription_without_a_group_is_refused(kafka_broker: KafkaBroker, topic: str) -> None:
    transport = KafkaTransport.open(kafka_broker.url)
    with transport.consumer() as consumer, pytest.raises(UsageError) as caught:
        consumer.subscribe([topic])
    transport.close()
    assert str(caught.value) == (
        f"a subscription needs a consumer group; {kafka_broker.url} was opened without one; "
        "name it with `--group NAME` or ?group=NAME"
    )


def test_a_group_may_be_named_for_one_consumer(kafka_broker: KafkaBroker, topic: str) -> None:
    transport = KafkaTransport.open(kafka_broker.url)
    with transport.consumer(f"own-{topic}") as consumer:
        assert join(consumer, topic).gained == places(topic)
    transport.close()


def test_a_log_cut_below_the_position_is_said_until_it_is_sought_even_when_the_new_log_is_longer(
    transport: KafkaTransport, topic: str
) -> None:
    place = Partition(topic, 0)
    for value in "abcde":
        append(transport, topic, value)
    with transport.consumer() as consumer:
        consumer.assign({place: 0})
        poll_until(consumer, lambda found: sum(map(len, found)) >= 5)
        transport.delete_topic(topic)
        transport.create_topic(topic, _PARTITIONS)
        append(transport, topic, "new")
        for _ in range(2):
            with pytest.raises(OffsetOutOfRange) as caught:
                poll_until(consumer, lambda _found: False)
            assert caught.value.positions == {(topic, 0): 5}
        consumer.seek(place, 0)
        assert read_values(poll_until(consumer, bool)) == ["new:0"]


def test_positions_of_a_member_are_committed_for_lag_tools(
    transport: KafkaTransport, topic: str, kafka_broker: KafkaBroker
) -> None:
    group = f"lag-{topic}"
    admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{kafka_broker.port}")
    with transport.consumer(group) as consumer:
        join(consumer, topic)
        for place in places(topic):
            consumer.seek(place, 0)
        consumer.commit(dict.fromkeys(places(topic), 7))

        def is_committed() -> bool:
            consumer.poll(0.1)
            kept = admin.list_group_offsets({group: None}).get(group) or {}
            return TopicPartition(topic, 3) in kept and kept[TopicPartition(topic, 3)].offset == 7

        assert eventually(is_committed)
    admin.close()
