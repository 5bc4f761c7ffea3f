"""A store that lasts one call, holding a file's rows as if they had been consumed: all in one complete window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from batch.gate.frames import TypedRows
from batch.references.sets import PREDICTION_PREFIX, PROBABILITY_PREFIX
from driftline.clock import from_ms
from driftline.contract import Contract
from driftline.contract.parts import ReferenceRule, WindowRule
from driftline.store import Store
from driftline.store.inputs_table import ensure_inputs_table

WHOLE = timedelta(days=36_500)
"""A window from 1970 on that holds every row; windows are aligned to the epoch."""
_COMPLETE = datetime(2200, 1, 1, tzinfo=UTC)
_SOURCE = "file"


def offline(contract: Contract) -> Contract:
    """Return ``contract`` with one window for everything and the reference that is given."""
    windows = WindowRule(stream=WHOLE, profile=WHOLE, data=WHOLE, drift=WHOLE, quality=(WHOLE,))
    checks = tuple(check.model_copy(update={"granularity": None}) for check in contract.checks)
    return contract.model_copy(update={"windows": windows, "checks": checks, "reference": ReferenceRule()})


def fill(store: Store, contract: Contract, rows: TypedRows) -> None:
    """Insert ``rows`` with the counts that the consumer would have written; ``contract`` is an offline one."""
    ensure_inputs_table(store, contract)
    frame = rows.frame
    hashes = pd.util.hash_array(frame["id"].to_numpy(dtype=object)).astype("uint64")
    _insert_inputs(store, contract, frame, hashes)
    counts = [_count(contract, "inputs", "", "", frame, hashes, rows)]
    counts += [_count(contract, "inputs", "", name, frame, hashes, rows) for name in contract.columns]
    for version in rows.versions:
        _insert_predictions(store, contract, frame, hashes, version)
        counts.append(_count(contract, "predictions", version, "", frame, hashes, rows))
    labelled = np.zeros(len(frame), dtype=bool)
    if rows.has_labels:
        labelled = frame["label"].notna().to_numpy()
        _insert_labels(store, contract, frame[labelled], hashes[labelled])
    store.insert_rows("segment_counts", counts)
    n_of = {"inputs": len(frame), "predictions": len(frame) * len(rows.versions), "labels": int(labelled.sum())}
    # Without a label column labels are not late but unknown: their topic stays where it began.
    for stream in ("inputs", "predictions", *(["labels"] if rows.has_labels else [])):
        _complete(store, contract, stream, n_of[stream])


def _insert_inputs(store: Store, contract: Contract, frame: pd.DataFrame, hashes: np.ndarray) -> None:
    columns = {name: _array(frame[name], column.type) for name, column in contract.columns.items()}
    store.insert(contract.raw_inputs_table, _raw(contract, frame, hashes, {**_times(frame), **columns}, model=False))


def _insert_predictions(
    store: Store, contract: Contract, frame: pd.DataFrame, hashes: np.ndarray, version: str
) -> None:
    size, values = len(frame), frame[PREDICTION_PREFIX + version]
    is_number = contract.task == "regression"
    prefix = f"{PROBABILITY_PREFIX}{version}."
    given = frame[[name for name in frame.columns if name.startswith(prefix)]]
    classes = [name.removeprefix(prefix) for name in given.columns]
    probabilities = [
        [(name, float(one)) for name, one in zip(classes, row, strict=True) if np.isfinite(one)]
        for row in given.to_numpy(dtype="float64")
    ]
    answered = values.notna().to_numpy()
    columns = {
        **_times(frame),
        "model_version": pa.array([version] * size),
        "prediction": _array(values, "number") if is_number else pa.nulls(size, pa.float64()),
        "class": pa.nulls(size, pa.string()) if is_number else _array(values, "category"),
        "probabilities": pa.array(probabilities, pa.map_(pa.string(), pa.float64())),
        "status": pa.array(np.where(answered, "ok", "error")),
    }
    store.insert("predictions", _raw(contract, frame, hashes, columns))


def _insert_labels(store: Store, contract: Contract, frame: pd.DataFrame, hashes: np.ndarray) -> None:
    size, is_number = len(frame), contract.task == "regression"
    columns = {
        "label_time": _array(frame["label_time"], "datetime"),
        "label": _array(frame["label"], "number") if is_number else pa.nulls(size, pa.float64()),
        "label_class": pa.nulls(size, pa.string()) if is_number else _array(frame["label"], "category"),
    }
    store.insert("labels", _raw(contract, frame, hashes, columns))


def _times(frame: pd.DataFrame) -> dict[str, pa.Array]:
    return {"event_time": _array(frame["event_time"], "datetime")}


def _raw(
    contract: Contract, frame: pd.DataFrame, hashes: np.ndarray, columns: dict[str, pa.Array], *, model: bool = True
) -> pa.Table:
    size = len(frame)
    return pa.table(
        {
            "id": pa.array(frame["id"], pa.string()),
            **({"model": pa.array([contract.model] * size)} if model else {}),
            **columns,
            "append_time": pa.array([_COMPLETE] * size, pa.timestamp("ms", "UTC")),
            "id_hash": pa.array(hashes),
            "source_id": pa.array([_SOURCE] * size),
            "p": pa.array(np.zeros(size, dtype="uint16")),
            "o": pa.array(np.arange(size, dtype="uint64")),
        }
    )


def _array(values: pd.Series, kind: str) -> pa.Array:
    types = {"number": pa.float64(), "boolean": pa.bool_(), "datetime": pa.timestamp("ms", "UTC")}
    if kind == "datetime":
        values = values.dt.as_unit("ms")
    return pa.Array.from_pandas(values, type=types.get(kind, pa.string()))


def _count(
    contract: Contract, stream: str, version: str, column: str, frame: pd.DataFrame, hashes: np.ndarray, rows: TypedRows
) -> dict[str, Any]:
    figures = _column_counts(contract, column, frame[column], rows) if column else _event_counts(hashes, rows)
    return {
        "model": contract.model,
        "topic": getattr(contract.topics, stream),
        "stream": stream,
        "window_start": from_ms(0),
        "window_seconds": int(WHOLE.total_seconds()),
        "model_version": version,
        "column": column,
        "source_id": _SOURCE,
        "p": 0,
        "lo": 0,
        "contract_id": contract.id,
        "seg_version": 1,
        "n": len(frame),
        "n_late": 0,
        "writer": _SOURCE,
        **figures,
    }


def _event_counts(hashes: np.ndarray, rows: TypedRows) -> dict[str, Any]:
    nothing = dict.fromkeys(("n_missing", "n_type", "n_nonfinite", "n_number", "total", "total_sq"), 0)
    unknown = dict.fromkeys(("n_range", "n_unseen", "low", "high"))
    return {"n_duplicate": rows.n_duplicate, "id_sum": int(hashes.sum(dtype="uint64")), **nothing, **unknown}


def _column_counts(contract: Contract, name: str, values: pd.Series, rows: TypedRows) -> dict[str, Any]:
    column = contract.columns[name]
    present = values.dropna()
    numbers = present.astype("float64") if column.type == "number" else pd.Series(dtype="float64")
    low = -np.inf if column.range is None or column.range.low is None else column.range.low
    high = np.inf if column.range is None or column.range.high is None else column.range.high
    outside = int((~numbers.between(low, high)).sum())
    return {
        "n_duplicate": 0,
        "id_sum": 0,
        "n_missing": int(values.isna().sum()),
        "n_type": rows.wrong.get(name, 0),
        "n_nonfinite": rows.nonfinite.get(name, 0),
        "n_range": None if column.range is None else outside,
        "n_unseen": None if column.values is None else int((~present.isin(column.values)).sum()),
        "n_number": len(numbers),
        "total": float(numbers.sum()),
        "total_sq": float((numbers**2).sum()),
        "low": float(numbers.min()) if len(numbers) else None,
        "high": float(numbers.max()) if len(numbers) else None,
    }


def _complete(store: Store, contract: Contract, stream: str, n: int) -> None:
    place = {"topic": getattr(contract.topics, stream), "source_id": _SOURCE}
    counts = {"n_records": n, "n_ok": n, "n_duplicate": 0, "n_dead": 0, "n_marker": 0, "n_control": 0}
    model = {"model": contract.model}
    store.insert_rows("sources", [{**place, **model, "stream": stream, "segment_size": max(1, n), "partitions": 1}])
    segment = {"p": 0, "lo": 0, "seg_version": 1, "hi": n, "contract_id": contract.id}
    until = {"watermark": _COMPLETE, "complete_to": _COMPLETE}
    writer = {"producers": "", "writer": _SOURCE, "algorithm_version": "1"}
    store.insert_rows("segments", [{**place, **model, **segment, **counts, **until, **writer}])
    store.insert_rows("watermarks", [{**place, "p": 0, **until, "basis": "end", "hi": n}])
