"""A simulated month for any test, made once per folder."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from producers.simulator import simulate

FIRST_DAY = date(2023, 1, 1)


def simulated_month(days: int, seed: int, to: Path, start: date = FIRST_DAY) -> Path:
    """Return a parquet file of ``days`` simulated days in ``to``, made there unless it exists."""
    path = to / f"green_tripdata_simulated_{start.isoformat()}_{days}d_seed{seed}.parquet"
    return path if path.exists() else simulate(days, seed, start, to)
