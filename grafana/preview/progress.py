"""How far the data goes and how far the work on it has got: the page's status strip and its time range."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from driftline.clock import to_ms
from driftline.store import Store
from driftline.windows import parse_granularity, window_start_ms

# Real files hold stray rows of other years; a range is what holds all but one row in a thousand at each end.
_EXTENT = """
SELECT count() AS windows, toTimeZone(quantileExactWeighted(0.001)(window_start, n), 'UTC') AS first,
    toTimeZone(quantileExactWeighted(0.999)(window_end, n), 'UTC') AS last,
    sum(n) AS events
FROM window_counts WHERE model = {model:String} AND column = '' AND n > 0
"""
_OUTSIDE = """
SELECT sum(n) FROM window_counts
WHERE model = {model:String} AND column = ''
    AND (window_start < {first:DateTime64(3, 'UTC')} OR window_end > {last:DateTime64(3, 'UTC')})
"""
_WINDOWS = """
SELECT window_start, any(is_complete) AS is_complete FROM stream_metrics
WHERE model = {model:String} AND metric = 'row_count' GROUP BY window_start
"""
_INPUTS = """
SELECT max(watermark) AS watermark, max(complete_to) AS complete_to, count() AS topics
FROM topic_progress WHERE model = {model:String} AND stream = 'inputs'
"""
_RUNS = """
SELECT job, granularity, max(window_end) AS done_to, max(as_of) AS finished
FROM latest_runs WHERE model = {model:String} GROUP BY job, granularity ORDER BY job, granularity
"""


def extent(store: Store, model: str) -> dict[str, Any]:
    """Return the range of event time that holds the model's events (epoch ms), or nulls where there are none."""
    row = store.query(_EXTENT, {"model": model})[0]
    if not row["windows"]:
        return {"first": None, "last": None, "events": 0, "outside": 0}
    outside = store.scalar(_OUTSIDE, {"model": model, "first": row["first"], "last": row["last"]})
    return {"first": to_ms(row["first"]), "last": to_ms(row["last"]), "events": row["events"], "outside": outside}


def status(store: Store, model: str) -> dict[str, Any]:
    """Return the last event, the windows open and complete, and how many complete windows each job has not run on."""
    windows = store.query(_WINDOWS, {"model": model})
    complete = [to_ms(row["window_start"]) for row in windows if row["is_complete"]]
    inputs = store.query(_INPUTS, {"model": model})[0]
    runs = store.query(_RUNS, {"model": model})
    newest = extent(store, model)["last"]
    horizon = min(to_ms(inputs["complete_to"]), newest) if inputs["topics"] and newest is not None else None
    return {
        "last_event": _moment(inputs["watermark"]) if inputs["topics"] else None,
        "complete": len(complete),
        "open": len(windows) - len(complete),
        "jobs": [
            {"job": run["job"], "granularity": run["granularity"], "behind": _behind(run, complete, horizon)}
            for run in runs
        ],
        "last_run": max((to_ms(run["finished"]) for run in runs), default=None),
    }


def _behind(run: dict[str, Any], complete_ms: Sequence[int], horizon_ms: int | None) -> int:
    """Return how many windows with events have become complete after the newest one that the job has run on."""
    size_ms = parse_granularity(run["granularity"]) // timedelta(milliseconds=1)
    ends = {window_start_ms(start, size_ms) + size_ms for start in complete_ms}
    return sum(to_ms(run["done_to"]) < end <= horizon_ms for end in ends) if horizon_ms is not None else 0


def _moment(value: datetime) -> int | None:
    return to_ms(value) or None
