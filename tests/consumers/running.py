"""The whole consumer on a real local log and the embedded store, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from consumers.auditing.audit import TopicAudit, audit
from consumers.loop import ConsumerLoop, Pace
from driftline.cli.consuming import open_consumer
from driftline.clock import ManualClock
from driftline.contract import Contract
from driftline.errors import StoreUnavailable
from driftline.events import STREAMS, Marker, Stream, marker_headers
from driftline.store import Store
from driftline.transport import Partition
from driftline.transport.local import LocalTransport
from tests.consumers.making import Record


@dataclass
class FailingStore:
    """The real store, except that its ``fail_at``-th insert fails, before or after it was written."""

    store: Store
    fail_at: int = 0
    written: bool = False
    inserts: int = 0
    fail_queries: int = 0

    def insert(self, table: str, columns: pa.Table) -> None:
        self._insert(lambda: self.store.insert(table, columns))

    def insert_rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            self._insert(lambda: self.store.insert_rows(table, rows))

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        if "groupArray(id_hash)" in sql and self.fail_queries:
            self.fail_queries -= 1
            raise _unavailable()
        return self.store.query(sql, parameters)

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.store.execute(sql, parameters)

    def _insert(self, write: Any) -> None:
        self.inserts += 1
        if self.inserts == self.fail_at and not self.written:
            raise _unavailable()
        write()
        if self.inserts == self.fail_at:
            raise _unavailable()


def _unavailable() -> StoreUnavailable:
    return StoreUnavailable("store does not answer; check that it runs, then retry")


@dataclass
class Pipeline:
    """One model's log and the consumer of it."""

    store: Store
    contract: Contract
    log: Path
    partitions: int = 1
    clock: ManualClock = field(default_factory=lambda: ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))

    def __post_init__(self) -> None:
        self.transport = LocalTransport(self.log, self.clock)
        for stream in STREAMS:
            self.transport.create_topic(self.topic(stream), self.partitions)

    def topic(self, stream: Stream) -> str:
        name: str = getattr(self.contract.topics, stream)
        return name

    def send(self, records: Sequence[Record], stream: Stream = "inputs", partition: int = 0, key: bytes = b"k") -> None:
        with self.transport.producer() as producer:
            for record in records:
                value, headers = (b"", marker_headers(record)) if isinstance(record, Marker) else (record, ())
                producer.send(Partition(self.topic(stream), partition), key=key, value=value, headers=headers)

    @contextmanager
    def consumer(self, store: Any = None, pace: Pace | None = None) -> Iterator[ConsumerLoop]:
        with open_consumer(store or self.store, self.transport, self.contract, self.clock, pace) as loop:
            yield loop

    def consume(self, store: Any = None, pace: Pace | None = None) -> ConsumerLoop:
        with self.consumer(store, pace) as loop:
            loop.run_until_end(threading.Event())
        return loop

    def audit(self, stream: Stream = "inputs") -> TopicAudit:
        return {account.stream: account for account in audit(self.store, self.transport, self.contract)}[stream]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """``{topic}`` in ``sql`` stands for the topic of the inputs."""
        return self.store.query(sql, {"topic": self.topic("inputs")})

    def counts(self, column: str = "") -> dict[int, dict[str, Any]]:
        """The view ``window_counts`` of the inputs, by hour since 2023-05-01."""
        rows = self.store.query(
            "SELECT * FROM window_counts WHERE topic = {topic:String} AND column = {column:String}",
            {"topic": self.topic("inputs"), "column": column},
        )
        first = datetime(2023, 5, 1, tzinfo=UTC)
        return {int((row["window_start"] - first).total_seconds() // 3600): row for row in rows}
