"""What a topic must be like so that every figure drawn from it can be trusted, and what is lost where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from driftline.transport.base import Durability, TopicDescription

Rule = Literal["create_time", "foreign_keys", "compacted", "replication", "min_isr", "unclean_election"]

ACCEPTABLE = ("create_time", "foreign_keys", "min_isr", "replication", "unclean_election")
"""Rules that may be waived with ``?accept=``; a compacted topic forgets events, so it is never read."""


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule that a topic breaks: what it is like, what that costs, how to mend it."""

    rule: Rule
    message: str
    lost: str
    remedy: str


def broken_rules(topic: TopicDescription) -> Iterator[BrokenRule]:
    """Yield the rules that a topic breaks, the gravest first."""
    if not topic.log_append_time:
        yield BrokenRule(
            "create_time",
            "keeps its producers' times (message.timestamp.type=CreateTime)",
            "an event from the future is not recognised, and ages and silence are judged by its producers' clocks",
            "set message.timestamp.type=LogAppendTime on the topic before anything is consumed",
        )
    if not topic.keyed_by_id:
        yield BrokenRule(
            "foreign_keys",
            "is keyed by something else than the event's id, as ?accept=foreign_keys says",
            "an event sent twice is counted twice where its copies lie in two partitions",
            "let its producers use the event's id as key",
        )
    if topic.durability is not None:
        yield from _broken_durability(topic.durability)


def _broken_durability(found: Durability) -> Iterator[BrokenRule]:
    if found.compacted:
        yield BrokenRule(
            "compacted",
            "is compacted",
            "events of one key replace each other before they are read",
            "set cleanup.policy=delete on the topic, or use another",
        )
    if found.replication < found.wanted_replication:
        yield BrokenRule(
            "replication",
            f"is kept by {_brokers(found.replication)} instead of {found.wanted_replication}",
            "a broker that is lost for good takes acknowledged events with it",
            "add replicas with kafka-reassign-partitions",
        )
    if found.min_isr < found.wanted_min_isr:
        yield BrokenRule(
            "min_isr",
            f"acknowledges what {_brokers(found.min_isr)} has (min.insync.replicas)",
            "acknowledged events are lost when that broker fails before the others have copied them",
            f"set min.insync.replicas={found.wanted_min_isr} on the topic",
        )
    if found.unclean_election:
        yield BrokenRule(
            "unclean_election",
            "may be led by a broker that has not all records (unclean.leader.election.enable=true)",
            "acknowledged events are lost, and offsets given twice, when such a broker takes over",
            "set unclean.leader.election.enable=false on the topic",
        )


def _brokers(count: int) -> str:
    return "1 broker" if count == 1 else f"{count} brokers"
