"""Reference rows out of a Parquet file of the user's own: one row per request, with its predictions and its label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from batch.references.sets import PREDICTION_PREFIX, PROBABILITY_PREFIX
from batch.references.values import as_flag, as_text
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

    A time without a zone is the contract's ``event_time.timezone``. An infinite number is missing, as in an event. A
    classifier's answers are what its probabilities say, where there are any, as in its windows.

    Raises:
        InputDataError: a column holds values of another type than the contract says.
    """
    frame = pd.read_parquet(path)
    if "id" not in frame:
        frame["id"] = [str(row) for row in range(len(frame))]
    frame["event_time"] = _moments(frame["event_time"], path, contract)
    names = list(map(str, frame.columns))
    answers = ["label", *(name for name in names if name.startswith(PREDICTION_PREFIX))]
    numbers = [*contract.columns_of_type("number"), *(name for name in names if name.startswith(PROBABILITY_PREFIX))]
    texts = list(contract.columns_of_type("category", "text"))
    (numbers if contract.task == "regression" else texts).extend(answers)
    for name in numbers:
        frame[name] = _numbers(frame[name], path, name)
    for name in texts:
        frame[name] = frame[name].map(as_text, na_action="ignore").astype(object)
    for name in contract.columns_of_type("boolean"):
        frame[name] = _flags(frame[name], path, name)
    if contract.task != "regression":
        for version in contract.versions.all:
            decide(frame, contract, version)
    return frame


def decide(frame: pd.DataFrame, contract: Contract, version: str) -> None:
    """Fill ``prediction.VERSION`` from the probabilities: a binary answer goes by the contract's threshold."""
    prefix, column = f"{PROBABILITY_PREFIX}{version}.", PREDICTION_PREFIX + version
    given = frame[[name for name in map(str, frame.columns) if name.startswith(prefix)]]
    given = given.rename(columns=lambda name: str(name).removeprefix(prefix))
    likeliest = given.dropna(how="all").idxmax(axis=1).reindex(frame.index)
    said = frame[column] if column in frame else pd.Series(None, index=frame.index, dtype=object)
    positive = contract.positive_class
    if contract.task != "binary" or positive is None:
        answers = said.fillna(likeliest)
    elif positive in given:
        others = [name for name in given.columns if name != positive]
        other = said.where(said != positive).fillna(others[0] if others else f"not {positive}")
        decided = other.mask(given[positive] >= contract.decision_threshold, positive)
        answers = decided.where(given[positive].notna(), said)
    else:
        answers = said
    if column in frame or len(given.columns):
        frame[column] = answers.astype(object)


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
        numbers = column.astype("float64")
    except (TypeError, ValueError) as error:
        msg = f"{path}: `{name}` must hold numbers; {error}; convert it and write the file again"
        raise InputDataError(msg) from error
    return numbers.where(np.isfinite(numbers))


def _flags(column: pd.Series, path: Path, name: str) -> pd.Series:
    """Return booleans as windows have them: 0 and 1 would be two more values beside theirs."""
    flags = column.map(as_flag, na_action="ignore")
    wrong = column[flags.isna() & column.notna()]
    if len(wrong):
        rule = f"`{name}` must hold booleans, as true and false or as 1 and 0"
        msg = f"{path}: {rule}; got {wrong.iloc[0]}; convert it and write the file again"
        raise InputDataError(msg)
    return flags
