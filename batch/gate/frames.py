"""Rows from outside as the contract sees them: values of its types, and a count of those that are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from batch.references.rows import decide
from batch.references.sets import PREDICTION_PREFIX, PROBABILITY_PREFIX
from batch.references.values import as_flag, as_text
from driftline.contract import Contract
from driftline.errors import InputDataError

_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2069, 1, 1, tzinfo=UTC)
_IDS = frozenset({"id", "id_a", "id_b"})
_ANSWERS = frozenset({"label", "expected", "prediction", "prediction_a", "prediction_b"})
# What pandas takes for missing. It keeps the list to itself, and asks for it as soon as one column has another.
_MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
)


@dataclass(frozen=True, slots=True)
class TypedRows:
    """Rows in the contract's types, one per id.

    ``frame`` has ``id``, ``event_time``, the contract's columns, ``prediction.VERSION`` for each of ``versions``, and
    perhaps ``probability.VERSION.CLASS``, ``label`` and ``label_time``.
    ``wrong`` and ``nonfinite`` count values by column that became null because of their type, or because they were
    infinite; ``n_duplicate`` counts rows left out because their id had been seen.
    """

    frame: pd.DataFrame
    versions: tuple[str, ...]
    has_labels: bool
    n_duplicate: int
    wrong: Mapping[str, int] = field(default_factory=dict)
    nonfinite: Mapping[str, int] = field(default_factory=dict)


def read_frame(path: Path, contract: Contract) -> pd.DataFrame:
    """Return the rows of a Parquet or CSV file.

    In CSV, ids, categories, texts and a classifier's classes stay as they are written, and only an empty one is
    missing.

    Raises:
        InputDataError: it is neither, or cannot be read.
    """
    try:
        return _read_csv(path, contract) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        msg = f"{path} cannot be read as {'CSV' if path.suffix == '.csv' else 'Parquet'}: {error}"
        raise InputDataError(msg) from error


def _read_csv(path: Path, contract: Contract) -> pd.DataFrame:
    names = list(map(str, pd.read_csv(path, nrows=0).columns))
    texts = [name for name in names if _is_text(name, contract)]
    kinds: Any = dict.fromkeys(texts, str)
    missing: Any = {**dict.fromkeys(names, _MISSING), **dict.fromkeys(texts, ("",))}
    frame: pd.DataFrame = pd.read_csv(path, dtype=kinds, na_values=missing, keep_default_na=False)
    return frame


def _is_text(name: str, contract: Contract) -> bool:
    if name in contract.columns:
        return contract.columns[name].type in ("category", "text")
    is_answer = name in _ANSWERS or name.startswith(PREDICTION_PREFIX)
    return name in _IDS or (is_answer and contract.task != "regression")


def typed_rows(frame: pd.DataFrame, contract: Contract, source: str) -> TypedRows:
    """Return ``frame`` in the contract's types; ``source`` names it in errors.

    A column ``prediction`` is the champion's; a classifier's answers are what its probabilities say, as in its windows.
    An absent ``id`` becomes the row's number; without ``event_time`` all
    rows count as one moment; a time without a zone is the contract's.

    Raises:
        InputDataError: it has no rows, lacks a column of the contract, or holds times that no window can.
    """
    champion = PREDICTION_PREFIX + contract.versions.champion
    if "prediction" in frame and champion not in frame:
        frame = frame.rename(columns={"prediction": champion})
    lacking = [name for name in contract.columns if name not in frame]
    if lacking or frame.empty:
        what = f"lacks the columns {', '.join(lacking)}" if lacking else "has no rows"
        msg = f"{source} {what}; it takes every column of {contract.model} and at least one row"
        raise InputDataError(msg)
    wrong: dict[str, int] = {}
    nonfinite: dict[str, int] = {}
    typed: dict[str, Any] = {"id": _ids(frame), "event_time": _event_times(frame, contract, source)}
    for name, kind in _kinds(frame, contract).items():
        typed[name], wrong[name], nonfinite[name] = _converted(frame[name], kind, contract)
    if "label" in typed:
        moments = _moments(frame["label_time"], contract) if "label_time" in frame else typed["event_time"]
        typed["label_time"] = moments.fillna(typed["event_time"])
    whole = pd.DataFrame(typed, index=frame.index)
    if contract.task != "regression":
        for version in contract.versions.all:
            decide(whole, contract, version)
    kept = whole.drop_duplicates("id", ignore_index=True)
    names = map(str, kept.columns)
    versions = tuple(name.removeprefix(PREDICTION_PREFIX) for name in names if name.startswith(PREDICTION_PREFIX))
    return TypedRows(kept, versions, "label" in kept, len(whole) - len(kept), wrong, nonfinite)


def _kinds(frame: pd.DataFrame, contract: Contract) -> dict[str, str]:
    """Return the type of each column that is read beside id and time."""
    outcome = "number" if contract.task == "regression" else "category"
    kinds: dict[str, str] = {name: column.type for name, column in contract.columns.items()}
    for name in map(str, frame.columns):
        if name.startswith(PREDICTION_PREFIX) or name == "label":
            kinds[name] = outcome
        elif name.startswith(PROBABILITY_PREFIX):
            kinds[name] = "number"
    return kinds


def _converted(values: pd.Series, kind: str, contract: Contract) -> tuple[pd.Series, int, int]:
    """Return ``values`` as ``kind``, and how many became null for their type and for being infinite."""
    if kind in ("category", "text"):
        return values.map(as_text, na_action="ignore").astype(object), 0, 0
    if kind == "datetime":
        found = _moments(values, contract)
    elif kind == "boolean":
        found = values.map(as_flag, na_action="ignore")
    elif values.dtype == bool:
        return pd.Series(np.nan, index=values.index), len(values), 0
    else:
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
        found = numbers.where(np.isfinite(numbers))
        return found, int((values.notna() & numbers.isna()).sum()), int(np.isinf(numbers).sum())
    return found, int((values.notna() & found.isna()).sum()), 0


def _ids(frame: pd.DataFrame) -> pd.Series:
    if "id" not in frame:
        return pd.Series([str(row) for row in range(len(frame))], index=frame.index)
    return frame["id"].map(as_text)


def _event_times(frame: pd.DataFrame, contract: Contract, source: str) -> pd.Series:
    if "event_time" not in frame:
        return pd.Series(pd.Timestamp(contract.event_time.floor), index=frame.index)
    moments = _moments(frame["event_time"], contract)
    fits = moments.between(pd.Timestamp(_EARLIEST), pd.Timestamp(_LATEST), inclusive="left")
    if not fits.all():
        first = frame["event_time"][~fits].iloc[0]
        msg = f"{source}: `event_time` must be a moment between 1970 and 2069; got {first}; mend or remove these rows"
        raise InputDataError(msg)
    return moments


def _moments(values: pd.Series, contract: Contract) -> pd.Series:
    found = values if pd.api.types.is_datetime64_any_dtype(values) else pd.to_datetime(values, errors="coerce")
    if not pd.api.types.is_datetime64_any_dtype(found):  # mixed zones stay objects
        found = pd.to_datetime(values, errors="coerce", utc=True)
    if found.dt.tz is None:
        zone = contract.event_time.timezone
        found = found.dt.tz_localize(zone, ambiguous=np.ones(len(found), dtype=bool), nonexistent="shift_forward")
    moments: pd.Series = found.dt.tz_convert("UTC")
    return moments
