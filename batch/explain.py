"""Why a window is due or not, and what has been judged of it: for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from batch.causes import Trouble, troubles
from batch.jobs import Survey
from batch.ledger.ledger import Candidate
from driftline.store import Store

State = Literal["waiting", "due", "failed", "judged"]


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run of a window, newest first."""

    as_of: datetime
    revision: int
    status: str
    coverage: float | None
    n_predictions: int
    n_labels: int
    n_scored: int
    is_final: bool
    contract_id: str
    reference_id: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where one window of one job and version stands; ``changed`` maps a part of the fingerprint to (before, now)."""

    job: str
    model_version: str
    granularity: str
    window_start: datetime
    state: State
    reason: str
    changed: Mapping[str, tuple[Any, Any]]
    runs: tuple[RunLine, ...]
    troubles: tuple[Trouble, ...] = ()


def explain(store: Store, found: Survey, candidate: Candidate) -> Explanation:
    """Return why ``candidate`` is due, waiting or judged."""
    key, model = candidate.key, found.setting.contract.model
    rows = store.query(
        _RUNS,
        {
            "job": key.job,
            "model": model,
            "version": key.model_version,
            "granularity": key.granularity,
            "start": key.start_ms,
        },
    )
    judged = [row for row in rows if row["status"] != "error"]
    before = msgspec.json.decode(judged[0]["parts"]) if judged else {}
    changed = dict(_differences(before, msgspec.json.decode(msgspec.json.encode(candidate.parts)))) if judged else {}
    state, reason = _state(candidate, changed, _last_error(store, rows))
    runs = tuple(RunLine(**{name: row[name] for name in RunLine.__dataclass_fields__}) for row in rows)
    place = (key.job, key.model_version, key.granularity, key.window.start)
    failed = troubles(store, found.setting.contract, key) if runs else ()
    return Explanation(*place, state, reason, changed, runs, failed)


def _state(candidate: Candidate, changed: Mapping[str, object], error: str) -> tuple[State, str]:
    if candidate.waits_for:
        return "waiting", f"waits for {candidate.waits_for}"
    if candidate.is_given_up:
        return "failed", f"failed {_times(candidate.attempts)} on these inputs ({error}); run `driftline jobs retry`"
    if candidate.is_due and candidate.attempts:
        return "due", f"failed {_times(candidate.attempts)} on these inputs ({error}); it is tried again"
    if candidate.last is None:
        return "due", "never judged"
    if candidate.is_due:
        return "due", f"changed since its last run: {', '.join(sorted(changed))}"
    return "judged", "its last run saw the same inputs"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _last_error(store: Store, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what the newest run that failed said of it."""
    failed = next((row["run_id"] for row in rows if row["status"] == "error"), None)
    error = None if failed is None else store.scalar(_ERROR, {"run_id": str(failed)})
    return str(error or "see job_errors")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            yield name, (before.get(name), now.get(name))


_RUNS = """
    SELECT run_id, as_of, revision, toString(status) AS status, coverage, n_predictions, n_labels, n_scored, is_final,
        contract_id, reference_id, parts
    FROM job_runs FINAL
    WHERE job = {job:String} AND model = {model:String} AND model_version = {version:String}
        AND granularity = {granularity:String} AND slice = 'all'
        AND toUnixTimestamp64Milli(window_start) = {start:Int64}
    ORDER BY as_of DESC
"""
_ERROR = "SELECT error FROM job_errors WHERE run_id = {run_id:UUID} ORDER BY column, at DESC LIMIT 1"
