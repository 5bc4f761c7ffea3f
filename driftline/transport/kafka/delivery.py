"""Whether records still go out: an idempotent client of kafka-python 3.0.12 may stop sending for ever.

Once a batch has reached its delivery timeout, no later record is sent or refused, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from driftline.clock import Clock

_PROBES = 6
"""Questions to the cluster while patience lasts; a silent cluster is no reason to blame the client."""


@dataclass(frozen=True, slots=True)
class DeliveryPatience:
    """How long records may wait: for any acknowledgement while brokers answer, and for one at all."""

    wedged_seconds: float = 30.0
    outage_seconds: float = 3_600.0


class DeliveryWatch:
    """Tells a client that has stopped sending from a cluster that is away."""

    def __init__(self, clock: Clock, patience: DeliveryPatience, is_reachable: Callable[[], bool]) -> None:
        self._clock = clock
        self._wedged_seconds = patience.wedged_seconds
        self._is_reachable = is_reachable
        self._answered = -1
        self._silent_since = self._asked_at = clock.monotonic()

    def is_wedged(self, answered: int) -> bool:
        """Return whether nothing was answered for too long although the cluster is there.

        ``answered`` records have been so far. Called now and then while others wait.
        """
        now = self._clock.monotonic()
        if answered != self._answered:
            self._answered, self._silent_since, self._asked_at = answered, now, now
        elif now - self._asked_at >= self._wedged_seconds / _PROBES:
            self._asked_at = now
            if self._is_reachable():
                return now - self._silent_since >= self._wedged_seconds
            self._silent_since = self._clock.monotonic()
        return False

    def restart(self) -> None:
        """Start over with another client."""
        self._answered = -1
