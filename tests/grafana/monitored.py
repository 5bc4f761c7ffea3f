"""A store as a monitored model leaves it: rows inserted directly, figures chosen by hand.

Ten days of hourly windows with drift and quality per day. From day eight on half of ``fare_amount`` is
missing and ``trip_distance`` has drifted. The last two days wait for labels. The names of a category column,
a model version and a dead letter's reason are hostile to a page that trusts them.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from driftline.store import Address, Store
from driftline.store.migrations import migrate

MODEL = "taxi"
CHAMPION = "gbm-1"
CHALLENGER = "linear's"
HOSTILE_COLUMN = "<img src=x onerror=alert(1)>"
HOSTILE_REASON = "<script>alert('reason')</script>"
DAYS, INCIDENT_DAY, LABELLED_DAYS = 10, 7, 8
COLUMNS = ("trip_distance", "fare_amount", HOSTILE_COLUMN)

# Figures that tests look for on the page; fill() makes them so.
ROWS_PER_HOUR = 120
FINAL_MAE = 3.25
COVERAGE = (LABELLED_DAYS * 2400 + 2 * 600) / (DAYS * 2400)
DEAD_LETTERS = 7

_CONTRACT = "c0ffee"
_SOURCE = "s1"


def newest_midnight() -> datetime:
    """Return the last UTC midnight: where "aligned to now" data ends in these tests."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@contextmanager
def opened_store(folder: Path, *, filled: bool) -> Iterator[Store]:
    """Yield a migrated store in ``folder``. A process has one embedded store at a time: close before the next."""
    store = Store(Address(path=str(folder)))
    try:
        migrate(store)
        if filled:
            fill(store, newest_midnight())
        yield store
    finally:
        store.close()


def fill(store: Store, end: datetime) -> None:
    """Insert ten days of one model's rows that end at ``end``, a UTC midnight."""
    start = end - timedelta(days=DAYS)
    store.insert_rows("contracts", [{"model": MODEL, "contract_id": _CONTRACT, "contract_seq": 1, "body": "{}"}])
    store.insert_rows("check_rules", [_rule("fare_amount", 0.02), _rule("trip_distance", 0.02)])
    store.insert_rows("sources", [_source(topic, stream) for topic, stream in _TOPICS.items()])
    store.insert_rows("segments", [_segment(topic, end) for topic in _TOPICS])
    store.insert_rows("watermarks", [_watermark(topic, end) for topic in _TOPICS])
    store.insert_rows("segment_counts", list(_counts(start)))
    store.insert_rows("dead_letters", [_dead_letter(offset, end) for offset in range(DEAD_LETTERS)])
    runs = list(_runs(start))
    store.insert_rows("job_metrics", [metric for run in runs for metric in _metrics(run, start)])
    store.insert_rows("verdicts", [verdict for run in runs for verdict in _verdicts(run, start)])
    store.insert_rows("job_runs", runs)


_TOPICS = {"trips": "inputs", "predictions": "predictions", "labels": "labels"}


def _rule(column: str, upper: float) -> dict[str, Any]:
    return {
        "model": MODEL, "contract_id": _CONTRACT, "check": "missing_share", "metric": "missing_share", "column": column,
        "slice": "all", "source": "stream", "granularity": "1h", "lower": None, "upper": upper, "is_share": True,
        "min_rows": 30, "severity": "warning",
    }  # fmt: skip


def _source(topic: str, stream: str) -> dict[str, Any]:
    return {
        "topic": topic,
        "source_id": _SOURCE,
        "stream": stream,
        "model": MODEL,
        "segment_size": 1000,
        "partitions": 1,
    }


def _segment(topic: str, end: datetime) -> dict[str, Any]:
    return {
        "model": MODEL, "topic": topic, "source_id": _SOURCE, "p": 0, "lo": 0, "seg_version": 1, "hi": 1000,
        "contract_id": _CONTRACT, "n_records": 1000, "n_ok": 1000, "n_duplicate": 0, "n_dead": 0, "n_marker": 0,
        "n_control": 0, "watermark": end, "complete_to": end, "producers": "{}", "writer": "test",
        "algorithm_version": "1",
    }  # fmt: skip


def _watermark(topic: str, end: datetime) -> dict[str, Any]:
    return {
        "topic": topic, "source_id": _SOURCE, "p": 0, "watermark": end, "complete_to": end - timedelta(hours=1),
        "basis": "marker", "hi": 1000,
    }  # fmt: skip


def _counts(start: datetime) -> Iterator[dict[str, Any]]:
    for hour in range(DAYS * 24):
        moment = start + timedelta(hours=hour)
        rows = ROWS_PER_HOUR + round(60 * math.sin(hour * math.pi / 12))
        is_incident = hour >= INCIDENT_DAY * 24
        yield _count("trips", moment, rows, late=hour % 5, duplicates=hour % 3)
        for column in COLUMNS:
            missing = rows // 2 if is_incident and column == "fare_amount" else rows // 100
            yield _count("trips", moment, rows, column=column, missing=missing)
        for version in (CHAMPION, CHALLENGER):
            yield _count("predictions", moment, rows, version=version)
        if hour < LABELLED_DAYS * 24:
            yield _count("labels", moment, rows)


