"""Real brokers: groups that never rest (F5), brokers that die (F6), topics that grow (F17) or are made again (F18)."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.structs import OffsetAndMetadata, TopicPartition

from consumers.drill.faults import Outcome, outcome_of, serving_store
from consumers.drill.load import Load
from consumers.drill.rig import Rig, end
from driftline.events import STREAMS
from driftline.transport.kafka import KafkaTransport
from tests.faults.conftest import FULL, NEEDS_FULL, Record
from tests.kafka_broker import KafkaBroker, KafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka"), pytest.mark.timeout(900 if FULL else 240)]

SEED = 20230505
SMALL_STEPS = (sys.executable, "-m", "tests.faults.small_steps")


def rig_on(url: str, folder: Path, load: Load) -> Rig:
    return Rig(folder, load, url, model=f"drill{uuid.uuid4().hex[:8]}", command=SMALL_STEPS)


def judged(rig: Rig, fault: str, done: str, repetitions: int, begun: float) -> Outcome:
    rig.finish()
    return outcome_of(fault, done, rig, repetitions, rig.judge(), time.monotonic() - begun)


class Members:
    """Consumers of one group."""

    def __init__(self, rig: Rig, group: str) -> None:
        self._rig, self._group = rig, group
        self.running: list[subprocess.Popen[bytes]] = []

    def join(self) -> None:
        self.running.append(self._rig.start("consume", "--flush-seconds", "0.1", "--group", self._group))

    def end(self, member: subprocess.Popen[bytes], number: signal.Signals) -> None:
        self.running.remove(member)
        assert member.poll() is None, f"a member ended by itself with {member.returncode}"
        member.send_signal(number)
        ends = {0, -number} if number == signal.SIGTERM else {-number}  # asked while it starts, it ends at once
        assert member.wait(90) in ends


@contextmanager
def members_of(rig: Rig, group: str) -> Iterator[Members]:
    members = Members(rig, group)
    try:
        yield members
    finally:
        for member in members.running:
            end(member)


def test_members_that_come_go_and_are_killed_count_every_event_once(
    kafka_broker: KafkaBroker, tmp_path: Path, hold: Record
) -> None:
    """In between, the group's committed offsets are set back to 0 (F20): nobody reads them."""
    actions, rest = (30, 8.0) if FULL else (4, 2.0)
    rng, begun = random.Random(SEED), time.monotonic()
    rig = rig_on(kafka_broker.url, tmp_path, Load(SEED, 40_000 if FULL else 2_000, partitions=4))
    with serving_store(rig), members_of(rig, rig.model) as members:
        for _ in range(3):
            members.join()
        with rig.filling(rig.load.events * 3 / (actions * rest)):
            for number in range(actions):
                time.sleep(rest * (0.5 + rng.random()))
                if len(members.running) == 3:
                    kind = signal.SIGKILL if number % 4 == 0 else signal.SIGTERM
                    members.end(rng.choice(members.running), kind)
                else:
                    members.join()
        for member in list(members.running):
            members.end(member, signal.SIGTERM)
    set_back(kafka_broker, rig)

    hold(judged(rig, "F5", "three members of a group; one joins, leaves or is killed all the time", actions, begun))


def set_back(broker: KafkaBroker, rig: Rig) -> None:
    consumer = KafkaConsumer(bootstrap_servers=f"127.0.0.1:{broker.port}", group_id=rig.model, enable_auto_commit=False)
    places = [TopicPartition(rig.topic(stream), index) for stream in STREAMS for index in range(rig.load.partitions)]
    consumer.commit({place: OffsetAndMetadata(0, "", -1) for place in places})
    consumer.close()


def test_partitions_added_while_events_come_are_read_to_the_last(
    kafka_broker: KafkaBroker, tmp_path: Path, hold: Record
) -> None:
    begun = time.monotonic()
    rig = rig_on(kafka_broker.url, tmp_path, Load(SEED, 20_000 if FULL else 1_000, partitions=4))
    consumer = rig.consume()
    try:
        with rig.filling(500):
            time.sleep(1)
        admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{kafka_broker.port}")
        admin.create_partitions({rig.topic(stream): 6 for stream in STREAMS})
        admin.close()
        rig.load = replace(rig.load, seed=SEED + 1, partitions=6)
        time.sleep(2)
        with rig.filling(500):
            pass
        assert consumer.poll() is None
    finally:
        end(consumer)

    hold(judged(rig, "F17", "topics grow from 4 to 6 partitions under a running consumer", 1, begun))


def test_topics_made_again_under_a_running_consumer_are_counted_in_both_lives(
    kafka_broker: KafkaBroker, tmp_path: Path, hold: Record
) -> None:
    begun = time.monotonic()
    rig = rig_on(kafka_broker.url, tmp_path, Load(SEED, 20_000 if FULL else 1_000))
    rig.fill()
    rig.finish()
    consumer = rig.consume()
    try:
        with rig.transport() as transport:
            assert isinstance(transport, KafkaTransport)
            time.sleep(3)
            for stream in STREAMS:
                transport.delete_topic(rig.topic(stream))
            for stream in STREAMS:
                transport.create_topic(rig.topic(stream), rig.load.partitions)
        rig.load, rig.truth.records = replace(rig.load, seed=SEED + 1), 0  # the audit counts the present incarnation
        rig.truth.forget_watermarks()
        with rig.filling(1_000):
            pass
        assert consumer.poll() is None
    finally:
        end(consumer)

    hold(judged(rig, "F18", "Kafka topics deleted and made again under a running consumer", 1, begun))


@NEEDS_FULL
def test_brokers_that_die_in_turn_and_all_at_once_lose_and_double_nothing(
    kafka_cluster: KafkaCluster, tmp_path: Path, hold: Record
) -> None:
    begun, kills = time.monotonic(), 0
    rig = rig_on(kafka_cluster.url, tmp_path, Load(SEED, 15_000, partitions=3))
    consumer = rig.consume()
    try:
        with rig.filling(500):
            while rig.newest_write() == 0:
                time.sleep(0.1)
            for index in (0, 1, 2, 0):
                time.sleep(5)
                kafka_cluster.kill(index)
                time.sleep(5)
                kafka_cluster.start(index)
                kills += 1
            kafka_cluster.stop_all()
            time.sleep(60)
            kafka_cluster.start_all()
        assert consumer.poll() is None
    finally:
        end(consumer)

    done = "three brokers, three copies: four killed in turn, then all stopped for 60 s"
    hold(judged(rig, "F6", done, kills + 1, begun))
