"""Months of green trips that never happened, in the official schema, for machines without a network.

Volumes, zones, distances, durations, fares and dirt follow ``producers.statistics``; days differ as real
days do. Equal seeds give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from driftline.errors import StoreNotWritable, UsageError
from producers.statistics import DAYPARTS, Statistics, daypart, load_statistics

SCHEMA = pa.schema(
    {
        "VendorID": pa.int64(),
        "lpep_pickup_datetime": pa.timestamp("us"),
        "lpep_dropoff_datetime": pa.timestamp("us"),
        "store_and_fwd_flag": pa.string(),
        "RatecodeID": pa.float64(),
        "PULocationID": pa.int64(),
        "DOLocationID": pa.int64(),
        "passenger_count": pa.float64(),
        "trip_distance": pa.float64(),
        "fare_amount": pa.float64(),
        "extra": pa.float64(),
        "mta_tax": pa.float64(),
        "tip_amount": pa.float64(),
        "tolls_amount": pa.float64(),
        "ehail_fee": pa.null(),
        "improvement_surcharge": pa.float64(),
        "total_amount": pa.float64(),
        "payment_type": pa.float64(),
        "trip_type": pa.float64(),
        "congestion_surcharge": pa.float64(),
    }
)
_LONGEST_DAYS = 366
_EARLIEST, _LATEST = date(1970, 1, 1), date(2098, 12, 31)  # the longest simulation ends before 2100
_DAY_SECONDS = 86_400
# From day to day a zone's share moves by about a tenth beyond chance; two real months were measured.
_ZONE_DAY_SPREAD = 0.1
_CONGESTION_USD, _IMPROVEMENT_USD, _MTA_USD = 2.75, 1.0, 0.5
_CARD, _CASH, _DISPUTE = 1.0, 2.0, 4.0

_MISSING_TOGETHER = (
    "passenger_count",
    "RatecodeID",
    "payment_type",
    "trip_type",
    "store_and_fwd_flag",
    "congestion_surcharge",
)

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class _World:
    statistics: Statistics
    random: np.random.Generator
    first_day: np.datetime64
    days: int


def simulate(days: int, seed: int, start: date, folder: Path) -> Path:
    """Write the trips of ``days`` days from ``start`` (New York clock) into ``folder``; return the file.

    Raises:
        UsageError: ``days``, ``seed`` or ``start`` is out of bounds.
        StoreNotWritable: the file cannot be written.
    """
    if not 1 <= days <= _LONGEST_DAYS:
        msg = f"`--days` must be from 1 to {_LONGEST_DAYS}; got {days}; simulate several files for more"
        raise UsageError(msg)
    if seed < 0:
        msg = f"`--seed` must be 0 or more; got {seed}"
        raise UsageError(msg)
    if not _EARLIEST <= start <= _LATEST:
        msg = f"`--start` must be from {_EARLIEST} to {_LATEST}; got {start.isoformat()}"
        raise UsageError(msg)
    table = simulated_table(days, seed, start)
    path = folder / f"green_tripdata_simulated_{start.isoformat()}_{days}d_seed{seed}.parquet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        pq.write_table(table, partial)
        partial.replace(path)
    except OSError as error:
        msg = f"{path}: cannot be written: {error.strerror or error}; free space, or choose another --to"
        raise StoreNotWritable(msg) from error
    return path


def simulated_table(days: int, seed: int, start: date) -> pa.Table:
    """Return the trips of ``days`` days from ``start`` as a table of ``SCHEMA``, the incomplete records last."""
    world = _World(load_statistics(), np.random.default_rng(seed), np.datetime64(start, "s"), days)
    trips = _pickups(world)
    trips |= _zones(world, trips)
    trips |= _rides(world, trips)
    trips |= _driver_entries(world, trips)
    trips |= _money(world, trips)
    _soil(world, trips)
    return _table(trips)


def _pickups(world: _World) -> Columns:
    """Draw how many trips each hour has, when in it they start, and which of them are incomplete records."""
    figures, random = world.statistics, world.random
    hours = np.arange(world.days * 24)
    day, hour = hours // 24, hours % 24
    weekday = (world.first_day.astype("datetime64[D]").astype(int) + 3 + day) % 7
    expected = np.asarray(figures.hourly_trips)[weekday * 24 + hour]
    expected = expected * _spread(random, figures.day_spread, world.days)[day]
    counts = random.poisson(expected * _spread(random, figures.hour_spread, len(hours)))
    second = np.repeat(hours, counts) * 3600 + random.integers(0, 3600, counts.sum())
    second.sort()
    hour, day = second // 3600 % 24, second // _DAY_SECONDS
    block = random.random(len(second)) < np.asarray(figures.block_share)[hour]
    second[block] -= second[block] % 60  # those records carry whole minutes
    weekday = weekday[day * 24]
    return {"second": second, "day": day, "hour": hour, "weekday": weekday, "block": block}


def _zones(world: _World, trips: Columns) -> Columns:
    """Draw both zones as indexes: pick-up by part of the week and day, drop-off by the topic of the pick-up."""
    figures, random = world.statistics, world.random
    part = daypart(trips["hour"], trips["weekday"])
    mood = np.exp(_ZONE_DAY_SPREAD * random.standard_normal((world.days, len(figures.zones))))
    shares = np.asarray(figures.pickup_shares, dtype=float)
    pickup = np.empty(len(part), dtype=np.int64)
    for key in np.unique(trips["day"] * DAYPARTS + part).tolist():
        chosen = trips["day"] * DAYPARTS + part == key
        weights = shares[key % DAYPARTS] * mood[key // DAYPARTS]
        pickup[chosen] = random.choice(len(weights), chosen.sum(), p=weights / weights.sum())
    topic = _draw_rows(random, np.asarray(figures.topic_shares, dtype=float), pickup)
    dropoff = _draw_rows(random, np.asarray(figures.dropoff_shares, dtype=float), topic)
    return {"part": part, "pickup": pickup, "dropoff": dropoff}


def _rides(world: _World, trips: Columns) -> Columns:
    """Draw miles from the zones' places and minutes from miles, hour, zones and day."""
    figures, random = world.statistics, world.random
    place = np.asarray(figures.places)
    apart = ((place[trips["pickup"]] - place[trips["dropoff"]]) ** 2).sum(axis=1)
    count = len(apart)
    miles = np.sqrt(apart + figures.within_zone_miles**2) * _spread(random, figures.distance_spread, count)
    pace = (
        np.asarray(figures.hour_pace)[trips["weekday"] * 24 + trips["hour"]]
        + np.asarray(figures.pickup_pace)[trips["pickup"]]
        + np.asarray(figures.dropoff_pace)[trips["dropoff"]]
        + figures.pace_day_spread * random.standard_normal(world.days)[trips["day"]]
    )
    # Traffic has heavier tails than a normal: Student's t with 5 degrees, scaled to the measured spread.
    noise = figures.pace_spread * random.standard_t(5, count) * np.sqrt(3 / 5)
    minutes = np.exp(pace + figures.distance_power * np.log(miles + 0.5) + noise)
    return {"miles": miles.round(2), "minutes": minutes}


