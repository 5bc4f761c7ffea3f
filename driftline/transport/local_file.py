"""Topics, offsets and records in the SQLite file: every statement of the local log.

Methods run inside a transaction that the caller opens; those of one transaction take
effect together. What a transport, producer or consumer is, is ``local``'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from driftline.transport import messages
from driftline.transport.base import Partition, TopicDescription
from driftline.transport.local_layout import FILE_NAME, OFFSET_BITS, open_file, translated_errors

_READ_RECORDS = 1_000
_OFFSET_MASK = (1 << OFFSET_BITS) - 1

NewRecord = tuple[bytes | None, bytes | None, bytes | None]
"""Key, value, encoded headers."""

KeptRecord = tuple[int, int, bytes | None, bytes | None, int | None]
"""Offset, append time, value, encoded headers, check sum."""


class Kept(NamedTuple):
    """What the file holds of one partition: offsets ``[begin, end)``, under the partition's number."""

    number: int
    begin: int
    end: int


class LogFile:
    """One connection to the file. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._connection = open_file(folder)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let the body see one state of the file."""
        with self._transaction("BEGIN"):
            yield

    @contextmanager
    def writing(self, wait_seconds: float = 30.0) -> Iterator[None]:
        """Commit what the body does, durably, or nothing of it; wait for other writers first.

        Raises:
            TransportUnavailable: they did not finish in time, or the disk is full.
        """
        with translated_errors(self._path):
            self._connection.execute(f"PRAGMA busy_timeout = {int(wait_seconds * 1000)}")
        with self._transaction("BEGIN IMMEDIATE"):
            yield

    def close(self) -> None:
        """Release the connection. Idempotent."""
        self._connection.close()

    def topic(self, name: str) -> TopicDescription | None:
        """Return the topic of that name, if there is one."""
        row = self._connection.execute("SELECT topic_id, partitions FROM topics WHERE name = ?", (name,)).fetchone()
        return TopicDescription(name, row[0], row[1], log_append_time=True) if row else None

    def add_topic(self, topic: TopicDescription) -> None:
        """Add a topic with empty partitions."""
        self._connection.execute(
            "INSERT INTO topics (name, topic_id, partitions) VALUES (?, ?, ?)",
            (topic.name, topic.topic_id, topic.partitions),
        )
        self._connection.executemany(
            "INSERT INTO partitions (topic, partition) VALUES (?, ?)",
            [(topic.name, index) for index in range(topic.partitions)],
        )

    def remove_topic(self, name: str) -> None:
        """Remove a topic, its partitions and their records."""
        for partition, kept in self.kept().items():
            if partition.topic == name:
                self.remove_records(kept, kept.end)
        self._connection.execute("DELETE FROM topics WHERE name = ?", (name,))

    def kept(self) -> dict[Partition, Kept]:
        """Return every partition there is."""
        rows = self._connection.execute("SELECT topic, partition, number, begin_offset, next_offset FROM partitions")
        return {Partition(topic, index): Kept(number, begin, end) for topic, index, number, begin, end in rows}

    def kept_of(self, partitions: Iterable[Partition], url: str) -> dict[Partition, Kept]:
        """Return these partitions.

        Raises:
            TopicNotFound: one does not exist.
        """
        current = self.kept()
        for partition in partitions:
            if partition not in current:
                if (topic := self.topic(partition.topic)) is None:
                    raise messages.topic_not_found(partition.topic, url)
                raise messages.partition_not_found(partition, topic, url)
        return {partition: current[partition] for partition in partitions}

    def append(self, kept: Kept, records: Sequence[NewRecord], now_ms: int) -> None:
        """Append records at the partition's end, stamped ``now_ms`` or the latest time given so far."""
        (last_ms,) = self._connection.execute(
            "SELECT last_append_ms FROM partitions WHERE number = ?", (kept.number,)
        ).fetchone()
        append_ms = max(last_ms, now_ms)
        first_id = (kept.number << OFFSET_BITS) + kept.end
        self._connection.executemany(
            "INSERT INTO records (id, append_time_ms, key, value, headers, checksum) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (first_id + place, append_ms, *record, _checksum(kept.end + place, append_ms, record[1], record[2]))
                for place, record in enumerate(records)
            ],
        )
        self._connection.execute(
            "UPDATE partitions SET next_offset = ?, last_append_ms = ? WHERE number = ?",
            (kept.end + len(records), append_ms, kept.number),
        )

    def remove_records(self, kept: Kept, before_offset: int) -> None:
        """Remove the partition's records below ``before_offset``; its end stays."""
        begin = min(max(before_offset, kept.begin), kept.end)
        first_id = kept.number << OFFSET_BITS
        self._connection.execute("DELETE FROM records WHERE id >= ? AND id < ?", (first_id, first_id + begin))
        self._connection.execute("UPDATE partitions SET begin_offset = ? WHERE number = ?", (begin, kept.number))

    def read(self, kept: Kept, offset: int, max_records: int, max_bytes: int) -> list[KeptRecord]:
        """Return up to ``max_records`` records from ``offset`` on; stop early once they hold ``max_bytes``.

        Raises:
            TransportError: a record is damaged or gone.
        """
        first_id = kept.number << OFFSET_BITS
        cursor = self._connection.execute(
            "SELECT id & ?, append_time_ms, value, headers, checksum FROM records "
            "WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (_OFFSET_MASK, first_id + offset, first_id + kept.end, max_records),
        )
        records: list[KeptRecord] = []
        while max_bytes > 0 and (rows := cursor.fetchmany(_READ_RECORDS)):
            records += rows
            max_bytes -= sum([len(row[2] or b"") for row in rows])
        there = len(records) if max_bytes <= 0 else min(max_records, kept.end - offset)
        self._require_sound(kept, range(offset, offset + there), records)
        return records

    def _require_sound(self, kept: Kept, offsets: range, records: Sequence[KeptRecord]) -> None:
        """Refuse records that are not those that were appended at ``offsets``."""
        for offset, record in zip_longest(offsets, records):
            if record is None or record[0] != offset:
                raise messages.record_gone(self._path, self._name_of(kept), offset)
            if not _is_sound(*record):
                raise messages.record_damaged(self._path, self._name_of(kept), offset)

    def _name_of(self, kept: Kept) -> str:
        sql = "SELECT topic || '[' || partition || ']' FROM partitions WHERE number = ?"
        return str(self._connection.execute(sql, (kept.number,)).fetchone()[0])

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        with translated_errors(self._path):
            self._connection.execute(begin)
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _checksum(offset: int, append_ms: int, value: bytes | None, headers: bytes | None) -> int:
    return crc32(headers or b"", crc32(value or b"", (offset * 31 + append_ms) & 0xFFFFFFFF))


def _is_sound(offset: int, append_ms: int, value: bytes | None, headers: bytes | None, checksum: int | None) -> bool:
    try:
        return checksum is None or checksum == _checksum(offset, append_ms, value, headers)
    except TypeError:  # a flipped bit may make text or a fraction of it
        return False
