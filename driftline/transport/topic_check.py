"""Whether topics are fit for driftline: they exist, are stamped by the log, have the partitions asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from driftline.errors import TopicNotFound
from driftline.transport.base import Transport

LOCAL_PARTITIONS = 1
KAFKA_PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class TopicFinding:
    """What is true of one topic; ``remedy`` is empty where nothing is wrong."""

    topic: str
    status: Literal["ok", "missing", "create_time", "other_partitions"]
    partitions: int
    topic_id: str
    message: str
    remedy: str = ""


def default_partitions(transport: Transport) -> int:
    """Return how many partitions a new topic gets where nobody says: 4 on Kafka, 1 on the local log."""
    return KAFKA_PARTITIONS if transport.url.startswith("kafka:") else LOCAL_PARTITIONS


def check_topics(transport: Transport, names: Iterable[str], partitions: int | None = None) -> list[TopicFinding]:
    """Return one finding for each topic, in the order given; ``partitions`` None takes any number."""
    return [_check(transport, name, partitions) for name in names]


def _check(transport: Transport, name: str, partitions: int | None) -> TopicFinding:
    try:
        topic = transport.describe_topic(name)
    except TopicNotFound:
        remedy = "create it with `driftline topics create`"
        return TopicFinding(name, "missing", 0, "", f"does not exist in {transport.url}", remedy)
    count, topic_id = topic.partitions, topic.topic_id
    if not topic.log_append_time:
        message = "keeps its producers' times (message.timestamp.type=CreateTime)"
        remedy = "set message.timestamp.type=LogAppendTime on the topic before anything is consumed"
        return TopicFinding(name, "create_time", count, topic_id, message, remedy)
    if partitions not in {None, count}:
        message = f"has {_counted(count)} instead of {partitions}"
        remedy = f"ask for --partitions {count}, or delete the topic and create it again: an id must keep its partition"
        return TopicFinding(name, "other_partitions", count, topic_id, message, remedy)
    return TopicFinding(name, "ok", count, topic_id, f"has {_counted(count)}, stamped with append time")


def _counted(partitions: int) -> str:
    return "1 partition" if partitions == 1 else f"{partitions} partitions"
