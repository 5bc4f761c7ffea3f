"""The consumer that whylogs' documentation leads to: micro-batches, a DataFrame each, ``why.log``, merge per window.

It promises less than ours: no duplicates, no raw events, no stored profiles, no restart. Its counts must equal ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import pandas as pd

from benchmarks.measuring import Measured, stopwatch
from benchmarks.polling import polls, value_reader
from benchmarks.workloads import Feed
from driftline.clock import from_ms
from driftline.events import STREAMS
from driftline.store import Store
from driftline.store.opening import open_store

BATCH_EVENTS = 1_000
FLUSH_EVENTS = 50_000  # as ours
_HOUR_MS = 3_600_000
_TABLE = """
CREATE TABLE plain_counts (
    stream LowCardinality(String), window_start DateTime64(3, 'UTC'), model_version LowCardinality(String),
    column LowCardinality(String), n UInt64, n_missing UInt64
) ENGINE = ReplacingMergeTree(n) ORDER BY (stream, window_start, model_version, column)
"""
_Key = tuple[str, int, str]  # stream, window start in epoch ms, model version


class PlainConsumer:
    """Profiles per stream, hour and version."""

    def __init__(self, store: Store) -> None:
        import whylogs

        self._log = whylogs.log
        self._store = store
        self._waiting: dict[str, list[dict[str, Any]]] = {stream: [] for stream in STREAMS}
        self._views: dict[_Key, Any] = {}
        self._dirty: set[_Key] = set()
        self._unwritten = 0

    def take(self, stream: str, values: Iterable[bytes | None]) -> None:
        """Profile the events among ``values``; markers have none."""
        waiting = self._waiting[stream]
        for value in values:
            if value:
                waiting.append(json.loads(value))
                if len(waiting) == BATCH_EVENTS:
                    self._profile(stream)
        if self._unwritten >= FLUSH_EVENTS:
            self.write()

    def finish(self) -> None:
        """Profile and write what is left."""
        for stream in STREAMS:
            self._profile(stream)
        self.write()

    def write(self) -> None:
        """Insert the counts of every window that moved."""
        rows = [row for key in sorted(self._dirty) for row in _count_rows(key, self._views[key])]
        self._store.insert_rows("plain_counts", rows)
        self._dirty.clear()
        self._unwritten = 0

    def _profile(self, stream: str) -> None:
        events = self._waiting[stream][:]
        self._waiting[stream].clear()
        if not events:
            return
        frame = _frame(stream, events)
        time_name = "label_time" if stream == "labels" else "event_time"
        hours = [event[time_name] // _HOUR_MS * _HOUR_MS for event in events]
        versions = [event.get("model_version", "") for event in events]
        for window, part in frame.groupby([hours, versions]):
            hour, version = cast("tuple[int, str]", window)
            key, view = (stream, int(hour), version), self._log(part).view()
            known = self._views.get(key)
            self._views[key] = known.merge(view) if known else view
            self._dirty.add(key)
        self._unwritten += len(events)


def plain(feed: Feed) -> Measured:
    """Consume the feed to its end into an embedded store."""
    _prepare_whylogs()
    with TemporaryDirectory() as folder:
        store = open_store(f"chdb://{folder}/store", Path(folder))
        try:
            store.execute(_TABLE)
            return _consume(feed, store)
        finally:
            store.close()


def _consume(feed: Feed, store: Store) -> Measured:
    streams = {getattr(feed.contract.topics, stream): stream for stream in STREAMS}
    value_of, records = value_reader(feed), 0
    consumer = PlainConsumer(store)
    with stopwatch() as watch:
        for topic, polled in polls(feed):
            consumer.take(streams[topic], map(value_of, polled))
            records += len(polled)
        consumer.finish()
    answer = store.query(
        "SELECT stream, toUnixTimestamp64Milli(window_start) AS at, model_version, column, n, n_missing "
        "FROM plain_counts FINAL ORDER BY ALL"
    )
    return watch.measured(records, answer)


def _frame(stream: str, events: list[dict[str, Any]]) -> pd.DataFrame:
    if stream == "inputs":
        return pd.DataFrame([event["features"] for event in events])
    name = stream.removesuffix("s")
    return pd.DataFrame({name: [event[name] for event in events]})


def _count_rows(key: _Key, view: Any) -> list[dict[str, Any]]:
    stream, hour_ms, version = key
    rows = []
    for column, profile in view.get_columns().items():
        counts = profile.get_metric("counts")
        row = {"stream": stream, "window_start": from_ms(hour_ms), "model_version": version, "column": column}
        rows.append({**row, "n": int(counts.n.value), "n_missing": int(counts.null.value)})
    return rows


def _prepare_whylogs() -> None:
    os.environ.setdefault("WHYLOGS_NO_ANALYTICS", "True")
    if not hasattr(np, "unicode_"):
        np.unicode_ = np.str_  # type: ignore[attr-defined]  # whylogs 1.6.4 names a type that NumPy 2 removed
