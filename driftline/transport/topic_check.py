"""Whether topics are fit for driftline: they exist, have the partitions asked for and keep the rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from driftline.errors import TopicMismatch, TopicNotFound
from driftline.transport import messages
from driftline.transport.base import TopicDescription, Transport
from driftline.transport.topic_rules import ACCEPTABLE, BrokenRule, Rule, broken_rules

LOCAL_PARTITIONS = 1
KAFKA_PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class TopicFinding:
    """What is true of one topic, or one rule that it breaks; ``remedy`` is empty where there is nothing to do.

    ``lost`` is the guarantee that an accepted breach of a rule costs.
    """

    topic: str
    status: Literal["ok", "missing", "other_partitions"] | Rule
    partitions: int
    topic_id: str
    message: str
    remedy: str = ""
    accepted: bool = False
    lost: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether this must be mended, or accepted, before the topic is used."""
        return self.status != "ok" and not self.accepted

    def __str__(self) -> str:
        end = self.lost if self.accepted else self.remedy
        return f"{self.topic} {self.message}" + (
            f", which is accepted: {end}" if self.accepted else f"; {end}" if end else ""
        )


def default_partitions(transport: Transport) -> int:
    """Return how many partitions a new topic gets where nobody says: 4 on Kafka, 1 on the local log."""
    return KAFKA_PARTITIONS if transport.url.startswith("kafka:") else LOCAL_PARTITIONS


def check_topics(transport: Transport, names: Iterable[str], partitions: int | None = None) -> list[TopicFinding]:
    """Return findings of each topic in the order given: one, or one for each broken rule.

    ``partitions`` None takes any number.
    """
    return [finding for name in names for finding in _check(transport, name, partitions)]


def require_sound_topics(transport: Transport, names: Iterable[str]) -> list[TopicFinding]:
    """Check topics before they are used; return the breaches that are accepted, each with the guarantee it costs.

    Raises:
        TopicNotFound: one does not exist.
        TopicMismatch: one breaks a rule that nobody accepted.
    """
    findings = check_topics(transport, names)
    for finding in findings:
        if finding.status == "missing":
            raise messages.topic_not_found(finding.topic, transport.url)
        if finding.is_wrong:
            msg = f"topic {finding}"
            raise TopicMismatch(msg)
    return [finding for finding in findings if finding.accepted]


def _check(transport: Transport, name: str, partitions: int | None) -> Iterator[TopicFinding]:
    try:
        topic = transport.describe_topic(name)
    except TopicNotFound:
        remedy = "create it with `driftline topics create`"
        yield TopicFinding(name, "missing", 0, "", f"does not exist in {transport.url}", remedy)
        return
    findings = [_broken(topic, rule, accepted=rule.rule in transport.accepts) for rule in broken_rules(topic)]
    if partitions not in {None, topic.partitions}:
        findings.append(_other_partitions(topic, partitions or 0))
    yield from findings
    if not any(finding.is_wrong for finding in findings):
        stamped = ", stamped with append time" if topic.log_append_time else ""
        yield TopicFinding(name, "ok", topic.partitions, topic.topic_id, f"has {_counted(topic.partitions)}{stamped}")


def _broken(topic: TopicDescription, rule: BrokenRule, *, accepted: bool) -> TopicFinding:
    remedy = rule.remedy
    if rule.rule in ACCEPTABLE and not accepted:
        remedy += f", or add ?accept={rule.rule} to the address and know that {rule.lost}"
    return TopicFinding(
        topic.name, rule.rule, topic.partitions, topic.topic_id, rule.message, remedy, accepted, rule.lost
    )


def _other_partitions(topic: TopicDescription, partitions: int) -> TopicFinding:
    count = topic.partitions
    message = f"has {_counted(count)} instead of {partitions}"
    remedy = f"ask for --partitions {count}, or delete the topic and create it again: an id must keep its partition"
    return TopicFinding(topic.name, "other_partitions", count, topic.topic_id, message, remedy)


def _counted(partitions: int) -> str:
    return "1 partition" if partitions == 1 else f"{partitions} partitions"
