"""What a duration model is given about a trip: only what is known when the passenger gets in.

Owns the design matrix; the estimators are ``producers.model``'s. Every row is made from that row
alone, so a prediction does not depend on which trips are asked together.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

SOURCES = ("trip_distance", "passenger_count", "VendorID", "RatecodeID", "PULocationID", "DOLocationID")
"""Columns of ``producers.taxi.Trips`` that the features come from, all known at prediction time."""

NUMBER_SOURCES = ("trip_distance", "passenger_count")
"""Those of them that are numbers; a null among the others is a category of its own."""

ZONES = ("pickup_zone", "dropoff_zone", "zone_pair", "vendor", "rate_code")
NUMBERS = ("distance_miles", "passengers", "hour", "weekday")
LINEAR_ZONES = ("pickup_zone", "dropoff_zone", "vendor", "rate_code", "clock")
LINEAR_NUMBERS = ("distance_miles", "log_distance", "passengers")

# The meter's slips of 100,000 miles would own a linear model; no trip in the city is longer than this.
_LONGEST_MILES = 50.0
_WEEKEND = 5


def features(trips: pd.DataFrame, timezone: str) -> pd.DataFrame:
    """Return one row of model features per trip, in the same order; hours are those of clocks in ``timezone``."""
    local = trips["event_time"].dt.tz_convert(timezone)
    distance = trips["trip_distance"].clip(0.0, _LONGEST_MILES)
    pickup, dropoff = _text(trips["PULocationID"]), _text(trips["DOLocationID"])
    hour, weekday = local.dt.hour, local.dt.dayofweek
    return pd.DataFrame(
        {
            "pickup_zone": pickup,
            "dropoff_zone": dropoff,
            "zone_pair": pickup + ">" + dropoff,
            "vendor": _text(trips["VendorID"]),
            "rate_code": _text(trips["RatecodeID"]),
            "clock": hour.astype(str) + np.where(weekday >= _WEEKEND, " weekend", " workday"),
            "distance_miles": distance,
            "log_distance": np.log1p(distance),
            "passengers": trips["passenger_count"],
            "hour": hour + local.dt.minute / 60.0,
            "weekday": weekday.astype("float64"),
        }
    )


def _text(column: pd.Series) -> pd.Series:
    return column.astype(object).where(column.notna(), "missing").astype(str)
