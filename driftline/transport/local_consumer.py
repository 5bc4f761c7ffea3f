"""The consumer of the local log: positions, pauses and waiting; reading itself is ``local_file``'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec

from driftline.clock import Clock
from driftline.errors import UsageError
from driftline.transport import messages
from driftline.transport.base import Changes, Headers, Partition, RecordBatch
from driftline.transport.local_file import Kept, KeptRecord, LogFile

_POLL_BYTES = 32 * 1024 * 1024
_IDLE_SLEEP_SECONDS = 0.02

_decode_headers = msgspec.msgpack.Decoder(Headers).decode


class LocalConsumer:
    """Reads the file; looks again every 20 ms while there is nothing new."""

    def __init__(self, file: LogFile, clock: Clock, url: str) -> None:
        self._file = file
        self._clock = clock
        self._url = url
        self._numbers: dict[Partition, int] = {}
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._turn = 0
        self._closed = False

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read exactly these partitions from these offsets on."""
        self._require_open()
        with self._file.reading():
            kept = self._file.kept_of(positions, self._url)
        for partition, offset in positions.items():
            messages.require_offset(partition, offset)
        self._numbers = {partition: kept[partition].number for partition in positions}
        self._positions = dict(positions)
        self._paused = set()

    def subscribe(self, topics: Sequence[str]) -> None:
        """Refuse: nobody shares out the partitions of a file."""
        self._require_open()
        msg = (
            f"a local log has no consumer groups; got a subscription to {', '.join(topics)} in {self._url}; "
            "share its partitions with `--assignment i/n`"
        )
        raise UsageError(msg)

    def changes(self) -> Changes:
        """Return nothing: an assignment stays."""
        return Changes()

    def assignment(self) -> frozenset[Partition]:
        """Return the partitions that were assigned."""
        return frozenset(self._positions)

    def poll(self, timeout_seconds: float, max_records: int = 5_000) -> list[RecordBatch]:
        """Return what is there; wait up to the timeout while there is nothing."""
        self._require_open()
        deadline = self._clock.monotonic() + timeout_seconds
        while True:
            batches = self._read(max_records)
            remaining = deadline - self._clock.monotonic()
            if batches or remaining <= 0:
                return batches
            self._clock.sleep(min(_IDLE_SLEEP_SECONDS, remaining))

    def position(self, partition: Partition) -> int:
        """Return the offset that the next poll starts at."""
        self._require_assigned(partition)
        return self._positions[partition]

    def seek(self, partition: Partition, offset: int) -> None:
        """Start the next poll of an assigned partition at ``offset``."""
        self._require_assigned(partition)
        messages.require_offset(partition, offset)
        self._positions[partition] = offset

    def pause(self, partitions: Sequence[Partition]) -> None:
        """Stop returning records of these partitions until ``resume``."""
        self._require_assigned(*partitions)
        self._paused.update(partitions)

    def resume(self, partitions: Sequence[Partition]) -> None:
        """Undo ``pause``."""
        self._require_assigned(*partitions)
        self._paused.difference_update(partitions)

    def begin_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return the first offset kept of each partition."""
        return {partition: kept.begin for partition, kept in self._kept(partitions).items()}

    def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return the offset that the next record appended to each partition will get."""
        return {partition: kept.end for partition, kept in self._kept(partitions).items()}

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Do nothing: no lag tool reads the local log."""

    def close(self) -> None:
        """Release. Idempotent."""
        self._closed = True
        self._file.close()

    def _read(self, max_records: int) -> list[RecordBatch]:
        with self._file.reading():
            current = self._file.kept()
            readable = {
                partition: current[partition]
                for partition in self._in_turn()
                if partition in current and current[partition].number == self._numbers[partition]
            }
            self._require_in_range(readable)
            batches: list[RecordBatch] = []
            for partition, kept in readable.items():
                if max_records > 0 and self._positions[partition] < kept.end:
                    records = self._file.read(kept, self._positions[partition], max_records, _POLL_BYTES)
                    batches.append(_batch(partition, records))
                    max_records -= len(records)
        self._positions.update({batch.partition: batch.next_offset for batch in batches})
        return batches

    def _in_turn(self) -> list[Partition]:
        """Return the partitions to read, another one first at every poll, so that none starves."""
        active = [partition for partition in self._positions if partition not in self._paused]
        self._turn += 1
        first = self._turn % len(active) if active else 0
        return active[first:] + active[:first]

    def _require_in_range(self, readable: Mapping[Partition, Kept]) -> None:
        for partition, kept in readable.items():
            position = self._positions[partition]
            if not kept.begin <= position <= kept.end:
                raise messages.offset_out_of_range({partition: position})

    def _kept(self, partitions: Sequence[Partition]) -> dict[Partition, Kept]:
        self._require_open()
        with self._file.reading():
            return self._file.kept_of(partitions, self._url)

    def _require_assigned(self, *partitions: Partition) -> None:
        self._require_open()
        for partition in partitions:
            if partition not in self._positions:
                raise messages.not_assigned(partition)

    def _require_open(self) -> None:
        if self._closed:
            raise messages.closed_error(self._url, "consumer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _batch(partition: Partition, records: Sequence[KeptRecord]) -> RecordBatch:
    offsets, append_times_ms, values, headers, _ = zip(*records, strict=True)
    return RecordBatch(
        partition,
        offsets,
        append_times_ms,
        values,
        next_offset=offsets[-1] + 1,
        headers={index: _decode_headers(raw) for index, raw in enumerate(headers) if raw is not None},
    )
