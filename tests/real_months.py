"""Where the official months are, for tests that want real trips."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE_THE_REPOSITORY = Path(__file__).parents[2] / "shared" / "data"


def months_folder() -> Path:
    """Return the folder with green 2023-01 and 2023-02; skips the test where they are absent."""
    folder = Path(os.environ.get("DRIFTLINE_TEST_DATA", _BESIDE_THE_REPOSITORY))
    if not all((folder / f"green_tripdata_2023-0{month}.parquet").exists() for month in (1, 2)):
        pytest.skip(f"no real months in {folder}; set DRIFTLINE_TEST_DATA to a folder with green 2023-01 and 2023-02")
    return folder
