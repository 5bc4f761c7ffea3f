"""Moments in event time: finding where a month of trips really ends, shifting by weeks."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd

WEEK_MS = 7 * 86_400_000
_DAY_MS = 86_400_000
# A stray trip of another year has not this many trips (or 1 % of the file) in the day before it.
_COMPANY_ROWS = 100


def epoch_ms(times: pd.Series) -> np.ndarray:
    """Return UTC stamps as epoch milliseconds."""
    # By way of the UTC wall clock: numpy has no aware stamps.
    epoch: np.ndarray = times.dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype("int64")
    return epoch


def end_of_trips_ms(event_ms: np.ndarray) -> int:
    """Return the last of the ascending times that is no stray: enough trips lie in the day before it."""
    company = min(_COMPANY_ROWS, (len(event_ms) - 1) // 100)
    in_company = event_ms[company:] - event_ms[: len(event_ms) - company] <= _DAY_MS
    return int(event_ms[company:][in_company].max(initial=event_ms[0]))


def weeks_to_now(end_ms: int, now_ms: int, live: timedelta = timedelta(days=1)) -> int:
    """Return the whole weeks to shift by, so that trips until ``end_ms`` reach at least ``live`` beyond now.

    The least such number: between ``live`` and ``live`` + 7 days of trips are still to come.
    """
    missing_ms = now_ms + live // timedelta(milliseconds=1) - end_ms
    return -(-missing_ms // WEEK_MS)