def _driver_entries(world: _World, trips: Columns) -> Columns:
    """Draw what the driver or the meter enters, from the measured frequencies."""
    frequencies, random, count = world.statistics.categories, world.random, len(trips["miles"])
    names = ("VendorID", "RatecodeID", "passenger_count", "payment_type", "trip_type", "store_and_fwd_flag", "extra")
    entries = {name: _draw(random, frequencies[name], count) for name in names}
    incomplete = _draw(random, frequencies["block_VendorID"], count)
    entries["VendorID"] = np.where(trips["block"], incomplete, entries["VendorID"])
    entries["extra"] = np.where(trips["block"], 0.0, np.abs(entries["extra"]))
    return entries


def _money(world: _World, trips: Columns) -> Columns:
    """Work out the fare from miles and minutes, then what comes on top of it."""
    figures, random, count = world.statistics, world.random, len(trips["miles"])
    block = trips["block"]
    metered, upfront = np.asarray(figures.fare), np.asarray(figures.block_fare)
    terms = np.column_stack([np.ones(count), trips["miles"], trips["minutes"]])
    spread = np.where(block, figures.block_fare_spread, figures.fare_spread)
    fare = np.where(block, terms @ upfront, terms @ metered) + spread * random.standard_normal(count)
    fare = np.maximum(fare, 3.0).round(2)
    tolls = np.where(random.random(count) < figures.toll_share, figures.toll_usd, 0.0)
    congested = random.random(count) < np.asarray(figures.congestion_share)[trips["part"]]
    congestion = np.where(congested, _CONGESTION_USD, 0.0)
    before_tip = fare + trips["extra"] + np.where(block, 0.0, _MTA_USD) + tolls + _IMPROVEMENT_USD + congestion
    tipped = (block | (trips["payment_type"] == _CARD)) & (random.random(count) < figures.tip_share)
    ratio = np.interp(random.random(count), np.linspace(0, 1, len(figures.tip_ratio)), figures.tip_ratio)
    tip = np.where(tipped, ratio * before_tip, 0.0).round(2)
    return {
        "fare_amount": fare,
        "mta_tax": np.where(block, 0.0, _MTA_USD),
        "tolls_amount": tolls,
        "improvement_surcharge": np.full(count, _IMPROVEMENT_USD),
        "congestion_surcharge": congestion,
        "tip_amount": tip,
        "total_amount": (before_tip + tip).round(2),
    }


