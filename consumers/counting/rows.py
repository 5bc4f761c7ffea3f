"""Events to Arrow rows of the raw tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from consumers.counting.rules import StreamRules
from consumers.decoding.answers import PROBABILITIES
from consumers.decoding.decoder import Decoded, IntArray, Values
from consumers.decoding.values import Kind

MOMENT = pa.timestamp("ms", "UTC")
_ARROW: dict[Kind, pa.DataType] = {
    "number": pa.float64(),
    "category": pa.string(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "datetime": MOMENT,
}


def raw_rows(
    rules: StreamRules,
    source_id: str,
    partition: int,
    events: Decoded,
    chosen: IntArray,
    hashes: npt.NDArray[np.uint64],
    where: tuple[IntArray, IntArray],
) -> pa.Table:
    """Return the ``chosen`` events as rows of their stream's raw table; ``where`` is their offsets and append times."""
    offsets, appended = where
    size = len(chosen)
    rows: dict[str, Any] = {
        "id": _picked(events.ids, pa.string(), chosen),
        "append_time": pa.array(appended, MOMENT),
        "id_hash": pa.array(hashes[chosen], pa.uint64()),
        "source_id": constant(source_id, size),
        "p": pa.array(np.full(size, partition, dtype=np.uint16)),
        "o": pa.array(offsets.astype(np.uint64)),
    }
    rows["label_time" if rules.stream == "labels" else "event_time"] = pa.array(events.times_ms[chosen], MOMENT)
    if rules.stream == "inputs":
        rows |= {name: _column(rules.bounds[name].kind, events.columns[name][chosen]) for name in rules.bounds}
    else:
        rows["model"] = constant(rules.contract.model, size)
        rows |= _outcome(rules, events, chosen)
    if rules.stream == "predictions":
        for name, kind in (("model_version", pa.string()), ("latency_ms", pa.float32()), ("status", pa.string())):
            rows[name] = _picked(events.envelope[name], kind, chosen)
        if PROBABILITIES in events.envelope:
            given = [list(one.items()) if one else [] for one in events.envelope[PROBABILITIES]]
            rows[PROBABILITIES] = _picked(given, pa.map_(pa.string(), pa.float64()), chosen)
    return pa.table(rows)


def constant(value: str, size: int) -> pa.Array:
    """Return a column that holds ``value`` ``size`` times."""
    return pa.repeat(pa.scalar(value, pa.string()), size)


def _picked(values: Sequence[Any], kind: pa.DataType, chosen: IntArray) -> pa.Array:
    column = pa.array(values, kind)
    return column if len(chosen) == len(values) else column.take(pa.array(chosen))


def _outcome(rules: StreamRules, events: Decoded, chosen: IntArray) -> dict[str, pa.Array]:
    name = "prediction" if rules.stream == "predictions" else "label"
    kind = rules.bounds[name].kind
    if kind != "number":
        name = "class" if name == "prediction" else "label_class"
    return {name: _column(kind, events.columns["prediction" if rules.stream == "predictions" else "label"][chosen])}


def _column(kind: Kind, values: Values) -> pa.Array:
    if kind == "number":
        return pa.array(values, pa.float64(), mask=np.isnan(values))
    if kind == "datetime":
        return pa.array(values.tolist(), pa.int64()).cast(MOMENT)
    return pa.array(values, _ARROW[kind], from_pandas=False)
