"""A Kafka broker for the length of one benchmark, where this machine can run one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kafka_broker import BrokerUnavailable, KafkaBroker, fetch_jars


@contextmanager
def running_broker(folder: Path) -> Iterator[str]:
    """Yield the address of a fresh broker, or the empty string after saying why there is none."""
    try:
        jars = fetch_jars()
    except BrokerUnavailable as error:
        print(f"Kafka is left out: {error}")
        yield ""
        return
    broker = KafkaBroker(jars, folder)
    broker.format()
    try:
        broker.start()
        yield broker.url
    finally:
        broker.stop()
