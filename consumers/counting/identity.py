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

from consumers.decoding.decoder import Decoded, IntArray
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
        self._hours: dict[int, _Hour] = {}  # least recently touched first
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
            duplicate[rows] = self._hours[int(hours[rows[0]])].mark(hashes[rows])
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
            self._hours[hour] = _Hour(loaded.get(hour, ())) if known is None else known
        self._unflushed.update(hours)


class _Hour:
    """The identities of one hour, eight bytes each: sorted runs, each at least twice as long as the next."""

    def __init__(self, known: Iterable[int]) -> None:
        self._runs: list[HashArray] = []
        self.mark(np.fromiter(known, dtype=np.uint64))

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def mark(self, hashes: HashArray) -> npt.NDArray[np.bool_]:
        """Remember ``hashes``, in this order, and return which were known before."""
        distinct, firsts = np.unique(hashes, return_index=True)
        fresh = np.ones(len(distinct), dtype=bool)
        for run in self._runs:
            at = np.searchsorted(run, distinct)
            at[at == len(run)] = 0
            fresh &= run[at] != distinct
        duplicate = np.ones(len(hashes), dtype=bool)
        duplicate[firsts[fresh]] = False
        if fresh.any():
            self._add(distinct[fresh])
        return duplicate

    def _add(self, run: HashArray) -> None:
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")  # linear: both are sorted
        self._runs.append(run)
