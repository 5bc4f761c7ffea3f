"""How far a partition has got in event time, as a function of its log alone.

Two horizons. ``watermark`` is the largest event time or marker read: it decides what is late.
``complete_to`` says which windows are complete: with marking producers it is the least promise
among those that have not ended, without any it is the watermark; an end marker raises only this one.
A producer that has been silent for a day of append time no longer holds windows back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import msgspec
import numpy as np

from consumers.decoding.decoder import FUTURE_TOLERANCE_MS, IntArray
from driftline.events import Marker

Basis = Literal["record", "marker", "end", "idle"]
NEVER_MS = 0  # before any event; also what the store holds for a partition without events
_SILENT_AFTER_MS = 86_400_000


class Promise(msgspec.Struct, frozen=True):
    """The latest marker of one producer: nothing older than ``up_to`` follows from it."""

    up_to: int
    ended: bool
    append_ms: int


@dataclass(frozen=True, slots=True)
class Watermark:
    """State of one partition; every ``after_…`` returns the state that follows."""

    watermark_ms: int = NEVER_MS
    promises: tuple[tuple[str, Promise], ...] = ()
    last_append_ms: int = 0

    def after_events(self, largest_ms: int, append_ms: int) -> Watermark:
        """Return the state after events up to ``largest_ms``."""
        return replace(
            self,
            watermark_ms=max(self.watermark_ms, largest_ms),
            last_append_ms=max(self.last_append_ms, append_ms),
        )

    def after_marker(self, marker: Marker, append_ms: int) -> Watermark:
        """Return the state after ``marker``; one from the future counts as far as an event would."""
        up_to = marker.up_to if marker.end else min(marker.up_to, append_ms + FUTURE_TOLERANCE_MS)
        known = dict(self.promises)
        before = known.get(marker.producer)
        # A producer that starts over takes nothing back, and what its end said is no news about events.
        known[marker.producer] = Promise(max(up_to, before.up_to if before else up_to), marker.end, append_ms)
        return Watermark(
            watermark_ms=self.watermark_ms if marker.end else max(self.watermark_ms, up_to),
            promises=tuple(sorted(known.items())),
            last_append_ms=max(self.last_append_ms, append_ms),
        )

    def complete_to_ms(self, allowed_lateness: timedelta) -> int:
        """Return the moment up to which windows are complete: those that end at it or before."""
        lateness_ms = allowed_lateness // timedelta(milliseconds=1)
        return max(NEVER_MS, self._horizon_ms() - lateness_ms)

    @property
    def basis(self) -> Basis:
        """What ``complete_to_ms`` rests on."""
        if not self.promises:
            return "record"
        return "marker" if self._live() else "end"

    def _horizon_ms(self) -> int:
        live = self._live()
        ended = (promise.up_to for _, promise in self.promises if promise.ended)
        return min(live) if live else max(self.watermark_ms, *ended, NEVER_MS)

    def _live(self) -> list[int]:
        oldest = self.last_append_ms - _SILENT_AFTER_MS
        return [promise.up_to for _, promise in self.promises if not promise.ended and promise.append_ms >= oldest]


def encode_promises(state: Watermark) -> str:
    """Return the producers' promises as text for the store."""
    return msgspec.json.encode(dict(state.promises)).decode()


def decode_promises(text: str) -> tuple[tuple[str, Promise], ...]:
    """Return what ``encode_promises`` wrote."""
    found: dict[str, Promise] = msgspec.json.decode(text or "{}", type=dict[str, Promise])
    return tuple(sorted(found.items()))


def late_events(
    times_ms: IntArray, horizons_ms: IntArray, window_ms: int, allowed_lateness: timedelta
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which events came when their window was already complete.

    ``horizons_ms`` is the partition's watermark just before each event.
    """
    ends = times_ms - times_ms % window_ms + window_ms
    late: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        ends + allowed_lateness // timedelta(milliseconds=1) <= horizons_ms
    )
    return late
