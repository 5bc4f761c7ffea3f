"""What a consumer tells whoever watches it: the loop calls, ``driftline.ops`` answers with metrics and log lines.

Pure. An observer must neither raise nor wait, and is called from the thread that reads and from the one that writes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from driftline.events import Stream
from driftline.transport import Partition


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What one batch of one partition turned out to be. Markers are in ``records`` only; late events are ok too."""

    records: int
    ok: int
    duplicate: int
    late: int
    dead: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a consumer stands: its partitions' distance to their ends, its event time, what it has yet to store.

    ``lag`` counts records that are in the log and not yet read; ``watermark_ms`` is 0 before any event.
    """

    lag: Mapping[Partition, int]
    watermark_ms: Mapping[Partition, int]
    pending_rows: int


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A stream window that became complete in all partitions of this consumer; ``events`` are those it has counted."""

    stream: Stream
    window_start: datetime
    window_end: datetime
    events: int


class Observer(Protocol):
    """Hears of everything that an operator wants to see of a consumer."""

    def polled(self) -> None:
        """Take note of a turn of the loop; a poll without records does not say that the log has answered."""
        ...

    def absorbed(self, partition: Partition, counts: BatchCounts) -> None:
        """Take note of a batch that was classified and counted, and is not yet stored."""
        ...

    def flushed(self, seconds: float, rows: int) -> None:
        """Take note that everything absorbed is stored: ``rows`` raw rows.

        With 0 ``seconds`` there was nothing to store, and the store was not asked.
        """
        ...

    def window_closed(self, window: ClosedWindow) -> None:
        """Take note that a window is complete and stored."""
        ...

    def store_failed(self, error: Exception) -> None:
        """Take note of one attempt that the store did not answer or refused."""
        ...

    def log_failed(self, error: Exception) -> None:
        """Take note of one poll or question that the log did not answer."""
        ...

    def topic_paused(self, topic: str, reason: str) -> None:
        """Take note that a topic is no longer read, and why; an empty ``reason`` says that it is read again."""
        ...

    def assigned(self, partitions: Collection[Partition]) -> None:
        """Take note of the partitions that this consumer reads from now on, all of them: the log has named them."""
        ...

    def rebalanced(self) -> None:
        """Take note that the consumer group has shared out its partitions anew."""
        ...

    def progress(self, standing: Standing) -> None:
        """Take note of lag and watermarks, for which the log has answered; called every ten seconds or so."""
        ...

    def audited(self, mismatches: int) -> None:
        """Take note of an audit and of how many of its comparisons disagreed."""
        ...


class NullObserver:
    """Hears everything and keeps nothing."""

    def polled(self) -> None:
        """Do nothing."""

    def absorbed(self, partition: Partition, counts: BatchCounts) -> None:
        """Do nothing."""

    def flushed(self, seconds: float, rows: int) -> None:
        """Do nothing."""

    def window_closed(self, window: ClosedWindow) -> None:
        """Do nothing."""

    def store_failed(self, error: Exception) -> None:
        """Do nothing."""

    def log_failed(self, error: Exception) -> None:
        """Do nothing."""

    def topic_paused(self, topic: str, reason: str) -> None:
        """Do nothing."""

    def assigned(self, partitions: Collection[Partition]) -> None:
        """Do nothing."""

    def rebalanced(self) -> None:
        """Do nothing."""

    def progress(self, standing: Standing) -> None:
        """Do nothing."""

    def audited(self, mismatches: int) -> None:
        """Do nothing."""
