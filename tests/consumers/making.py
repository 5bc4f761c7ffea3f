"""Contracts, events, batches and partition states for tests of the consumer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np

from consumers.counting.identity import SeenIds
from consumers.counting.rules import StreamRules
from consumers.counting.segments import PartitionState, Start
from consumers.counting.watermarks import Watermark
from driftline.clock import to_ms
from driftline.contract import Contract, parse_contract
from driftline.events import Marker, marker_headers
from driftline.transport import Partition, RecordBatch
from driftline.transport.base import Headers

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = to_ms(datetime(2023, 5, 1, tzinfo=UTC))
APPENDED = to_ms(datetime(2026, 1, 1, tzinfo=UTC))
Record = bytes | Marker | None

COLUMNS = """
  amount: {type: number, range: [0, 100]}
  colour: {type: category, values: [red, green, "7"]}
  paid: {type: boolean}
  note: {type: text}
  since: {type: datetime}
"""


def contract_of(model: str = "shop", extra: str = "", columns: str = COLUMNS) -> Contract:
    return parse_contract(f"model: {model}\ncolumns:{columns}\n{extra}", "test.yaml")


def input_of(name: str, time: object = T0, **features: object) -> bytes:
    return json.dumps({"v": 1, "id": name, "event_time": time, "features": features}).encode()


def prediction_of(
    name: str, time: object = T0, prediction: object = 1.5, version: object = "v1", **more: object
) -> bytes:
    body = {"v": 1, "id": name, "event_time": time, "model_version": version, "prediction": prediction, **more}
    return json.dumps(body).encode()


def label_of(name: str, time: object = T0, label: object = 2.5) -> bytes:
    return json.dumps({"v": 1, "id": name, "label": label, "label_time": time}).encode()


def batch_of(
    records: Sequence[Record],
    first: int = 0,
    append_ms: Sequence[int] | int = APPENDED,
    partition: Partition = Partition("t", 0),  # frozen  # noqa: B008
) -> RecordBatch:
    """Consecutive offsets from ``first``; a ``Marker`` stands for the record that carries it."""
    headers: dict[int, Headers] = {at: marker_headers(r) for at, r in enumerate(records) if isinstance(r, Marker)}
    appended = [append_ms] * len(records) if isinstance(append_ms, int) else list(append_ms)
    return RecordBatch(
        partition,
        list(range(first, first + len(records))),
        appended,
        [b"" if isinstance(record, Marker) else record for record in records],
        first + len(records),
        headers,
    )


def nothing_stored() -> SeenIds:
    return SeenIds([], lambda _hours, _below: {}, 0)


def state_of(rules: StreamRules, segment_size: int = 5_000, start: int = 0) -> PartitionState:
    return PartitionState(Partition("t", 0), rules, Start("s", start, Watermark(), nothing_stored()), segment_size)


def fed(state: PartitionState, records: Sequence[Record], cuts: Iterable[int] = (), first: int = 0) -> PartitionState:
    """Absorb ``records`` in batches that end at ``cuts``."""
    edges = [0, *sorted(set(cuts)), len(records)]
    for begin, end in itertools.pairwise(edges):
        if begin < end:
            state.absorb(batch_of(records[begin:end], first + begin))
    return state


def table_of(state: PartitionState) -> dict[tuple[object, ...], tuple[object, ...]]:
    """All figures of all segments by segment, window, version and column; floats as their exact text."""
    found: dict[tuple[object, ...], tuple[object, ...]] = {}
    for segment in state.segments:
        counts = segment.counts
        for key in counts.dirty:
            row = counts.row(key)
            figures = (counts.events, counts.duplicates, counts.late, counts.id_sum)
            found[(segment.lo, key, "")] = tuple(int(figure[row]) for figure in figures)
            for name, column in counts.columns.items():
                values = [getattr(column, slot)[row] for slot in type(column).__slots__]
                found[(segment.lo, key, name)] = tuple(
                    float(value).hex() if isinstance(value, np.floating) else int(value) for value in values
                )
        found[(segment.lo, "segment", "")] = (
            segment.hi,
            segment.records,
            segment.ok,
            segment.duplicates,
            segment.dead,
            segment.markers,
            segment.watermark,
        )
    return found
