"""Rows of completed windows out of the store: predictions with their latest labels, and inputs.

One query serves many windows; every result has a column ``start_ms``, the window's start in epoch
milliseconds. Windows of more than ``MOST_ROWS`` rows are sampled by a hash of the id, the same rows every time
and for every version; counts are always exact. Raw tables are read with FINAL, so that a record written twice
counts once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa

from driftline.contract.model import Contract
from driftline.store import Store
from driftline.windows import to_window_ms

MOST_ROWS = 200_000

# A label is the one with the greatest (label_time, offset); its tuple keeps a null that argMax would skip.
_LATEST_LABELS = """
    SELECT id, argMax(tuple(label), (label_time, o)).1 AS label, true AS labelled FROM labels FINAL
    WHERE model = {model:String} AND id IN (
        SELECT id FROM predictions WHERE model = {model:String}
            AND event_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
            AND event_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC'))
    GROUP BY id
"""
_SPAN = """
    event_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
    AND event_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC') AND has({starts:Array(Int64)}, start_ms)
"""
_START = "intDiv(toUnixTimestamp64Milli(event_time), {size:Int64}) * {size:Int64} AS start_ms"
_ANSWERED = "status = 'ok' AND ifNull(isFinite(prediction), false)"
_VALID = "ifNull(isFinite(label) AND label >= {label_low:Float64} AND label <= {label_high:Float64}, false)"


@dataclass(frozen=True, slots=True)
class Span:
    """Windows of one size to read together, by their starts in epoch milliseconds."""

    size: timedelta
    starts: tuple[int, ...]

    def parameters(self, contract: Contract) -> dict[str, Any]:
        """Return the values that every statement over this span binds."""
        size_ms, (label_low, label_high) = to_window_ms(self.size), valid_range(contract)
        return {
            "model": contract.model,
            "size": size_ms,
            "low": min(self.starts),
            "high": max(self.starts) + size_ms,
            "starts": list(self.starts),
            "rows": MOST_ROWS,
            "label_low": label_low,
            "label_high": label_high,
        }


def valid_range(contract: Contract) -> tuple[float, float]:
    """Return the closed range of valid labels; infinite where the contract leaves a side open."""
    valid = contract.label.range
    low = -math.inf if valid is None or valid.low is None else valid.low
    return low, math.inf if valid is None or valid.high is None else valid.high


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Predictions of one version in one window: all, failed, with any label, and with a valid label and an answer."""

    n_predictions: int
    n_failed: int
    n_labels: int
    n_scored: int


def label_counts(store: Store, contract: Contract, span: Span) -> dict[tuple[int, str], LabelCounts]:
    """Return exact counts by (start_ms, model_version)."""
    rows = store.query(_COUNTS, span.parameters(contract))
    return {
        (row["start_ms"], row["model_version"]): LabelCounts(
            row["n_predictions"], row["n_failed"], row["n_labels"], row["n_scored"]
        )
        for row in rows
    }


def scored_frames(store: Store, contract: Contract, span: Span) -> dict[tuple[int, str], pa.Table]:
    """Return ``prediction`` and ``label`` of the rows to score, ordered by id, by (start_ms, model_version)."""
    table = store.arrow(_SCORED, span.parameters(contract))
    return _split(table, ("start_ms", "model_version"), ("prediction", "label"))


def prediction_frames(store: Store, contract: Contract, span: Span) -> dict[tuple[int, str], pa.Table]:
    """Return ``prediction`` of the answered predictions, ordered by id, by (start_ms, model_version)."""
    table = store.arrow(_PREDICTIONS, span.parameters(contract))
    return _split(table, ("start_ms", "model_version"), ("prediction",))


def label_frames(store: Store, contract: Contract, span: Span) -> dict[int, pa.Table]:
    """Return ``label`` of the inputs with a valid label, ordered by id, by start_ms."""
    parameters = {**span.parameters(contract), "inputs": contract.raw_inputs_table}
    split = _split(store.arrow(_INPUT_LABELS, parameters), ("start_ms",), ("label",))
    return {key[0]: rows for key, rows in split.items()}


def input_frames(store: Store, contract: Contract, span: Span, columns: Sequence[str]) -> dict[int, pa.Table]:
    """Return the named features of the inputs, ordered by id, by start_ms."""
    parameters: dict[str, Any] = {**span.parameters(contract), "inputs": contract.raw_inputs_table}
    parameters |= {f"column_{index}": name for index, name in enumerate(columns)}
    chosen = ", ".join(f"{{column_{index}:Identifier}}" for index in range(len(columns)))
    split = _split(store.arrow(_INPUTS.replace("COLUMNS", chosen), parameters), ("start_ms",), columns)
    return {key[0]: rows for key, rows in split.items()}


def to_arrow_bytes(table: pa.Table) -> bytes:
    """Return ``table`` as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_arrow_bytes(stream: bytes) -> pd.DataFrame:
    """Return the rows of an Arrow stream; nulls of numbers are NaN, of strings None."""
    frame: pd.DataFrame = pa.ipc.open_stream(stream).read_all().to_pandas()
    return frame


def _split(table: pa.Table, keys: Sequence[str], columns: Sequence[str]) -> dict[tuple[Any, ...], pa.Table]:
    """Cut ``table``, which is ordered by ``keys``, into one table of ``columns`` per key."""
    found: dict[tuple[Any, ...], pa.Table] = {}
    if not table.num_rows:
        return found
    markers = table.select(list(keys)).to_pandas()
    changed = (markers != markers.shift()).any(axis=1).to_numpy().nonzero()[0].tolist()
    chosen = table.select(list(columns)).combine_chunks()
    for first, end in zip(changed, [*changed[1:], table.num_rows], strict=True):
        key = tuple(markers.iloc[first])
        found[(int(key[0]), *key[1:])] = chosen.slice(first, end - first)
    return found


_JOINED = f"""
    FROM (SELECT {_START}, id, model_version, prediction, status FROM predictions FINAL
          WHERE model = {{model:String}} AND {_SPAN}) AS p
    LEFT JOIN ({_LATEST_LABELS}) AS l ON p.id = l.id
"""  # noqa: S608  # all parts are constants of this module
_COUNTS = f"""
    SELECT start_ms, model_version, count() AS n_predictions, countIf(NOT ({_ANSWERED})) AS n_failed,
        countIf(labelled) AS n_labels, countIf({_ANSWERED} AND {_VALID}) AS n_scored
    {_JOINED} GROUP BY start_ms, model_version
"""
_SCORED = f"""
    SELECT start_ms, model_version, id, prediction, label FROM (
        SELECT start_ms, model_version, p.id AS id, prediction, label {_JOINED}
        WHERE {_ANSWERED} AND {_VALID}
        ORDER BY cityHash64(id), id LIMIT {{rows:UInt32}} BY start_ms, model_version)
    ORDER BY start_ms, model_version, id
"""  # noqa: S608
_PREDICTIONS = f"""
    SELECT start_ms, model_version, id, prediction FROM (
        SELECT {_START}, model_version, id, prediction FROM predictions FINAL
        WHERE model = {{model:String}} AND {_SPAN} AND {_ANSWERED}
        ORDER BY cityHash64(id), id LIMIT {{rows:UInt32}} BY start_ms, model_version)
    ORDER BY start_ms, model_version, id
"""  # noqa: S608
_INPUTS = f"""
    SELECT start_ms, id, COLUMNS FROM (
        SELECT {_START}, id, COLUMNS FROM {{inputs:Identifier}} FINAL WHERE {_SPAN}
        ORDER BY cityHash64(id), id LIMIT {{rows:UInt32}} BY start_ms)
    ORDER BY start_ms, id
"""  # noqa: S608
_INPUT_LABELS = f"""
    SELECT start_ms, id, label FROM (
        SELECT start_ms, i.id AS id, label
        FROM (SELECT {_START}, id FROM {{inputs:Identifier}} FINAL WHERE {_SPAN}) AS i
        INNER JOIN (
            SELECT id, argMax(tuple(label), (label_time, o)).1 AS label FROM labels FINAL
            WHERE model = {{model:String}} GROUP BY id) AS l ON i.id = l.id
        WHERE {_VALID} ORDER BY cityHash64(id), id LIMIT {{rows:UInt32}} BY start_ms)
    ORDER BY start_ms, id
"""  # noqa: S608
