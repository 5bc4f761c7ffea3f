"""A store filled as the consumer fills it, from pandas frames: raw rows, segments, counts and watermarks.

One call of ``add`` is one segment per stream; times are aware UTC. Counts come from pandas, not from the code
under test.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from driftline.contract import Contract
from driftline.store import Store
from driftline.store.inputs_table import ensure_inputs_table

FAR = datetime(2100, 1, 1, tzinfo=UTC)


def id_hash(ids: pd.Series) -> np.ndarray:
    return np.array([zlib.crc32(str(one).encode()) * 2654435761 % 2**64 for one in ids], dtype="uint64")


@dataclass
class PopulatedStore:
    """Adds events of one model to ``store``; offsets go up with every call."""

    store: Store
    contract: Contract
    _offset: itertools.count = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        ensure_inputs_table(self.store, self.contract)
        topics = self.contract.topics
        for stream in ("inputs", "predictions", "labels"):
            topic = getattr(topics, stream)
            self.store.insert_rows(
                "sources",
                [
                    {
                        "topic": topic,
                        "source_id": "s",
                        "stream": stream,
                        "model": self.contract.model,
                        "segment_size": 5000,
                        "partitions": 1,
                    }
                ],
            )

    def add_inputs(self, frame: pd.DataFrame) -> None:
        """``id``, ``event_time`` and any of the contract's columns."""
        names = [name for name in self.contract.columns if name in frame]
        self._raw(self.contract.raw_inputs_table, frame, names, with_model=False)
        self._count("inputs", self.contract.topics.inputs, frame, "", names)

    def add_predictions(self, frame: pd.DataFrame, version: str) -> None:
        """``id``, ``event_time``, ``prediction`` (NaN for none) and perhaps ``status``."""
        rows = frame[["id", "event_time", "prediction"]].assign(model_version=version)
        rows["status"] = frame["status"] if "status" in frame else "ok"
        self._raw("predictions", rows, ["model_version", "prediction", "status"])
        self._count("predictions", self.contract.topics.predictions, rows, version, [])

    def add_labels(self, frame: pd.DataFrame) -> None:
        """``id``, ``label_time`` and ``label``."""
        self._raw("labels", frame, ["label_time", "label"], time=None)

    def complete(self, *streams: str, to: datetime = FAR) -> None:
        topics = self.contract.topics
        for stream in streams or ("inputs", "predictions", "labels"):
            self.store.insert_rows(
                "watermarks",
                [
                    {
                        "topic": getattr(topics, stream),
                        "source_id": "s",
                        "p": 0,
                        "watermark": to,
                        "complete_to": to,
                        "basis": "marker",
                        "hi": 1,
                    }
                ],
            )

    def _raw(
        self,
        table: str,
        frame: pd.DataFrame,
        names: list[str],
        time: str | None = "event_time",
        with_model: bool = True,
    ) -> None:
        columns: dict[str, object] = {"id": frame["id"].astype(str)}
        if with_model:
            columns["model"] = [self.contract.model] * len(frame)
        for name in [time, *names] if time else names:
            columns[name] = frame[name]
        first = next(self._offset) * 1_000_000
        columns |= {
            "append_time": [datetime(2026, 1, 1, tzinfo=UTC)] * len(frame),
            "id_hash": id_hash(frame["id"]),
            "source_id": ["s"] * len(frame),
            "p": np.zeros(len(frame), dtype="uint16"),
            "o": np.arange(first, first + len(frame), dtype="uint64"),
        }
        data = pd.DataFrame(columns)
        for name in data.select_dtypes("datetimetz"):
            data[name] = data[name].dt.as_unit("ms")
        self.store.insert(table, pa.Table.from_pandas(data, preserve_index=False))

    def _count(self, stream: str, topic: str, frame: pd.DataFrame, version: str, names: list[str]) -> None:
        lo = next(self._offset) * 1_000_000
        size = self.contract.windows.stream
        starts = frame["event_time"].dt.floor(pd.Timedelta(size))
        rows = []
        for start, part in frame.groupby(starts):
            rows += [self._counted(stream, topic, start, size, version, column, part, lo) for column in ["", *names]]
        self.store.insert_rows("segment_counts", rows)
        self.store.insert_rows(
            "segments",
            [
                {
                    "model": self.contract.model,
                    "topic": topic,
                    "source_id": "s",
                    "p": 0,
                    "lo": lo,
                    "seg_version": 1,
                    "hi": lo + len(frame),
                    "contract_id": self.contract.id,
                    "n_records": len(frame),
                    "n_ok": len(frame),
                    "n_duplicate": 0,
                    "n_dead": 0,
                    "n_marker": 0,
                    "n_control": 0,
                    "watermark": FAR,
                    "complete_to": FAR,
                    "producers": "",
                    "writer": "test",
                    "algorithm_version": "1",
                }
            ],
        )

    def _counted(
        self,
        stream: str,
        topic: str,
        start: datetime,
        size: timedelta,
        version: str,
        column: str,
        part: pd.DataFrame,
        lo: int,
    ) -> dict[str, object]:
        values = part[column] if column else None
        missing = int(values.isna().sum()) if values is not None else 0
        number = values is not None and pd.api.types.is_numeric_dtype(values)
        present = values.dropna() if number and values is not None else pd.Series(dtype=float)
        return {
            "model": self.contract.model,
            "topic": topic,
            "stream": stream,
            "window_start": start,
            "window_seconds": int(size.total_seconds()),
            "model_version": version,
            "column": column,
            "source_id": "s",
            "p": 0,
            "lo": lo,
            "contract_id": self.contract.id,
            "seg_version": 1,
            "n": len(part),
            "n_duplicate": 0,
            "n_late": 0,
            "id_sum": int(id_hash(part["id"]).sum(dtype="uint64")),
            "n_missing": missing,
            "n_type": 0,
            "n_nonfinite": 0,
            "n_range": None,
            "n_unseen": None,
            "n_number": len(present),
            "total": float(present.sum()),
            "total_sq": float((present**2).sum()),
            "low": float(present.min()) if len(present) else None,
            "high": float(present.max()) if len(present) else None,
            "writer": "test",
        }