def _soil(world: _World, trips: Columns) -> None:
    """Put in the dirt of real files, in place: absurd miles, refunds, broken clocks, trips of another year."""
    random, count, dirt = world.random, len(trips["miles"]), world.statistics.dirt
    hit = {name: random.random(count) < share for name, share in dirt.items()}
    trips["miles"][hit["zero_distance"]] = 0.0
    # A meter started and stopped at once: half of the trips without miles.
    brief = hit["zero_distance"] & (random.random(count) < dirt["under_a_minute"] / dirt["zero_distance"])
    absurd = hit["absurd_distance"]
    trips["miles"][absurd] = np.minimum(random.lognormal(8.3, 1.2, absurd.sum()), 200_000).round(2)
    refunded = hit["negative_fare"] & ~trips["block"]
    for name in ("fare_amount", "mta_tax", "improvement_surcharge", "total_amount"):
        trips[name][refunded] *= -1
    trips["payment_type"][refunded] = _DISPUTE
    trips["tip_amount"][refunded] = 0.0
    minutes = trips["minutes"]
    minutes[brief] = random.integers(1, 60, brief.sum()) / 60
    minutes[hit["whole_day"]] = random.uniform(1_380, 1_440, hit["whole_day"].sum())
    minutes[hit["no_duration"]] = 0.0
    trips["second"][hit["other_period"]] -= 14 * 365 * _DAY_SECONDS
    trips["pickup_time"] = world.first_day + trips["second"].astype("timedelta64[s]")


def _table(trips: Mapping[str, np.ndarray]) -> pa.Table:
    seconds = np.rint(trips["minutes"] * 60).astype("int64")
    seconds[trips["block"]] -= seconds[trips["block"]] % 60
    zones = np.asarray(load_statistics().zones)
    columns = dict(trips)
    columns |= {
        "lpep_pickup_datetime": trips["pickup_time"],
        "lpep_dropoff_datetime": trips["pickup_time"] + seconds.astype("timedelta64[s]"),
        "PULocationID": zones[trips["pickup"]],
        "DOLocationID": zones[trips["dropoff"]],
        "trip_distance": trips["miles"],
    }
    frame = pd.DataFrame({name: columns[name] for name in SCHEMA.names if name != "ehail_fee"})
    frame.loc[trips["block"], list(_MISSING_TOGETHER)] = None
    frame = pd.concat([frame[~trips["block"]], frame[trips["block"]]], ignore_index=True)
    arrays = [
        pa.nulls(len(frame)) if name == "ehail_fee" else pa.Array.from_pandas(frame[name], type=SCHEMA.field(name).type)
        for name in SCHEMA.names
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _spread(random: np.random.Generator, spread: float, count: int) -> np.ndarray:
    """Return factors around 1 whose logarithms have this standard deviation."""
    factors: np.ndarray = np.exp(spread * random.standard_normal(count) - spread**2 / 2)
    return factors


def _draw(random: np.random.Generator, shares: Mapping[str, float], count: int) -> np.ndarray:
    names = list(shares)
    weights = np.array([shares[name] for name in names])
    values = np.array([float(name) if name.lstrip("-")[0].isdigit() else name for name in names], dtype=object)
    drawn = values[random.choice(len(names), count, p=weights / weights.sum())]
    return drawn if isinstance(values[0], str) else drawn.astype(float)


def _draw_rows(random: np.random.Generator, shares: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return for each of ``rows`` a column drawn with that row's shares."""
    empty = shares.sum(axis=1) == 0
    shares[empty] = 1.0
    cumulative = shares.cumsum(axis=1) / shares.sum(axis=1, keepdims=True)
    level = random.random(len(rows))
    drawn = np.empty(len(rows), dtype=np.int64)
    for row in np.unique(rows).tolist():
        chosen = rows == row
        drawn[chosen] = np.searchsorted(cumulative[row], level[chosen], side="right")
    return drawn.clip(max=shares.shape[1] - 1)
