"""Measures months of green trips for the simulator: ``python -m producers.measuring FILE…``.

Rewrites the file that ``producers.statistics`` reads. Not part of any command; it ran on 2023-01 and 2023-02.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from producers.statistics import DAYPARTS, FILE, Statistics, daypart

_TOPICS = 16
_SCALE = 10_000
# Days with less are other months' strays.
_LONELY_ROWS = 100


def measure(trips: pd.DataFrame) -> Statistics:
    """Return the figures of raw rows of green months."""
    trips = _prepare(trips)
    zones = sorted(set(trips["PULocationID"]) | set(trips["DOLocationID"]))
    clean = trips[trips["minutes"].between(1, 60) & trips["trip_distance"].between(0.1, 30)]
    topic_shares, dropoff_shares = _flows(clean, zones)
    figures: dict[str, Any] = {"zones": [int(zone) for zone in zones]}
    figures |= _volume(trips) | _places(clean, zones) | _pace(clean, zones) | _money(clean) | _marginals(trips)
    return Statistics(
        **figures,
        pickup_shares=[_shares(trips[trips["daypart"] == part]["PULocationID"], zones) for part in range(DAYPARTS)],
        topic_shares=topic_shares,
        dropoff_shares=dropoff_shares,
    )


def _prepare(trips: pd.DataFrame) -> pd.DataFrame:
    pickup = trips["lpep_pickup_datetime"]
    busiest = pickup.dt.year.mode().iloc[0]
    trips = trips[pickup.dt.year == busiest].reset_index(drop=True)
    pickup = trips["lpep_pickup_datetime"]
    return trips.assign(
        minutes=(trips["lpep_dropoff_datetime"] - pickup).dt.total_seconds() / 60,
        day=pickup.dt.normalize(),
        hour=pickup.dt.hour,
        hour_of_week=pickup.dt.dayofweek * 24 + pickup.dt.hour,
        daypart=daypart(pickup.dt.hour.to_numpy(), pickup.dt.dayofweek.to_numpy()),
        block=trips["passenger_count"].isna(),
    )


def _volume(trips: pd.DataFrame) -> dict[str, Any]:
    days: pd.Series = trips.groupby("day").size()
    days = days[days > _LONELY_ROWS]
    hours = trips[trips["day"].isin(days.index)].groupby(["day", "hour_of_week"]).size()
    hourly = hours.groupby("hour_of_week").mean().reindex(range(168), fill_value=0.5)
    by_day = np.log(days / days.groupby(pd.DatetimeIndex(days.index).dayofweek).transform("mean"))
    expected = hourly.reindex(hours.index.get_level_values(1)).to_numpy()
    excess = ((hours.to_numpy() - expected) ** 2 - expected).mean() / (expected**2).mean()
    return {
        "hourly_trips": _rounded(hourly, 1),
        "day_spread": round(float(by_day.std()), 3),
        "hour_spread": round(float(np.sqrt(max(excess, 0.0))), 3),
    }


def _flows(trips: pd.DataFrame, zones: list[int]) -> tuple[list[list[int]], list[list[int]]]:
    from sklearn.decomposition import NMF

    counts = pd.crosstab(trips["PULocationID"], trips["DOLocationID"]).reindex(index=zones, columns=zones, fill_value=0)
    model = NMF(_TOPICS, beta_loss="kullback-leibler", solver="mu", init="nndsvda", max_iter=500, random_state=0)
    weights = model.fit_transform(counts.to_numpy(dtype=float) + 1e-3)
    volumes = model.components_.sum(axis=1)
    return _scaled_rows(weights * volumes), _scaled_rows(model.components_)


def _places(trips: pd.DataFrame, zones: list[int]) -> dict[str, Any]:
    from scipy.optimize import minimize

    index = {zone: position for position, zone in enumerate(zones)}
    pairs = trips.groupby(["PULocationID", "DOLocationID"])["trip_distance"].agg(["median", "size"]).reset_index()
    start, end = pairs["PULocationID"].map(index).to_numpy(), pairs["DOLocationID"].map(index).to_numpy()
    target, weight = np.log(pairs["median"].to_numpy()), np.sqrt(pairs["size"].to_numpy())
    within = float(np.exp(np.average(target[start == end], weights=weight[start == end])))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        place = flat.reshape(-1, 2)
        apart = place[start] - place[end]
        squared = (apart**2).sum(axis=1) + within**2
        error = 0.5 * np.log(squared) - target
        slope = (2 * weight * error / squared)[:, None] * apart
        gradient = np.zeros_like(place)
        np.add.at(gradient, start, slope)
        np.add.at(gradient, end, -slope)
        return float((weight * error**2).sum()), gradient.ravel()

    # The loss has local minima: the best of a dozen starts.
    starts = [np.random.default_rng(seed).normal(0, 4, len(zones) * 2) for seed in range(12)]
    found = [minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 800}) for first in starts]
    best = min(found, key=lambda result: result.fun)
    place = best.x.reshape(-1, 2)
    miles = np.sqrt(((place[start] - place[end]) ** 2).sum(axis=1) + within**2)
    usual = trips.merge(pairs.assign(miles=miles), on=["PULocationID", "DOLocationID"])
    spread = np.log(usual["trip_distance"].to_numpy() / usual["miles"].to_numpy())
    low, high = np.quantile(spread, [0.16, 0.84])
    return {
        "places": [(round(float(x), 2), round(float(y), 2)) for x, y in place],
        "within_zone_miles": round(within, 3),
        "distance_spread": round((high - low) / 2, 3),
    }


def _pace(trips: pd.DataFrame, zones: list[int]) -> dict[str, Any]:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import OneHotEncoder

    categories = [list(range(168)), zones, zones]
    encoder = OneHotEncoder(categories=categories, sparse_output=False)
    levels = encoder.fit_transform(trips[["hour_of_week", "PULocationID", "DOLocationID"]])
    distance = np.log(trips["trip_distance"].to_numpy() + 0.5)
    fitted = Ridge(alpha=5.0).fit(np.column_stack([levels, distance]), np.log(trips["minutes"]))
    rest: pd.Series = np.log(trips["minutes"]) - fitted.predict(np.column_stack([levels, distance]))
    low, high = rest.quantile([0.16, 0.84])
    by_day = rest.groupby(trips["day"])
    pace = fitted.coef_
    count = len(zones)
    return {
        "hour_pace": _rounded(pace[:168] + fitted.intercept_, 3),
        "pickup_pace": _rounded(pace[168 : 168 + count], 3),
        "dropoff_pace": _rounded(pace[168 + count : 168 + 2 * count], 3),
        "distance_power": round(float(pace[-1]), 3),
        "pace_spread": round(float(high - low) / 2, 3),
        "pace_day_spread": round(float(by_day.mean()[by_day.size() > _LONELY_ROWS].std()), 3),
    }


def _money(trips: pd.DataFrame) -> dict[str, Any]:
    metered = trips[~trips["block"] & (trips["RatecodeID"] == 1) & trips["fare_amount"].between(2, 150)]
    block = trips[trips["block"] & trips["fare_amount"].between(2, 150)]
    (fare, fare_spread), (block_fare, block_spread) = _fare(metered), _fare(block)
    tipped = metered[(metered["payment_type"] == 1) & (metered["tip_amount"] > 0)]
    ratio = tipped["tip_amount"] / (tipped["total_amount"] - tipped["tip_amount"])
    tolled = trips[trips["tolls_amount"] > 0]
    card = metered[metered["payment_type"] == 1]
    surcharge = (trips["congestion_surcharge"] > 0)[~trips["block"]].groupby(trips["daypart"]).mean()
    return {
        "fare": fare,
        "fare_spread": fare_spread,
        "block_fare": block_fare,
        "block_fare_spread": block_spread,
        "tip_share": round(float((card["tip_amount"] > 0).mean()), 3),
        "tip_ratio": _rounded(ratio.quantile(np.linspace(0, 0.995, 21)), 3),
        "toll_share": round(len(tolled) / len(trips), 4),
        "toll_usd": float(tolled["tolls_amount"].mode().iloc[0]),
        "congestion_share": _rounded(surcharge.reindex(range(DAYPARTS), fill_value=0.27), 3),
    }


def _fare(trips: pd.DataFrame) -> tuple[tuple[float, float, float], float]:
    terms = np.column_stack([np.ones(len(trips)), trips["trip_distance"], trips["minutes"]])
    usual = np.linalg.lstsq(terms, trips["fare_amount"].to_numpy(), rcond=None)[0]
    spread = np.abs(trips["fare_amount"] - terms @ usual).median() / 0.6745
    first, by_mile, by_minute = (round(float(value), 3) for value in usual)
    return (first, by_mile, by_minute), round(float(spread), 3)


def _marginals(trips: pd.DataFrame) -> dict[str, Any]:
    named = trips[~trips["block"]]
    columns = ("VendorID", "RatecodeID", "passenger_count", "payment_type", "trip_type", "store_and_fwd_flag", "extra")
    categories = {name: _frequencies(named[name]) for name in columns}
    categories["block_VendorID"] = _frequencies(trips[trips["block"]]["VendorID"])
    minutes, distance = trips["minutes"], trips["trip_distance"]
    dirt = {
        "zero_distance": (distance == 0).mean(),
        "absurd_distance": (distance > 1_000).mean(),
        "negative_fare": (trips["fare_amount"] < 0).mean(),
        "no_duration": (minutes <= 0).mean(),
        "under_a_minute": ((minutes > 0) & (minutes < 1)).mean(),
        "whole_day": (minutes > 1_200).mean(),
        "other_period": 5e-5,
    }
    share = trips.groupby("hour")["block"].mean()
    return {
        "block_share": _rounded(share.reindex(range(24), fill_value=0.07), 4),
        "categories": categories,
        "dirt": {name: round(float(value), 5) for name, value in dirt.items()},
    }


def _frequencies(column: pd.Series) -> dict[str, float]:
    shares = column.value_counts(normalize=True)
    common = shares[shares > 1e-5]
    names = [value if isinstance(value, str) else f"{value:g}" for value in common.index]
    return dict(zip(names, (round(float(share), 5) for share in common), strict=True))


def _shares(column: pd.Series, zones: list[int]) -> list[int]:
    counts = column.value_counts().reindex(zones, fill_value=0).to_numpy(dtype=float)
    return _scaled_rows(counts[None, :])[0]


def _scaled_rows(values: np.ndarray) -> list[list[int]]:
    shares = values / values.sum(axis=1, keepdims=True)
    scaled: list[list[int]] = np.rint(shares * _SCALE).astype(int).tolist()
    return scaled


def _rounded(values: Any, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]


def main(paths: Sequence[str]) -> None:
    """Measure the months at ``paths`` and rewrite the file beside this module."""
    trips = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    body = msgspec.json.encode(measure(trips))
    Path(__file__).with_name(FILE).write_bytes(body.replace(b'],"', b'],\n"') + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
