"""Why a window's checks fail: where, since when, what has changed since then, what moved with the error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batch.annotations import changed_keys
from batch.ledger.ledger import Key
from driftline.checks import CORRECTION_METRICS, ESTIMATE_METRICS, QUALITY_METRICS
from driftline.contract.model import Contract
from driftline.store import Store

_MOST_CAUSES = 3


@dataclass(frozen=True, slots=True)
class Cause:
    """A column whose values moved together with the error: what they add to the expected one, with its interval."""

    column: str
    contribution: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """One failed check of one window; ``changed`` says what differs from the last window that passed."""

    check: str
    column: str
    slice: str
    status: str
    value: float | None
    threshold: float | None
    reason: str
    last_passed: datetime | None
    changed: tuple[str, ...]
    causes: tuple[Cause, ...]

    def lines(self) -> Iterator[str]:
        """Yield what a person reads, most important first."""
        where = " ".join(part for part in (self.column, "" if self.slice == "all" else f"[{self.slice}]") if part)
        yield f"{self.status} {self.check}{' ' + where if where else ''}: {self.reason}"
        if self.last_passed is not None:
            changed = "; ".join(self.changed) or "neither contract, reference nor version"
            yield f"    last passed {self.last_passed:%Y-%m-%dT%H:%MZ}; changed since then: {changed}"
        if self.causes:
            ranked = ", ".join(f"{cause.column} {cause.contribution:+.3g}" for cause in self.causes)
            yield f"    moved together with the error: {ranked}"


def troubles(store: Store, contract: Contract, key: Key) -> tuple[Trouble, ...]:
    """Return the failed checks of the window's latest run."""
    place = {
        "model": contract.model,
        "job": key.job,
        "version": key.model_version,
        "granularity": key.granularity,
        "start": key.start_ms,
    }
    failed = store.query(_FAILED, place)
    if not failed:
        return ()
    causes = tuple(_causes(store, place))
    passed = {_identity(row): row for row in store.query(_PASSED, place)}
    return tuple(_trouble(store, contract, row, passed.get(_identity(row)), causes) for row in failed)


def _identity(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["check"], row["column"], row["slice"]


def _trouble(
    store: Store,
    contract: Contract,
    row: Mapping[str, Any],
    passed: Mapping[str, Any] | None,
    causes: tuple[Cause, ...],
) -> Trouble:
    of_error = row["metric"] in QUALITY_METRICS | ESTIMATE_METRICS | CORRECTION_METRICS
    return Trouble(
        check=row["check"],
        column=row["column"],
        slice=row["slice"],
        status=row["status"],
        value=row["value"],
        threshold=row["threshold"],
        reason=row["reason"],
        last_passed=passed["window_start"] if passed else None,
        changed=tuple(_changes(store, contract, passed, row)) if passed else (),
        causes=causes if of_error else (),
    )


def _changes(store: Store, contract: Contract, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    # The past of every day is another one; only a set changes by somebody's hand.
    if contract.reference.kind == "fixed" and before["reference_id"] != now["reference_id"]:
        yield f"the reference from {before['reference_id'] or 'none'} to {now['reference_id'] or 'none'}"
    if before["contract_id"] != now["contract_id"]:
        rows = store.query(
            "SELECT contract_id, body FROM contracts FINAL "
            "WHERE model = {model:String} AND has({ids:Array(String)}, contract_id)",
            {"model": contract.model, "ids": [before["contract_id"], now["contract_id"]]},
        )
        bodies = {row["contract_id"]: row["body"] for row in rows}
        keys = changed_keys(bodies[before["contract_id"]], bodies[now["contract_id"]]) if len(bodies) == 2 else []
        yield f"the contract in {', '.join(keys) or 'what is not known any more'}"
    yield from _deploys(store, contract.model, before["window_start"], now["window_start"])


def _deploys(store: Store, model: str, after: datetime, until: datetime) -> Iterator[str]:
    rows = store.query(
        "SELECT at, title, toString(kind) AS kind FROM annotations FINAL WHERE model = {model:String} "
        "AND kind IN ('deploy', 'note') AND at > {after:DateTime64(3, 'UTC')} AND at <= {until:DateTime64(3, 'UTC')} "
        "ORDER BY at",
        {"model": model, "after": after, "until": until},
    )
    for row in rows:
        yield f"{row['title']} at {row['at']:%Y-%m-%dT%H:%MZ}"


def _causes(store: Store, place: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield the columns that add most to the expected error, of those that do so by three standard errors.

    Two would find one by chance in every second window of twenty columns.
    """
    for row in store.query(_CAUSES, {**place, "most": _MOST_CAUSES}):
        yield Cause(row["column"], row["value"], row["lower"], row["upper"])


_AT = "model_version = {version:String} AND granularity = {granularity:String}"
_RUN = f"""
    SELECT v.check AS check, v.column AS column, v.slice AS slice, v.metric AS metric, toString(v.status) AS status,
        v.value AS value, v.threshold AS threshold, v.reason AS reason, v.window_start AS window_start,
        r.reference_id AS reference_id, r.contract_id AS contract_id
    FROM (SELECT * FROM verdicts FINAL
          WHERE model = {{model:String}} AND job = {{job:String}} AND {_AT} AND WHERE_V) AS v
    INNER JOIN (SELECT * FROM latest_runs WHERE model = {{model:String}} AND job = {{job:String}} AND {_AT}) AS r
        ON v.window_start = r.window_start AND v.run_id = r.run_id
"""  # noqa: S608  # all parts are constants of this module
_FAILED = (
    _RUN.replace(
        "WHERE_V", "toUnixTimestamp64Milli(window_start) = {start:Int64} AND status IN ('fail', 'warn', 'error')"
    )
    + " ORDER BY v.status = 'fail' DESC, check, column, slice"
)
_PASSED = (
    _RUN.replace("WHERE_V", "toUnixTimestamp64Milli(window_start) < {start:Int64} AND status = 'pass'")
    + " ORDER BY v.window_start DESC LIMIT 1 BY check, column, slice"
)
_CAUSES = f"""
    SELECT column, value, ifNull(lower, value) AS lower, ifNull(upper, value) AS upper FROM metrics
    WHERE model = {{model:String}} AND {_AT} AND source = 'batch' AND metric = 'error_contribution' AND slice = 'all'
        AND toUnixTimestamp64Milli(window_start) = {{start:Int64}} AND value > 0
        AND value > 3 * (upper - lower) / (2 * 1.96)
    ORDER BY value DESC LIMIT {{most:UInt8}}
"""  # noqa: S608
