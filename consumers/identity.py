"""Who an event is, as 64 bits, and whether its partition has seen it before.

Identity is the id within one UTC hour of event time (predictions: id and model version; labels: id,
label time and label). Hashes are xxHash64, which ClickHouse computes too, so the audit can check them
from the raw rows. Two different ids of one hour collide with a chance of 3e-8 per million ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from xxhash import xxh64_intdigest

from consumers.decoding import Decoded, IntArray
from driftline.events import Stream

HOUR_MS = 3_600_000
HashArray = npt.NDArray[np.uint64]
HourLoader = Callable[[Sequence[int], int], Mapping[int, Iterable[int]]]


def identity_hashes(stream: Stream, events: Decoded) -> HashArray:
    """Return each event's identity; the text hashed is the id, or its parts joined by a NUL character."""
    if stream == "inputs":
        texts: Iterable[str] = events.ids
    elif stream == "predictions":
        texts = map("\0".join, zip(events.ids, events.envelope["model_version"], strict=True))
    else:
        labels = events.columns["label"].tolist()
        # No label and an empty one are the same, as in the key of the raw table.
        parts = zip(events.ids, events.times_ms.tolist(), labels, strict=True)
        texts = (f"{i}\0{t}\0{'' if v is None else v!r}" for i, t, v in parts)
    return np.fromiter(map(xxh64_intdigest, map(str.encode, texts)), dtype=np.uint64, count=len(events))


class SeenIds:
    """The identities that one partition has held so far, by hour of event time.

    Hours that are not in memory are loaded through ``load_hours(hours, below)`` before their first event is
    judged: it returns what the raw table holds of this partition at offsets under ``below``, those this process
    has stored or has not read itself. Rows beyond, left by a process that died, say nothing about earlier offsets.
    """

    def __init__(
        self, stored_hours: Iterable[int], load_hours: HourLoader, below: int, capacity: int = 2_000_000
    ) -> None:
        self._stored_hours = set(stored_hours)
        self._load_hours = load_hours
        self._below = below
        self._capacity = capacity
        self._hours: dict[int, set[int]] = {}  # least recently touched first
        self._unflushed: set[int] = set()
        self._in_flight: set[int] = set()

    def mark(self, times_ms: IntArray, hashes: HashArray) -> npt.NDArray[np.bool_]:
        """Remember the events, in this order, and return which of them were known before."""
        duplicate = np.zeros(len(times_ms), dtype=bool)
        hours = times_ms - times_ms % HOUR_MS
        order = np.argsort(hours, kind="stable")
        starts = np.flatnonzero(np.diff(hours[order], prepend=-1)) if len(hours) else np.array([], dtype=np.int64)
        self._bring_in(hours[order][starts].tolist())
        for rows in np.split(order, starts[1:]) if len(starts) else ():
            self._mark_hour(int(hours[rows[0]]), rows, hashes[rows].tolist(), duplicate)
        return duplicate

    def handed_over(self) -> None:
        """Take note that everything marked so far is on its way to the store."""
        self._in_flight |= self._unflushed
        self._unflushed.clear()

    def written(self, next_offset: int) -> None:
        """Take note that all below ``next_offset`` is in the store; forget the oldest hours beyond capacity.

        Hours marked since they were handed over stay in memory: the store does not know all of them yet.
        """
        self._below = next_offset
        self._stored_hours |= self._in_flight
        self._in_flight.clear()
        held = sum(map(len, self._hours.values()))
        for hour in [hour for hour in self._hours if hour not in self._unflushed]:
            if held <= self._capacity:
                break
            held -= len(self._hours.pop(hour))

    def _bring_in(self, hours: list[int]) -> None:
        absent = [hour for hour in hours if hour not in self._hours and hour in self._stored_hours]
        loaded = self._load_hours(absent, self._below) if absent else {}
        for hour in hours:
            known = self._hours.pop(hour, None)
            self._hours[hour] = set(loaded.get(hour, ())) if known is None else known
        self._unflushed.update(hours)

    def _mark_hour(self, hour: int, rows: IntArray, hashes: list[int], duplicate: npt.NDArray[np.bool_]) -> None:
        seen, fresh = self._hours[hour], set(hashes)
        if len(fresh) == len(hashes) and seen.isdisjoint(fresh):
            seen |= fresh
            return
        for row, identity in zip(rows.tolist(), hashes, strict=True):
            if identity in seen:
                duplicate[row] = True
            seen.add(identity)
