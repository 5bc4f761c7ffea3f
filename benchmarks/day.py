"""The days that both sides judge: real or simulated trips with a prediction and a label, as two Parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.workloads import Months
from driftline.contract import Contract, parse_contract
from producers.taxi import read_month

START = datetime(2023, 2, 1, tzinfo=UTC)
VERSION = "gbm-1"
NUMBERS = ("trip_distance", "passenger_count", "fare_amount", "tip_amount", "total_amount", "congestion_surcharge")
CATEGORIES = ("PULocationID", "DOLocationID", "payment_type", "RatecodeID")
_ROWS, _REFERENCE_ROWS = 3_000, 60_000
_DAY_MS = 86_400_000
_CONTRACT = f"""
model: benchmark_day
versions: {{champion: {VERSION}}}
columns:
{"".join(f"  {name}: {{type: number}}{chr(10)}" for name in NUMBERS)}
{"".join(f"  {name}: {{type: category}}{chr(10)}" for name in CATEGORIES)}
label: {{range: [1, 60], delay: {{p99: 1h, max: 2d}}}}
windows: {{stream: 1h, profile: 1h, data: 1d, drift: 1d, quality: [1d]}}
"""


@dataclass(frozen=True, slots=True)
class Days:
    """The files: ``current`` is ``count`` days, both hold the ten columns, ``prediction``, ``label`` and more."""

    current: Path
    reference: Path
    count: int


def contract() -> Contract:
    """Return the contract of the ten columns."""
    return parse_contract(_CONTRACT, "benchmarks/day.py")


def make_days(months: Months, folder: Path, count: int, small: bool) -> Days:
    """Write the days and their reference to ``folder``: trips with a valid label, so that both sides use every row."""
    share = 10 if small else 1
    current = _scored(months.current, count * (_ROWS // share), seed=2)
    event_ms = np.arange(len(current), dtype=np.int64) * count * _DAY_MS // len(current)
    current["event_time"] = pd.Timestamp(START) + pd.to_timedelta(event_ms, unit="ms")
    current["label_time"] = current["event_time"] + pd.to_timedelta(current["label"], unit="min").dt.round("ms")
    days = Days(folder / f"current_{count}.parquet", folder / "reference.parquet", count)
    current.to_parquet(days.current)
    _scored(months.reference, _REFERENCE_ROWS // share, seed=1).to_parquet(days.reference)
    return days


def _scored(month: Path, rows: int, seed: int) -> pd.DataFrame:
    frame = read_month(month).frame
    frame = frame[frame["label"].between(1, 60)].head(rows).reset_index(drop=True)
    noise = np.random.default_rng(seed).normal(0, 3, len(frame))
    return frame.assign(prediction=4 + 3 * frame["trip_distance"].clip(0, 20) + noise)
