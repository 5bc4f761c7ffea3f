"""Judging rows offline by a contract's checks, before anything is released: ``check_frame``.

The rows go into a store of their own that lasts one call, as one complete window, and the jobs judge it: the same
statements, scores and verdicts as in production. It happens in a process of its own, because a process has one
embedded store at a time. In a script, call it under ``if __name__ == "__main__":``, as processes are spawned.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from batch.ages import AgeJob
from batch.gate.frames import TypedRows, typed_rows
from batch.gate.golden import behaviour_lines, golden_lines
from batch.gate.store import WHOLE, fill, offline
from batch.jobs import JOBS, run_due
from batch.ledger.ledger import Key
from batch.references.building import build_reference
from batch.workers.pool import Workers
from driftline.checks import Rule, Status, rules_of
from driftline.clock import SystemClock
from driftline.contract import Contract
from driftline.contract.values import Severity
from driftline.errors import InputDataError, StoreError
from driftline.store import Address, Store
from driftline.store.inputs_table import ensure_inputs_table
from driftline.store.migrations import migrate

FailOn = Literal["critical", "warning", "any"]
StoredReference = dict[str, Any]
"""A row of ``reference_sets``."""

_REACHES: dict[FailOn, tuple[Severity, ...]] = {
    "critical": ("critical",),
    "warning": ("critical", "warning"),
    "any": ("critical", "warning", "info"),
}
_RED = ("fail", "warn", "error")


@dataclass(frozen=True, slots=True)
class CheckLine:
    """What one check says of the rows; ``value`` rests on ``n`` rows."""

    check: str
    metric: str
    column: str
    model_version: str
    slice: str
    severity: Severity
    status: Status
    value: float | None
    threshold: float | None
    n: int
    reason: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What all checks say. ``insufficient`` is never a pass: a result in which nothing was judged has not passed."""

    model: str
    contract_id: str
    reference_id: str
    n_rows: int
    lines: tuple[CheckLine, ...]

    def failed(self, fail_on: FailOn = "critical") -> tuple[CheckLine, ...]:
        """Return the checks that failed, or could not be computed, and are at least as severe as ``fail_on``."""
        return tuple(one for one in self.lines if one.status in _RED and one.severity in _REACHES[fail_on])

    def passed(self, fail_on: FailOn = "critical") -> bool:
        """Return whether nothing of that severity failed and at least one check was judged."""
        return not self.failed(fail_on) and any(one.status in ("pass", "warn", "fail") for one in self.lines)

    def counts(self) -> dict[Status, int]:
        """Return how many checks have each status."""
        statuses: tuple[Status, ...] = ("pass", "warn", "fail", "error", "insufficient")
        return {status: sum(one.status == status for one in self.lines) for status in statuses}


@dataclass(frozen=True, slots=True)
class _Request:
    contract: Contract
    rows: TypedRows
    reference: TypedRows | StoredReference


def check_frame(
    frame: pd.DataFrame,
    contract: Contract,
    reference: pd.DataFrame | StoredReference,
    golden: pd.DataFrame | None = None,
    behaviour: pd.DataFrame | None = None,
    model_version: str = "",
) -> CheckResult:
    """Judge ``frame`` against ``reference`` by the contract's checks on data, drift and, with labels, quality.

    Both frames have a row per request: the contract's columns and, where there are any, ``id``, ``event_time``,
    ``prediction`` (the champion's) or ``prediction.VERSION``, ``label`` and ``label_time``. ``golden`` and
    ``behaviour`` are what ``batch.gate.golden`` says; they judge the predictions of ``model_version``, else the
    champion's.

    Raises:
        InputDataError: a frame lacks columns or rows.
        StoreError: the store of this call cannot be made.
    """
    rows = typed_rows(frame, contract, "the file to check")
    version = model_version or contract.versions.champion
    own: list[CheckLine] = []
    for table, lines in ((golden, golden_lines), (behaviour, behaviour_lines)):
        if table is not None:
            own += [_own_line(one, version) for one in lines(table, rows.frame, version, contract.task)]
    held = reference if isinstance(reference, dict) else typed_rows(reference, contract, "the reference")
    reference_id, judged = _in_a_process(_Request(offline(contract), rows, held))
    return CheckResult(contract.model, contract.id, reference_id, len(rows.frame), (*judged, *own))


