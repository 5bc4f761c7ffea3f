"""Trips out of TLC files: one row, one event, in the order of time, judged by nobody.

Negative fares, trips of other years and durations below zero pass as they are: finding them is
the monitor's job. Only a trip without a pick-up time cannot be an event; it is counted as skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from driftline.errors import InputDataError
from producers.tlc import CATEGORIES, NUMBERS, content_hash, read_table

FEATURES = (*NUMBERS, *CATEGORIES)
NEW_YORK = ZoneInfo("America/New_York")
_HASH_DIGITS = 12
_MINUTE_US = 60_000_000
_OLDEST, _NEWEST = np.datetime64("0002-01-01", "s"), np.datetime64("9999-01-01", "s")


@dataclass(frozen=True, slots=True)
class Trips:
    """Trips ordered by (event_time, row number of the file).

    ``frame`` has ``id``, ``event_time`` and ``dropoff`` (UTC, milliseconds; drop-off may be NaT), ``label``
    (minutes from pick-up to drop-off, whatever it is; NaN without a drop-off) and one column per name in
    ``FEATURES``: numbers as float64 with NaN, categories as strings with None.
    ``skipped`` counts the rows without a pick-up time.
    """

    frame: pd.DataFrame
    hashes: tuple[str, ...]
    skipped: int = 0


def read_trips(paths: Sequence[Path]) -> Trips:
    """Return the trips of all files as one sequence; equal times keep the order of files and rows.

    Raises:
        InputDataError: see ``producers.tlc.read_table``; also when a column holds another type than it should.
    """
    months = [_read_month(path) for path in paths]
    frame = pd.concat([month.frame for month in months], ignore_index=True) if len(months) > 1 else months[0].frame
    return Trips(
        frame=in_time_order(frame),
        hashes=tuple(digest for month in months for digest in month.hashes),
        skipped=sum(month.skipped for month in months),
    )


def read_month(path: Path) -> Trips:
    """Return the trips of one file; see ``read_trips``."""
    return read_trips([path])


def in_time_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Return ``frame`` sorted by ``event_time``; rows of equal times keep their order."""
    order = np.argsort(frame["event_time"].to_numpy(), kind="stable")
    return frame.take(order).reset_index(drop=True)


def to_utc(local: pd.Series) -> pd.Series:
    """Return New York clock readings as UTC instants, microseconds.

    A reading that the clock skips (02:30 in a spring night) moves forward to the first one that exists; one
    that it shows twice (01:30 in an autumn night) is the first of the two. Aware readings keep their instant; those
    outside the years 2 to 9998, which no time zone can place, become NaT.
    """
    local = local.dt.as_unit("us").where(_within_calendar(local))
    if local.dt.tz is not None:
        aware: pd.Series = local.dt.tz_convert("UTC")
        return aware
    # Clocks change at quarter hours: converting each quarter once is fifty times faster than each row.
    quarter = local.dt.floor("15min")
    which, quarters = pd.factorize(quarter, use_na_sentinel=False)
    first = np.ones(len(quarters), dtype=bool)
    instants = pd.DatetimeIndex(quarters).tz_localize(NEW_YORK, nonexistent="shift_forward", ambiguous=first)
    skipped = (instants.tz_localize(None) != quarters)[which]
    within = (local - quarter).mask(skipped, pd.Timedelta(0))
    placed: pd.Series = pd.Series(instants.tz_convert("UTC").take(which)) + within
    return placed


def canonical_code(value: object) -> str | None:
    """Return a code or zone as the one string for it: 74, 74.0, "74" and " 074 " are all "74".

    >>> [canonical_code(value) for value in (74, 74.0, "074", "N", "", float("nan"), 1.5)]
    ['74', '74', '74', 'N', None, None, '1.5']
    """
    if value is None or value != value:  # NaN and NaT differ from themselves
        return None
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text or None
    return str(int(number)) if number.is_integer() else text


def _within_calendar(local: pd.Series) -> np.ndarray:
    seconds = local.dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    within: np.ndarray = (seconds >= _OLDEST) & (seconds < _NEWEST)
    return within


def _read_month(path: Path) -> Trips:
    table, (pickup_name, dropoff_name) = read_table(path)
    pickup = _stamp(path, table, pickup_name)
    dropoff = _stamp(path, table, dropoff_name)
    digest = content_hash(path)
    prefix = digest[:_HASH_DIGITS]
    columns: dict[str, object] = {
        "id": [f"{prefix}-{row}" for row in range(table.num_rows)],
        "event_time": pickup.dt.as_unit("ms"),
        "dropoff": dropoff.dt.as_unit("ms"),
        "label": _minutes(pickup, dropoff),
    }
    columns |= {name: _number(path, table, name) for name in NUMBERS}
    columns |= {name: _category(table, name) for name in CATEGORIES}
    known = pickup.notna().to_numpy()
    frame = pd.DataFrame(columns)
    frame = frame if known.all() else frame[known].reset_index(drop=True)
    if frame.empty:
        msg = f"{path}: `{pickup_name}` is null in all {table.num_rows} rows; a trip without a pick-up time is no event"
        raise InputDataError(msg)
    return Trips(frame, (digest,), skipped=int((~known).sum()))


def _stamp(path: Path, table: pa.Table, name: str) -> pd.Series:
    kind = table.schema.field(name).type
    if not pa.types.is_timestamp(kind):
        msg = f"{path}: `{name}` must be a timestamp; got {kind}; convert the column, or fetch the official file"
        raise InputDataError(msg)
    return to_utc(table.column(name).to_pandas())


def _minutes(pickup: pd.Series, dropoff: pd.Series) -> np.ndarray:
    elapsed = (dropoff - pickup).to_numpy()
    minutes = elapsed.astype("int64") / _MINUTE_US
    minutes[np.isnat(elapsed)] = np.nan
    return minutes


def _number(path: Path, table: pa.Table, name: str) -> np.ndarray:
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    try:
        numbers: np.ndarray = pd.to_numeric(table.column(name).to_pandas()).to_numpy("float64", na_value=np.nan)
    except (ValueError, TypeError) as error:
        kind = table.schema.field(name).type
        msg = f"{path}: `{name}` must hold numbers; got {kind} ({error}); correct or drop the column"
        raise InputDataError(msg) from error
    return numbers


def _category(table: pa.Table, name: str) -> np.ndarray:
    if name not in table.column_names:
        return np.full(table.num_rows, None, dtype=object)
    codes, uniques = pd.factorize(table.column(name).to_pandas().astype(object), use_na_sentinel=True)
    names = np.array([*map(canonical_code, uniques), None], dtype=object)
    return names[codes]
