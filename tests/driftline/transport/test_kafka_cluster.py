"""Three brokers with three copies: one after the other crashes, then all of them."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from driftline.transport import Partition
from driftline.transport.kafka import KafkaTransport
from driftline.transport.topic_check import require_sound_topics
from tests.kafka_broker import KafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.xdist_group("kafka")]

_PARTITIONS = 3


def test_acknowledged_records_outlive_every_broker_in_turn_and_a_stop_of_all(kafka_cluster: KafkaCluster) -> None:
    transport = KafkaTransport.open(f"{kafka_cluster.url}?group=readers")
    topic = transport.create_topic("trips", _PARTITIONS)
    assert topic.durability is not None
    assert (topic.durability.replication, topic.durability.min_isr) == (3, 2)
    assert require_sound_topics(transport, ["trips"]) == []
    found: Counter[bytes | None] = Counter()
    sent = 0
    with transport.producer() as producer, transport.consumer() as consumer:

        def send_and_read(seconds: float) -> None:
            nonlocal sent
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                for _ in range(50):
                    producer.send(Partition("trips", sent % _PARTITIONS), key=b"key", value=str(sent).encode())
                    sent += 1
                read(0.1)

        def read(seconds: float) -> None:
            for batch in consumer.poll(seconds):
                found.update(batch.values)
            for partition in consumer.changes().gained:
                consumer.seek(partition, reached.get(partition, 0))
            for partition in consumer.assignment():
                reached[partition] = consumer.position(partition)

        reached: dict[Partition, int] = {}
        consumer.subscribe(["trips"])
        send_and_read(2)
        for index in range(len(kafka_cluster.brokers)):
            kafka_cluster.kill(index)
            send_and_read(4)
            kafka_cluster.start(index)
            send_and_read(2)
        kafka_cluster.stop_all()
        send_and_read(2)
        kafka_cluster.start_all()
        send_and_read(2)
        producer.flush(120)
        assert dict(producer.acknowledged) == {"trips": sent}
        until = time.monotonic() + 60
        while len(found) < sent and time.monotonic() < until:
            read(0.2)
    transport.close()
    assert found == Counter({str(number).encode(): 1 for number in range(sent)})
