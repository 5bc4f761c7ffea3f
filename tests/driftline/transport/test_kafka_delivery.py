"""Records sent to Kafka while brokers are away, and by a client that has stopped sending."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kafka import TopicPartition

from driftline.clock import ManualClock, SystemClock
from driftline.errors import DeliveryFailed, TopicNotFound
from driftline.transport import Partition
from driftline.transport.kafka import KafkaLogProducer, KafkaTransport
from driftline.transport.kafka.connecting import connect_consumer, connect_producer
from driftline.transport.kafka.delivery import DeliveryPatience, DeliveryWatch
from driftline.transport.kafka_url import KafkaUrl
from tests.kafka_broker import KafkaBroker

kafka = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.xdist_group("kafka")]

_OUTAGE_SECONDS = 60 if os.environ.get("DRIFTLINE_FULL_FAULTS") else 8
_PLACE = Partition("trips", 0)


class TestDeliveryWatch:
    def watch(self, clock: ManualClock, answers: list[bool]) -> DeliveryWatch:
        return DeliveryWatch(clock, DeliveryPatience(wedged_seconds=30), lambda: answers.pop(0))

    def looks(self, clock: ManualClock, watch: DeliveryWatch, seconds: int, answered: int = 7) -> list[bool]:
        found = []
        for _ in range(seconds // 5):
            clock.advance(timedelta(seconds=5))
            found.append(watch.is_wedged(answered))
        return found

    def test_a_client_is_wedged_when_nothing_is_answered_while_the_cluster_is_there(self) -> None:
        clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        watch = self.watch(clock, [True] * 6)
        assert self.looks(clock, watch, 35) == [False] * 6 + [True]

    def test_patience_starts_anew_when_the_cluster_is_away(self) -> None:
        clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        watch = self.watch(clock, [True, True, False, True, True, True, True, True, True])
        assert self.looks(clock, watch, 50) == [False] * 9 + [True]

    def test_a_client_that_gets_answers_is_not_wedged_and_the_cluster_is_not_asked(self) -> None:
        clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        watch = self.watch(clock, [])
        for answered in range(20):
            clock.advance(timedelta(seconds=29))
            assert not watch.is_wedged(answered)


@pytest.fixture
def broker(kafka_jars: Path, tmp_path: Path) -> Iterator[KafkaBroker]:
    """A broker of the test's own, with its data on disk."""
    own = KafkaBroker(kafka_jars, tmp_path / "broker", memory_mb=256)
    own.format()
    own.start()
    yield own
    own.stop()


@pytest.fixture
def transport(broker: KafkaBroker) -> Iterator[KafkaTransport]:
    opened = KafkaTransport.open(broker.url)
    opened.create_topic(_PLACE.topic, 1)
    yield opened
    opened.close()


def read_all(transport: KafkaTransport) -> Counter[bytes | None]:
    with transport.consumer() as consumer:
        consumer.assign({_PLACE: 0})
        end = consumer.end_offsets([_PLACE])[_PLACE]
        found: Counter[bytes | None] = Counter()
        while consumer.position(_PLACE) < end:
            for batch in consumer.poll(0.2):
                found.update(batch.values)
    return found


def send_through_outage(producer: KafkaLogProducer, broker: KafkaBroker) -> set[bytes]:
    """Send before, during and after an outage; return all that was sent.

    The broker comes back by itself: a producer whose queue is full waits for it.
    """
    sent: set[bytes] = set()

    def send(label: str, count: int) -> None:
        for number in range(count):
            value = f"{label} {number}".encode()
            producer.send(_PLACE, key=b"key", value=value)
            sent.add(value)

    send("before", 2_000)
    producer.flush()
    send("cut off", 2_000)
    broker.kill()
    comes_back = threading.Timer(_OUTAGE_SECONDS, broker.start)
    comes_back.start()
    step = 0
    while comes_back.is_alive():
        send(f"meanwhile {step}", 100)
        step += 1
        time.sleep(0.1)
    send("after", 2_000)
    return sent


class TestAnOutage:
    pytestmark = kafka

    def test_neither_loses_nor_doubles_an_acknowledged_event(
        self, broker: KafkaBroker, transport: KafkaTransport
    ) -> None:
        with transport.producer() as producer:
            sent = send_through_outage(producer, broker)
            producer.flush(120)
            acknowledged = dict(producer.acknowledged)
        found = read_all(transport)
        assert acknowledged == {_PLACE.topic: len(sent)}
        assert found == Counter(dict.fromkeys(sent, 1))


class TestAWedgedClient:
    pytestmark = kafka

    def test_is_replaced_and_every_record_arrives(
        self, broker: KafkaBroker, transport: KafkaTransport, caplog: pytest.LogCaptureFixture
    ) -> None:
        address = KafkaUrl.parse(broker.url)
        patience = DeliveryPatience(wedged_seconds=3)
        # A delivery timeout shorter than the outage is what wedges the client.
        with KafkaLogProducer(
            lambda: connect_producer(address, delivery_seconds=4), transport, SystemClock(), patience
        ) as producer:
            sent = send_through_outage(producer, broker)
            producer.flush(120)
            acknowledged = producer.acknowledged[_PLACE.topic]
        found = read_all(transport)
        assert acknowledged == len(sent)
        assert found.keys() == sent
        assert "sends" in caplog.text
        assert "records again" in caplog.text

    def test_fails_the_flush_that_waited_in_vain_and_a_later_one_succeeds(
        self, broker: KafkaBroker, transport: KafkaTransport
    ) -> None:
        with transport.producer() as producer:
            producer.send(_PLACE, key=b"key", value=b"1")
            producer.flush()
            broker.kill()
            producer.send(_PLACE, key=b"key", value=b"2")
            with pytest.raises(DeliveryFailed) as caught:
                producer.flush(0.5)
            broker.start()
            producer.flush()
        assert str(caught.value) == (
            f"1 of 2 records were not acknowledged by {broker.url} within 0.5 s; "
            "check the brokers; flush again or send them again (ids make that safe)"
        )
        assert read_all(transport) == Counter([b"1", b"2"])


class TestADeletedTopic:
    pytestmark = kafka

    def test_is_not_made_anew_by_a_client_that_still_asks_for_it(self, transport: KafkaTransport) -> None:
        """The broker makes topics that it is asked for, as brokers do unless told otherwise."""
        address = KafkaUrl.parse(transport.url)
        with transport.consumer() as consumer:
            consumer.assign({_PLACE: 0})
            transport.delete_topic(_PLACE.topic)
            other = connect_consumer(address, None)
            other.assign([place := TopicPartition(_PLACE.topic, 0)])
            other.seek(place, 0)
            other.poll(timeout_ms=3_000)
            other.close(autocommit=False)
            with pytest.raises(TopicNotFound):
                transport.describe_topic(_PLACE.topic)
