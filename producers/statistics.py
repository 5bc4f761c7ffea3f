"""What the simulator knows of New York: aggregate figures of real green months, no trip among them.

``producers.measuring`` makes the file that is read here. Shares are whole numbers in ten-thousandths where
they are many, so that the file stays small.
"""

from __future__ import annotations

from importlib import resources

import msgspec
import numpy as np

FILE = "nyc_green_statistics.json"
DAYPARTS = 12
"""Six parts of four hours on workdays, then six on weekends."""


class Statistics(msgspec.Struct, frozen=True):
    """Figures of real months. Hours of the week begin on Monday, New York clock; times in minutes, money in USD.

    ``pickup_shares`` is by daypart and zone; drop-offs mix ``topics``: shares of topics by pick-up zone, shares of
    zones by topic. ``places`` puts zones on a plane where a trip's usual miles are
    sqrt(distance² + ``within_zone_miles``²). A trip's log minutes are ``hour_pace`` + ``distance_power`` ×
    log(miles + 0.5) + its two zones' ``pickup_pace`` and ``dropoff_pace`` + noise.
    """

    zones: list[int]
    hourly_trips: list[float]
    day_spread: float
    hour_spread: float
    pickup_shares: list[list[int]]
    topic_shares: list[list[int]]
    dropoff_shares: list[list[int]]
    places: list[tuple[float, float]]
    within_zone_miles: float
    distance_spread: float
    hour_pace: list[float]
    distance_power: float
    pickup_pace: list[float]
    dropoff_pace: list[float]
    pace_spread: float
    pace_day_spread: float
    fare: tuple[float, float, float]
    fare_spread: float
    block_fare: tuple[float, float, float]
    block_fare_spread: float
    block_share: list[float]
    categories: dict[str, dict[str, float]]
    tip_share: float
    tip_ratio: list[float]
    toll_share: float
    toll_usd: float
    congestion_share: list[float]
    dirt: dict[str, float]


def load_statistics() -> Statistics:
    """Return the figures that ship with driftline."""
    text = resources.files("producers").joinpath(FILE).read_bytes()
    return msgspec.json.decode(text, type=Statistics)


def daypart(hour: np.ndarray, weekday: np.ndarray) -> np.ndarray:
    """Return the part of the week that an hour of the day and a weekday (0 Monday) belong to."""
    part: np.ndarray = hour // 4 + np.where(weekday >= 5, 6, 0)
    return part
