"""Reference rows out of a Parquet file of the user's own: one row per request, with its predictions and its label."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from driftline.contract import Contract
from driftline.errors import InputDataError

_OWN = ("event_time", "label")


def holds_rows(path: Path, contract: Contract) -> bool:
    """Return whether ``path`` is a Parquet file with ``event_time``, ``label`` and every column of the contract."""
    try:
        present = set(pq.read_schema(path).names)
    except (OSError, pa.ArrowInvalid):
        return False
    return present >= {*_OWN, *contract.columns}


def read_rows(path: Path, contract: Contract) -> pd.DataFrame:
    """Return the file's rows as ``build_reference`` wants them; an absent ``id`` becomes the row's number.

    A time without a zone is the contract's ``event_time.timezone``.

    Raises:
        InputDataError: a column holds values of another type than the contract says.
    """
    frame = pd.read_parquet(path)
    if "id" not in frame:
        frame["id"] = [str(row) for row in range(len(frame))]
    frame["event_time"] = _moments(frame["event_time"], path, contract)
    for name in ("label", *contract.columns_of_type("number")):
        frame[name] = _numbers(frame[name], path, name)
    for name in contract.columns_of_type("category", "text"):
        frame[name] = frame[name].map(str, na_action="ignore").astype(object)
    return frame


def _moments(column: pd.Series, path: Path, contract: Contract) -> pd.Series:
    if not pd.api.types.is_datetime64_any_dtype(column):
        rule = "`event_time` must be a column of timestamps"
        msg = f"{path}: {rule}; got {column.dtype}; convert it and write the file again"
        raise InputDataError(msg)
    if column.dt.tz is None:
        zone = contract.event_time.timezone
        column = column.dt.tz_localize(zone, ambiguous=[True] * len(column), nonexistent="shift_forward")
    moments: pd.Series = column.dt.tz_convert("UTC")
    return moments


def _numbers(column: pd.Series, path: Path, name: str) -> pd.Series:
    try:
        return column.astype("float64")
    except (TypeError, ValueError) as error:
        msg = f"{path}: `{name}` must hold numbers; {error}; convert it and write the file again"
        raise InputDataError(msg) from error
