"""Files of the Taxi and Limousine Commission: which columns they have and how a bad file is told.

Owns opening and the shape of a file; what a trip is and when it happened is ``producers.taxi``'s.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from driftline.errors import InputDataError

NUMBERS = (
    "trip_distance",
    "passenger_count",
    "fare_amount",
    "tip_amount",
    "tolls_amount",
    "total_amount",
    "congestion_surcharge",
)
CATEGORIES = (
    "VendorID",
    "RatecodeID",
    "PULocationID",
    "DOLocationID",
    "payment_type",
    "trip_type",
    "store_and_fwd_flag",
)
REQUIRED = ("trip_distance", "PULocationID", "DOLocationID")
STAMPS = (
    ("lpep_pickup_datetime", "lpep_dropoff_datetime"),
    ("tpep_pickup_datetime", "tpep_dropoff_datetime"),
)
_MAGIC = b"PAR1"
_GET_ONE = "get a month with `driftline data fetch` or `driftline data simulate`"


def content_hash(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_table(path: Path) -> tuple[pa.Table, tuple[str, str]]:
    """Return the columns of a trip file that driftline uses, and the names of its pick-up and drop-off stamps.

    Raises:
        InputDataError: there is no such file, it is not parquet, cut off, empty or has other columns.
    """
    _require_parquet(path)
    try:
        present = pq.read_schema(path).names
        stamps = _stamps(path, present)
        wanted = [name for name in (*stamps, *NUMBERS, *CATEGORIES) if name in present]
        table = pq.read_table(path, columns=wanted)
    except (pa.ArrowException, OSError) as error:
        msg = f"{path}: a parquet file that cannot be read ({_first_line(error)}); fetch or make it again"
        raise InputDataError(msg) from error
    if table.num_rows == 0:
        msg = f"{path}: a trip file needs rows; got 0; {_GET_ONE}"
        raise InputDataError(msg)
    return table, stamps


def _require_parquet(path: Path) -> None:
    if not path.exists():
        msg = f"{path}: no such file; {_GET_ONE}"
        raise InputDataError(msg)
    if not path.is_file():
        msg = f"{path}: a trip file is a parquet file; got a folder; name the file in it"
        raise InputDataError(msg)
    try:
        size, head, tail = _ends(path)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}; check its permissions"
        raise InputDataError(msg) from error
    if size == 0:
        msg = f"{path}: a trip file is a parquet file; got an empty file; fetch or make it again"
        raise InputDataError(msg)
    if head != _MAGIC:
        msg = f"{path}: a trip file is a parquet file and starts with {_MAGIC!r}; got {head!r}; {_GET_ONE}"
        raise InputDataError(msg)
    if tail != _MAGIC:
        msg = f"{path}: the parquet file is cut off after {size} bytes (its footer is missing); fetch or make it again"
        raise InputDataError(msg)


def _ends(path: Path) -> tuple[int, bytes, bytes]:
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
        size = file.seek(0, 2)
        file.seek(max(0, size - len(_MAGIC)))
        return size, head, file.read()


def _stamps(path: Path, present: list[str]) -> tuple[str, str]:
    for pair in STAMPS:
        if all(name in present for name in (*pair, *REQUIRED)):
            return pair
    wanted = " and ".join(STAMPS[0]) + " (green) or " + " and ".join(STAMPS[1]) + " (yellow)"
    found = ", ".join(present[:12]) + (", …" if len(present) > 12 else "")
    msg = f"{path}: a trip file needs {wanted}, with {', '.join(REQUIRED)}; got columns {found or 'none'}; {_GET_ONE}"
    raise InputDataError(msg)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