def _count(
    topic: str,
    moment: datetime,
    rows: int,
    *,
    column: str = "",
    version: str = "",
    missing: int = 0,
    late: int = 0,
    duplicates: int = 0,
) -> dict[str, Any]:
    return {
        "model": MODEL, "topic": topic, "stream": _TOPICS[topic], "window_start": moment, "window_seconds": 3600,
        "model_version": version, "column": column, "source_id": _SOURCE, "p": 0, "lo": 0, "contract_id": _CONTRACT,
        "seg_version": 1, "n": rows, "n_duplicate": duplicates, "n_late": late, "id_sum": 0, "n_missing": missing,
        "n_type": 0, "n_nonfinite": 0, "n_range": 0, "n_unseen": None, "n_number": rows - missing, "total": float(rows),
        "total_sq": float(2 * rows), "low": 0.0, "high": 2.0, "writer": "test",
    }  # fmt: skip


def _dead_letter(offset: int, end: datetime) -> dict[str, Any]:
    return {
        "model": MODEL, "topic": "trips", "source_id": _SOURCE, "p": 0, "o": offset, "rev": 0, "status": "new",
        "reason": HOSTILE_REASON, "error": "", "raw": "", "raw_sha256": "", "raw_bytes": 0, "append_time": end,
    }  # fmt: skip


def _runs(start: datetime) -> Iterator[dict[str, Any]]:
    for day in range(DAYS):
        midnight = start + timedelta(days=day)
        yield _run("drift", midnight, "", timedelta(days=1), day)
        for version in (CHAMPION, CHALLENGER):
            yield _run("quality", midnight, version, timedelta(days=1), day)
    for hour in range(DAYS * 24):
        yield _run("profile", start + timedelta(hours=hour), "", timedelta(hours=1), hour // 24)


def _run(job: str, window_start: datetime, version: str, size: timedelta, day: int) -> dict[str, Any]:
    is_final = job != "quality" or day < LABELLED_DAYS
    labels = 2400 if day < LABELLED_DAYS else 600
    return {
        "job": job, "model": MODEL, "model_version": version, "granularity": "1d" if size.days else "1h",
        "window_start": window_start, "window_end": window_start + size, "slice": "all", "run_id": uuid.uuid4(),
        "as_of": window_start + size, "fingerprint": 1, "revision": 1, "status": "ok", "n_rows": 2400,
        "n_predictions": 2400, "n_labels": labels, "n_scored": labels,
        "coverage": labels / 2400 if job == "quality" else None, "is_final": is_final, "contract_id": _CONTRACT,
        "reference_id": "r1", "algorithm_version": "1", "seconds": 0.25,
    }  # fmt: skip


def _metrics(run: dict[str, Any], start: datetime) -> Iterator[dict[str, Any]]:
    day = (run["window_start"] - start).days
    if run["job"] == "drift":
        for column in COLUMNS:
            is_drifted = column == "trip_distance" and day >= INCIDENT_DAY
            score = 0.31 if is_drifted else 0.02 + 0.01 * (day % 3)
            yield _metric(run, "drift_score", score, column=column, method="wasserstein", threshold=0.1)
    elif run["job"] == "quality":
        yield _metric(run, "mae", FINAL_MAE if run["model_version"] == CHAMPION else 4.5)
    else:
        for level, value in {"05": 0.5, "50": 2.0 + 0.1 * day, "95": 9.0}.items():
            yield _metric(run, f"quantile_{level}", value, column="trip_distance")


def _metric(
    run: dict[str, Any],
    metric: str,
    value: float,
    *,
    column: str = "",
    method: str = "",
    threshold: float | None = None,
) -> dict[str, Any]:
    key = ("job", "model", "model_version", "granularity", "window_start", "slice", "run_id")
    return {name: run[name] for name in key} | {
        "column": column, "metric": metric, "value": value, "engine": "driftline", "method": method,
        "threshold": threshold, "lower": None, "upper": None, "n": 2400,
    }  # fmt: skip


def _verdicts(run: dict[str, Any], start: datetime) -> Iterator[dict[str, Any]]:
    is_incident = (run["window_start"] - start).days >= INCIDENT_DAY
    if run["job"] == "drift":
        yield _verdict(
            run, "drift_score", "trip_distance", 0.31 if is_incident else 0.02, 0.1, "warn" if is_incident else "pass"
        )
    elif run["job"] == "profile":
        yield _verdict(
            run, "missing_share", "fare_amount", 0.5 if is_incident else 0.01, 0.02, "fail" if is_incident else "pass"
        )
    elif run["model_version"] == CHAMPION:
        yield _verdict(run, "mae", "", FINAL_MAE, 4.0, "pass" if run["is_final"] else "insufficient")


def _verdict(
    run: dict[str, Any], metric: str, column: str, value: float, threshold: float, status: str
) -> dict[str, Any]:
    key = ("job", "model", "model_version", "granularity", "window_start", "slice", "run_id")
    return {name: run[name] for name in key} | {
        "check": metric, "column": column, "metric": metric, "severity": "warning", "status": status, "value": value,
        "threshold": threshold, "n": 2400, "reason": "half of it is gone" if status == "fail" else "",
    }  # fmt: skip
