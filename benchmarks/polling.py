"""Reading a whole feed the shortest way there is: what every consumer pays at least."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from operator import attrgetter
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from benchmarks.measuring import Measured, stopwatch
from benchmarks.workloads import Feed
from driftline.events import STREAMS
from driftline.transport import Partition, open_transport

_POLL_RECORDS = 5_000  # as ours
_POLL_SECONDS = 0.2


def bare(feed: Feed) -> Measured:
    """Poll the feed to its end and throw every record away."""
    with stopwatch() as watch:
        records = sum(len(polled) for _, polled in polls(feed))
    return watch.measured(records)


def polls(feed: Feed) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield topic and records until the end offsets of the start; see ``value_reader``."""
    return _kafka_polls(feed) if feed.url.startswith("kafka:") else _local_polls(feed)


def value_reader(feed: Feed) -> Callable[[Any], bytes | None]:
    """Return what takes the value out of a record of this feed."""
    return attrgetter("value") if feed.url.startswith("kafka:") else _itself


def _itself(value: bytes | None) -> bytes | None:
    return value


def _kafka_polls(feed: Feed) -> Iterator[tuple[str, Sequence[Any]]]:
    server = feed.url.partition("://")[2].partition("?")[0]
    with closing(KafkaConsumer(bootstrap_servers=server, enable_auto_commit=False, metrics_enabled=False)) as consumer:
        topics = [getattr(feed.contract.topics, stream) for stream in STREAMS]
        places = [TopicPartition(topic, index) for topic in topics for index in consumer.partitions_for_topic(topic)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        while any(consumer.position(place) < end for place, end in ends.items()):
            polled = consumer.poll(timeout_ms=int(_POLL_SECONDS * 1_000), max_records=_POLL_RECORDS)
            yield from ((place.topic, records) for place, records in polled.items())


def _local_polls(feed: Feed) -> Iterator[tuple[str, Sequence[Any]]]:
    with closing(open_transport(feed.url)) as transport, transport.consumer() as consumer:
        topics = [transport.describe_topic(getattr(feed.contract.topics, stream)) for stream in STREAMS]
        places = [Partition(topic.name, index) for topic in topics for index in range(topic.partitions)]
        consumer.assign(dict.fromkeys(places, 0))
        ends = consumer.end_offsets(places)
        while any(consumer.position(place) < end for place, end in ends.items()):
            yield from ((one.partition.topic, one.values) for one in consumer.poll(_POLL_SECONDS, _POLL_RECORDS))
