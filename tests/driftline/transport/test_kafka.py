"""What is special about the log in Kafka, on a real broker."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.structs import TopicPartition

from driftline.errors import DeliveryFailed, TopicMismatch, TopicNotFound, TransportUnavailable
from driftline.transport import Partition
from driftline.transport.kafka import KafkaTransport
from driftline.transport.limits import MAX_VALUE_BYTES
from driftline.transport.topic_check import check_topics, require_sound_topics
from tests.kafka_broker import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


@pytest.fixture
def transport(kafka_broker: KafkaBroker) -> Iterator[KafkaTransport]:
    opened = KafkaTransport.open(kafka_broker.url)
    yield opened
    opened.close()


@pytest.fixture
def topic(transport: KafkaTransport) -> str:
    return transport.create_topic(f"topic-{uuid.uuid4().hex[:12]}", 1).name


def make_strange_topic(broker: KafkaBroker, settings: dict[str, str]) -> str:
    name = f"strange-{uuid.uuid4().hex[:12]}"
    admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{broker.port}")
    admin.create_topics({name: {"num_partitions": 1, "configs": settings}}, wait_for_metadata=True)
    admin.close()
    return name


def test_a_topic_that_keeps_its_producers_times_is_described_so_and_refused(
    kafka_broker: KafkaBroker, transport: KafkaTransport
) -> None:
    name = make_strange_topic(kafka_broker, {"message.timestamp.type": "CreateTime"})
    assert not transport.describe_topic(name).log_append_time
    with pytest.raises(TopicMismatch) as caught:
        transport.create_topic(name, 1)
    assert str(caught.value) == (
        f"topic {name!r} must have message.timestamp.type=LogAppendTime; it has CreateTime; "
        "alter the topic before anything is consumed"
    )
    (finding,) = check_topics(transport, [name])
    assert (finding.status, finding.message, finding.remedy) == (
        "create_time",
        "keeps its producers' times (message.timestamp.type=CreateTime)",
        "set message.timestamp.type=LogAppendTime on the topic before anything is consumed, or add "
        "?accept=create_time to the address and know that an event from the future is not recognised, "
        "and ages and silence are judged by its producers' clocks",
    )


def test_a_topic_accepted_with_its_producers_times_is_described_so_and_says_what_is_lost(
    kafka_broker: KafkaBroker,
) -> None:
    name = make_strange_topic(kafka_broker, {"message.timestamp.type": "CreateTime"})
    transport = KafkaTransport.open(f"{kafka_broker.url}?accept=create_time,foreign_keys")
    described = transport.create_topic(name, 1)
    found = require_sound_topics(transport, [name])
    transport.close()
    assert (described.log_append_time, described.keyed_by_id) == (False, False)
    assert [(finding.status, finding.accepted) for finding in found] == [("create_time", True), ("foreign_keys", True)]
    assert str(found[1]) == (
        f"{name} is keyed by something else than the event's id, as ?accept=foreign_keys says, which is accepted: "
        "an event sent twice is counted twice where its copies lie in two partitions"
    )


def test_each_broken_rule_of_a_topic_is_a_finding_and_a_compacted_topic_is_never_used(
    kafka_broker: KafkaBroker,
) -> None:
    settings = {
        "message.timestamp.type": "LogAppendTime",
        "cleanup.policy": "compact,delete",
        "unclean.leader.election.enable": "true",
    }
    name = make_strange_topic(kafka_broker, settings)
    transport = KafkaTransport.open(f"{kafka_broker.url}?replication=3&accept=replication")
    findings = check_topics(transport, [name])
    with pytest.raises(TopicMismatch) as caught:
        require_sound_topics(transport, [name])
    transport.close()
    assert [str(finding) for finding in findings] == [
        f"{name} is compacted; set cleanup.policy=delete on the topic, or use another",
        f"{name} is kept by 1 broker instead of 3, which is accepted: "
        "a broker that is lost for good takes acknowledged events with it",
        f"{name} acknowledges what 1 broker has (min.insync.replicas); set min.insync.replicas=2 on the topic, or add "
        "?accept=min_isr to the address and know that acknowledged events are lost when that broker fails before the "
        "others have copied them",
        f"{name} may be led by a broker that has not all records (unclean.leader.election.enable=true); set "
        "unclean.leader.election.enable=false on the topic, or add ?accept=unclean_election to the address and know "
        "that acknowledged events are lost, and offsets given twice, when such a broker takes over",
    ]
    assert str(caught.value) == f"topic {findings[0]}"


def test_a_topic_of_ours_keeps_the_rules_of_a_single_broker(transport: KafkaTransport, topic: str) -> None:
    assert require_sound_topics(transport, [topic]) == []
    assert [finding.status for finding in check_topics(transport, [topic])] == ["ok"]


def test_an_absent_topic_cannot_be_used(transport: KafkaTransport) -> None:
    with pytest.raises(TopicNotFound):
        require_sound_topics(transport, ["absent"])


def test_the_position_passes_over_markers_and_aborted_records(
    kafka_broker: KafkaBroker, transport: KafkaTransport, topic: str
) -> None:
    stranger = KafkaProducer(bootstrap_servers=f"127.0.0.1:{kafka_broker.port}", transactional_id=topic)
    stranger.init_transactions()
    for value, keep in ((b"kept", True), (b"aborted", False)):
        stranger.begin_transaction()
        stranger.send(topic, value, partition=0).get(timeout=30)
        stranger.commit_transaction() if keep else stranger.abort_transaction()
    stranger.close()
    place = Partition(topic, 0)
    with transport.consumer() as consumer:
        consumer.assign({place: 0})
        batches = [batch for _ in range(10) for batch in consumer.poll(0.2)]
        assert [value for batch in batches for value in batch.values] == [b"kept"]
        # offsets: 0 kept, 1 marker, 2 aborted, 3 marker
        assert consumer.position(place) == consumer.end_offsets([place])[place] == 4


def test_a_record_larger_than_a_strange_topic_takes_is_a_failed_delivery(
    kafka_broker: KafkaBroker, transport: KafkaTransport
) -> None:
    name = make_strange_topic(kafka_broker, {"max.message.bytes": "1000"})
    producer = transport.producer()
    producer.send(Partition(name, 0), key=b"key", value=bytes(2_000))
    with pytest.raises(DeliveryFailed) as caught:
        producer.flush()
    assert str(caught.value).startswith(
        f"1 of 1 records were refused by {transport.url}, the first with MessageSizeTooLargeError: "
    )
    with pytest.raises(DeliveryFailed):
        producer.close()
    producer.close()


def test_positions_are_published_under_the_group_of_the_address(kafka_broker: KafkaBroker, topic: str) -> None:
    transport = KafkaTransport.open(f"{kafka_broker.url}?group=watchers-{topic}")
    admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{kafka_broker.port}")
    with transport.consumer() as consumer:
        consumer.assign({Partition(topic, 0): 0})
        for _ in range(100):
            consumer.poll(0.1)
            consumer.commit({Partition(topic, 0): 0})
            published = admin.list_group_offsets({f"watchers-{topic}": None})
            if published.get(f"watchers-{topic}"):
                break
    admin.close()
    transport.close()
    assert published[f"watchers-{topic}"][TopicPartition(topic, 0)].offset == 0


def test_a_broker_that_does_not_answer_is_unavailable_with_the_remedy() -> None:
    with closing(socket.socket()) as silent:  # bound, not listening: connections are refused
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(TransportUnavailable) as caught:
            KafkaTransport.open(f"kafka://127.0.0.1:{port}?connect_seconds=1")
    assert str(caught.value).startswith(f"no broker of kafka://127.0.0.1:{port} answered within 1 s: ")
    assert str(caught.value).endswith("; start Kafka or correct --transport")
    assert caught.value.retriable


@pytest.mark.slow
def test_acknowledged_records_outlive_a_broker_that_is_killed_and_clients_go_on_after_it_is_back(
    kafka_jars: Path, tmp_path: Path
) -> None:
    broker = KafkaBroker(kafka_jars, tmp_path / "broker")
    broker.format()
    broker.start()
    transport = KafkaTransport.open(broker.url)
    try:
        transport.create_topic("trips", 1)
        place = Partition("trips", 0)
        with transport.producer() as producer, transport.consumer() as consumer:
            consumer.assign({place: 0})
            producer.send(place, key=b"1", value=b"before")
            producer.flush()
            broker.kill()
            producer.send(place, key=b"2", value=b"meanwhile")
            with pytest.raises(DeliveryFailed) as caught:
                producer.flush(timeout_seconds=0.5)
            broker.start()
            producer.flush()
            found: list[bytes | None] = []
            for _ in range(300):
                found += [value for batch in consumer.poll(0.2) for value in batch.values]
                if len(found) == 2:
                    break
            assert dict(producer.acknowledged) == {"trips": 2}
    finally:
        transport.close()
        broker.stop()
    assert found == [b"before", b"meanwhile"]
    assert str(caught.value) == (
        f"1 of 2 records were not acknowledged by {broker.url} within 0.5 s; "
        "check the brokers; flush again or send them again (ids make that safe)"
    )


def test_the_largest_value_a_topic_of_ours_takes_is_the_limit(transport: KafkaTransport, topic: str) -> None:
    with transport.producer() as producer:
        producer.send(Partition(topic, 0), key=b"k" * 60_000, value=bytes(MAX_VALUE_BYTES))
        producer.flush()
        assert dict(producer.acknowledged) == {topic: 1}
