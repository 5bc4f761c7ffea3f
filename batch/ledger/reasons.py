"""What a failed verdict says beside its figure: since when it fails, and which rows are to blame.

Asked for when verdicts are stored, for failed ones alone, so a healthy day costs nothing. A run of failures goes
back over windows that could not be judged (``insufficient``) and ends at one that passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from batch.results import Outcome
from driftline.checks import DRIFT_METRICS
from driftline.contract.model import Contract
from driftline.store import Store
from driftline.windows import Window, parse_granularity

Row = dict[str, Any]
Vocabularies = Callable[[Window], Mapping[str, Sequence[str]]]

FAILED = frozenset({"fail", "warn"})
LOOKED_BACK = timedelta(days=92)
SAMPLE = 3
# A commit may hold a hundred failing windows; samples are for those that people open first, the newest.
_MOST_SAMPLED = 30
_LONGEST_VALUE = 100
_SERIES = ("job", "check", "column", "slice", "model_version", "granularity")


def with_reasons(
    store: Store, contract: Contract, rows: Sequence[Row], outcomes: Mapping[Any, Outcome], known: Vocabularies
) -> list[Row]:
    """Return verdict rows whose reason also says since when and which rows; ``outcomes`` are the runs' by id."""
    failing = [row for row in rows if row["status"] in FAILED]
    if not failing:
        return list(rows)
    since = _beginnings(store, contract, rows, failing)
    newest = sorted(failing, key=lambda row: row["window_start"], reverse=True)[:_MOST_SAMPLED]
    sampled = {id(row): _evidence(store, contract, row, outcomes[row["run_id"]], known) for row in newest}
    return [
        {**row, "reason": "; ".join(filter(None, [row["reason"], _since(row, since[id(row)]), sampled.get(id(row))]))}
        if id(row) in since
        else row
        for row in rows
    ]


def _evidence(store: Store, contract: Contract, verdict: Row, outcome: Outcome, known: Vocabularies) -> str:
    """Return what in the verdict's window is to blame: rows, or where the values went; ``""`` where nobody knows."""
    if verdict["metric"] in DRIFT_METRICS:
        return _moved(verdict, outcome)
    if not verdict["column"]:
        worst = [row.id for row in outcome.worst if row.slice == verdict["slice"]][:SAMPLE]
        return f"worst rows {', '.join(worst)}" if worst else ""
    condition = _CONDITIONS.get(verdict["metric"])
    if condition is None or verdict["column"] not in contract.columns or verdict["slice"] != "all":
        return ""
    return _sample(store, contract, verdict, condition, known)


def _moved(verdict: Row, outcome: Outcome) -> str:
    """Return the signed shift of a drifted column: of its mean, or of the share of the value that moved most."""
    for metric in outcome.metrics:
        if (metric.column, metric.slice) == (verdict["column"], verdict["slice"]):
            if metric.metric == "mean_shift":
                return f"mean {metric.value:+.3g}"
            if metric.metric == "value_shift":
                return f"share of {metric.method} {metric.value:+.1%}"
    return ""


def _sample(store: Store, contract: Contract, verdict: Row, condition: str, known: Vocabularies) -> str:
    """Return a few ids that ``condition`` holds for, with their values, the same ones every time."""
    start: datetime = verdict["window_start"]
    window = Window(start, start + parse_granularity(verdict["granularity"]))
    bounds = contract.columns[verdict["column"]].range
    parameters = {
        "inputs": contract.raw_inputs_table,
        "column": verdict["column"],
        "start": window.start,
        "end": window.end,
        "low": -float("inf") if bounds is None or bounds.low is None else bounds.low,
        "high": float("inf") if bounds is None or bounds.high is None else bounds.high,
        "known": list(known(window).get(verdict["column"], ())) if verdict["metric"] == "unseen_share" else [],
        "rows": SAMPLE,
        "longest": _LONGEST_VALUE,
    }
    found = store.query(_SAMPLE.replace("CONDITION", condition), parameters)
    shown = [f"{row['id']} ({row['value']})" if row["value"] else row["id"] for row in found]
    return f"rows {', '.join(shown)}" if shown else ""


def _since(row: Row, since: datetime) -> str:
    return "" if since == row["window_start"] else f"since {since:%Y-%m-%dT%H:%MZ}"


def _beginnings(store: Store, contract: Contract, rows: Sequence[Row], failing: Sequence[Row]) -> dict[int, datetime]:
    """Return the first window of each failing row's run of failures, by the row's identity."""
    statuses: dict[tuple[str, ...], dict[datetime, str]] = {}
    for row in (*_history(store, contract, failing), *rows):
        statuses.setdefault(_series(row), {})[row["window_start"]] = row["status"]
    found = {}
    for row in failing:
        first = row["window_start"]
        for start in sorted((at for at in statuses[_series(row)] if at < first), reverse=True):
            status = statuses[_series(row)][start]
            if status == "pass":
                break
            first = start if status in FAILED else first
        found[id(row)] = first
    return found


def _series(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in _SERIES)


def _history(store: Store, contract: Contract, failing: Sequence[Row]) -> list[Row]:
    starts = [row["window_start"] for row in failing]
    parameters = {
        "model": contract.model,
        "checks": sorted({row["check"] for row in failing}),
        "jobs": sorted({row["job"] for row in failing}),
        "low": min(starts) - LOOKED_BACK,
        "high": max(starts),
    }
    return store.query(_HISTORY, parameters)


_CONDITIONS = {
    "missing_share": "{column:Identifier} IS NULL",
    "type_violation_share": "{column:Identifier} IS NULL",
    "nonfinite_share": "{column:Identifier} IS NULL",
    "out_of_range_share": "{column:Identifier} < {low:Float64} OR {column:Identifier} > {high:Float64}",
    "unseen_share": "{column:Identifier} IS NOT NULL AND NOT has({known:Array(String)}, toString({column:Identifier}))",
}
_SAMPLE = """
    SELECT id, substringUTF8(ifNull(toString({column:Identifier}), ''), 1, {longest:UInt32}) AS value
    FROM {inputs:Identifier} FINAL
    WHERE event_time >= {start:DateTime64(3, 'UTC')} AND event_time < {end:DateTime64(3, 'UTC')}
        AND ifNull(CONDITION, false)
    ORDER BY cityHash64(id), id LIMIT {rows:UInt32}
"""
_HISTORY = """
    SELECT v.job AS job, v.check AS check, v.column AS column, v.slice AS slice, v.model_version AS model_version,
        v.granularity AS granularity, v.window_start AS window_start, toString(v.status) AS status
    FROM (
        SELECT * FROM verdicts FINAL
        WHERE model = {model:String} AND has({jobs:Array(String)}, job) AND has({checks:Array(String)}, check)
            AND window_start >= {low:DateTime64(3, 'UTC')} AND window_start <= {high:DateTime64(3, 'UTC')}) AS v
    INNER JOIN (SELECT job, model_version, granularity, window_start, run_id FROM latest_runs
                WHERE model = {model:String}) AS r
        ON v.job = r.job AND v.model_version = r.model_version AND v.granularity = r.granularity
        AND v.window_start = r.window_start AND v.run_id = r.run_id
"""
