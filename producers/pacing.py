"""When an event may go out: how event time follows the clock."""

from __future__ import annotations

from driftline.clock import Clock, to_ms

# Nobody watches an empty hour pass at real speed.
_LONGEST_GAP_MS = 3_600_000
_REST_SECONDS = 0.5


class Pace:
    """Event time running at ``speed`` times the clock from ``start_ms`` on; gaps over an hour are jumped."""

    def __init__(self, clock: Clock, start_ms: int, speed: float) -> None:
        self._clock = clock
        self._speed = speed
        self._from_ms = float(start_ms)
        self._since = clock.monotonic()

    def horizon_ms(self, next_ms: int) -> int:
        """Return the event time up to which events are due, knowing that the next one is at ``next_ms``."""
        horizon = self._from_ms + (self._clock.monotonic() - self._since) * 1_000 * self._speed
        if next_ms - horizon > _LONGEST_GAP_MS:
            horizon = float(next_ms)
            self._from_ms, self._since = horizon, self._clock.monotonic()
        return int(horizon)

    def rest_seconds(self, next_ms: int) -> float:
        """Return how long to sleep before asking again; never so long that a stop goes unnoticed."""
        due_in = (next_ms - self.horizon_ms(next_ms)) / 1_000 / self._speed
        return min(max(due_in, 0.001), _REST_SECONDS)


class Live:
    """Event time is the clock's time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def horizon_ms(self, next_ms: int) -> int:
        """Return now."""
        return to_ms(self._clock.now())

    def rest_seconds(self, next_ms: int) -> float:
        """Return how long to sleep before asking again; never so long that a stop goes unnoticed."""
        return min(max((next_ms - self.horizon_ms(next_ms)) / 1_000, 0.001), _REST_SECONDS)