def stored_reference(store: Store, model: str, reference_id: str) -> StoredReference:
    """Return a reference set as ``check_frame`` takes it.

    Raises:
        InputDataError: there is no such set.
    """
    rows = store.query(
        "SELECT * FROM reference_sets FINAL WHERE model = {model:String} AND reference_id = {id:String}",
        {"model": model, "id": reference_id},
    )
    if not rows:
        msg = f"there is no reference {reference_id} of {model}, nor a file of that name; see `driftline reference ls`"
        raise InputDataError(msg)
    return rows[0]


def _in_a_process(request: _Request) -> tuple[str, tuple[CheckLine, ...]]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_judged, request).result()
        except BrokenProcessPool as error:
            msg = "the process that judged the file ended without an answer: out of memory, or killed"
            raise StoreError(msg) from error


def _judged(request: _Request) -> tuple[str, tuple[CheckLine, ...]]:
    """Judge in a store that is made for it. Runs in a process of its own."""
    contract = request.contract
    with (
        redirect_stdout(sys.stderr),  # the answer alone is for standard output
        tempfile.TemporaryDirectory(prefix="driftline-check-") as folder,
        Workers() as workers,
    ):
        workers.start()
        with Store(Address(path=str(Path(folder) / "store"))) as store:
            migrate(store)
            ensure_inputs_table(store, contract)
            reference_id = _keep_reference(store, contract, request.reference, workers)
            fill(store, contract, request.rows)
            kinds = _judging(contract, request.rows.versions)
            run_due(store, contract, workers, SystemClock(), kinds, choose=lambda *_: True)
            return reference_id, tuple(_lines(store, contract))


def _judging(contract: Contract, versions: Sequence[str]) -> list[str]:
    """Return the jobs whose runs the contract's rules are judged in, but for ages: a file's window has no end in time.

    The other jobs would find figures that nobody reads.
    """
    keys = [("", WHOLE, 0), *((version, WHOLE, 0) for version in versions)]
    rules = rules_of(contract)
    names = [
        job.name for job in JOBS if any(job.judges(rule, Key(job.name, *place)) for rule in rules for place in keys)
    ]
    return [name for name in names if name != AgeJob.name]


def _keep_reference(store: Store, contract: Contract, held: TypedRows | StoredReference, workers: Workers) -> str:
    if isinstance(held, dict):
        store.insert_rows("reference_sets", [held])
        return str(held["reference_id"])
    frame = held.frame if held.has_labels else held.frame.assign(label=None)
    return build_reference(store, contract, frame, held.versions, "file", workers)


def _lines(store: Store, contract: Contract) -> Iterator[CheckLine]:
    """Yield what was judged, and as ``insufficient`` every rule that found nothing to judge."""
    rows = store.query(_VERDICTS, {"model": contract.model})
    for row in rows:
        yield CheckLine(**row)
    seen = {(row["check"], row["column"], row["slice"]) for row in rows}
    for rule in rules_of(contract):
        if (rule.check, rule.column, rule.slice) not in seen:
            yield _unjudged(rule)


def _unjudged(rule: Rule) -> CheckLine:
    bound = rule.lower if rule.upper is None else rule.upper
    return CheckLine(
        check=rule.check,
        metric=rule.metric,
        column=rule.column,
        model_version="",
        slice=rule.slice,
        severity=rule.severity,
        status="insufficient",
        value=None,
        threshold=bound,
        n=0,
        reason="the file has nothing to judge it by",
    )


def _own_line(found: Any, version: str) -> CheckLine:
    return CheckLine(
        check=found.check,
        metric=found.metric,
        column="prediction",
        model_version=version,
        slice="all",
        severity="critical",
        status="fail" if found.wrong else "pass",
        value=float(len(found.wrong)),
        threshold=0.0,
        n=found.n,
        reason="; ".join(_some(found.wrong)),
    )


def _some(texts: Sequence[str], shown: int = 3) -> list[str]:
    rest = len(texts) - shown
    return [*texts[:shown], *([f"and {rest} more"] if rest > 0 else [])]


# The same bound stands for stream and batch windows where a column sets it; offline that is one window and one answer.
_VERDICTS = """
    SELECT check, metric, column, model_version, slice, toString(severity) AS severity, status, value, threshold, n,
        reason
    FROM checks WHERE model = {model:String} AND run_id IS NOT NULL
    ORDER BY source = 'stream', metric, column, model_version, slice
    LIMIT 1 BY check, column, model_version, slice, threshold, severity
"""
