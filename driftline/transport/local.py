"""The log in one SQLite file: the embedded backend, for one machine and any number of processes.

Owns transport and producer; the consumer is ``local_consumer``'s, statements are ``local_file``'s. Offsets, append
times and records change in one transaction, so an offset is given once and for all.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import msgspec

from driftline.clock import Clock, SystemClock, to_ms
from driftline.errors import DeliveryFailed, UsageError
from driftline.transport import messages
from driftline.transport.base import Headers, Partition, TopicDescription
from driftline.transport.limits import check_record, check_topic
from driftline.transport.local_consumer import LocalConsumer
from driftline.transport.local_file import LogFile, NewRecord

_SCHEME = "local://"
_BUFFER_RECORDS = 10_000
_BUFFER_BYTES = 16 * 1024 * 1024

_encode_headers = msgspec.msgpack.Encoder().encode


class LocalTransport:
    """The log in one folder."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._file = LogFile(folder)
        self._closed = False

    @classmethod
    def open(cls, url: str, clock: Clock | None = None) -> LocalTransport:
        """Open the log at ``local:///absolute/folder`` or ``local://relative/folder``, making it where it is absent.

        Raises:
            UsageError: the URL names no folder.
            TransportError: the folder cannot be used as a log.
        """
        folder = url.removeprefix(_SCHEME)
        if not url.startswith(_SCHEME) or not folder:
            msg = f"a local log is addressed as local:///path/to/folder; got {url!r}"
            raise UsageError(msg)
        path = Path("/" + folder.lstrip("/") if folder.startswith("/") else folder)
        return cls(path, clock or SystemClock())

    @property
    def url(self) -> str:
        """Address, for messages."""
        return f"{_SCHEME}{self._folder}"

    @property
    def accepts(self) -> frozenset[str]:
        """Nothing: every topic of a local log keeps the rules."""
        return frozenset()

    def create_topic(self, name: str, partitions: int) -> TopicDescription:
        """Create a topic, or return the existing one if it has as many partitions."""
        check_topic(name, partitions)
        file = self._open_file()
        with file.writing():
            if (topic := file.topic(name)) is None:
                topic = TopicDescription(name, uuid.uuid4().hex, partitions, log_append_time=True)
                file.add_topic(topic)
        messages.require_match(topic, partitions)
        return topic

    def describe_topic(self, name: str) -> TopicDescription:
        """Return what the topic is now."""
        file = self._open_file()
        with file.reading():
            topic = file.topic(name)
        if topic is None:
            raise messages.topic_not_found(name, self.url)
        return topic

    def delete_topic(self, name: str) -> None:
        """Delete a topic with all its records.

        Raises:
            TopicNotFound: there is none of that name.
        """
        file = self._open_file()
        with file.writing():
            if file.topic(name) is None:
                raise messages.topic_not_found(name, self.url)
            file.remove_topic(name)

    def delete_records(self, partition: Partition, before_offset: int) -> None:
        """Delete the records of ``partition`` below ``before_offset``; their offsets are not given again.

        Raises:
            TopicNotFound: there is no such partition.
        """
        file = self._open_file()
        with file.writing():
            (kept,) = file.kept_of([partition], self.url).values()
            file.remove_records(kept, before_offset)

    def producer(self) -> LocalProducer:
        """Return a new producer with its own connection."""
        return LocalProducer(LogFile(self._folder), self._clock, self.url)

    def consumer(self, group: str | None = None) -> LocalConsumer:
        """Return a new consumer with its own connection; ``group`` only matters to Kafka."""
        return LocalConsumer(LogFile(self._folder), self._clock, self.url)

    def close(self) -> None:
        """Release the file. Idempotent; producers and consumers have their own connections."""
        self._closed = True
        self._file.close()

    def _open_file(self) -> LogFile:
        if self._closed:
            raise messages.closed_error(self.url, "transport")
        return self._file


class LocalProducer:
    """Appends a full buffer, and at ``flush`` what is left, each in one transaction.

    When the file cannot be written for now, ``send`` and ``flush`` raise ``TransportUnavailable``
    and all that was sent stays queued: the next ``flush`` tries again.
    """

    def __init__(self, file: LogFile, clock: Clock, url: str) -> None:
        self._file = file
        self._clock = clock
        self._url = url
        self._queues: dict[Partition, list[NewRecord]] = {}
        self._queued_records = 0
        self._queued_bytes = 0
        self._acknowledged: Counter[str] = Counter()
        self._closed = False

    def send(self, partition: Partition, *, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Queue one record; append all that is queued when the buffer is full."""
        self._require_open()
        check_record(key, value, headers)
        if (queue := self._queues.get(partition)) is None:
            queue = self._new_queue(partition)
        queue.append((key, value, _encode_headers(headers) if headers else None))
        self._queued_records += 1
        self._queued_bytes += len(value or b"")
        if self._queued_records >= _BUFFER_RECORDS or self._queued_bytes >= _BUFFER_BYTES:
            self.flush()

    def flush(self, timeout_seconds: float = 60.0) -> None:
        """Append all that is queued; return when it is durable."""
        self._require_open()
        if not self._queued_records:
            return
        with self._file.writing(timeout_seconds):
            kept = self._file.kept()
            now_ms = to_ms(self._clock.now())
            appended = {partition: queue for partition, queue in self._queues.items() if partition in kept}
            for partition, queue in appended.items():
                self._file.append(kept[partition], queue, now_ms)
        self._acknowledge(appended)

    @property
    def acknowledged(self) -> Mapping[str, int]:
        """Records appended so far, by topic."""
        return MappingProxyType(self._acknowledged)

    def close(self) -> None:
        """Flush and release. Idempotent."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True
            self._file.close()

    def _new_queue(self, partition: Partition) -> list[NewRecord]:
        with self._file.reading():
            self._file.kept_of([partition], self._url)
        return self._queues.setdefault(partition, [])

    def _acknowledge(self, appended: Mapping[Partition, list[NewRecord]]) -> None:
        for partition, queue in appended.items():
            self._acknowledged[partition.topic] += len(queue)
        refused = {partition: len(queue) for partition, queue in self._queues.items() if partition not in appended}
        self._queues.clear()
        self._queued_records = self._queued_bytes = 0
        if refused:
            gone = ", ".join(map(str, refused))
            msg = f"{sum(refused.values())} records were not appended: {gone} was deleted meanwhile; send them again"
            raise DeliveryFailed(msg)

    def _require_open(self) -> None:
        if self._closed:
            raise messages.closed_error(self._url, "producer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
