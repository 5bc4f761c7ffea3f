"""Which windows to judge when somebody asks: what failed, or a stretch of time judged by what holds now."""

from __future__ import annotations

from collections.abc import Sequence

from batch.jobs import Choice
from batch.ledger.ledger import Candidate, Key
from batch.ledger.snapshot import Snapshot
from driftline.clock import to_ms
from driftline.contract.model import Contract
from driftline.store import Store
from driftline.windows import Window


def is_within(candidate: Candidate, period: Window) -> bool:
    """Return whether the candidate's window lies in ``period``, touching an end or not."""
    window = candidate.key.window
    return period.start <= window.start and window.end <= period.end


def failed(store: Store, contract: Contract, periods: Sequence[Window] = ()) -> Choice:
    """Choose windows whose last run failed, whole or in a figure; of ``periods`` only, where there are any.

    How often they have failed does not matter.
    """
    with_failed_figures = _with_failed_figures(store, contract)

    def choose(candidate: Candidate, _: Snapshot) -> bool:
        has_failed = (candidate.is_due and candidate.attempts > 0) or candidate.key in with_failed_figures
        return has_failed and (not periods or any(is_within(candidate, period) for period in periods))

    return choose


def outdated(contract: Contract, period: Window, *, all_again: bool = False) -> Choice:
    """Choose windows in ``period`` that are due or were judged by another version of the contract.

    A backfill that was stopped therefore goes on where it was; ``all_again`` chooses every window.
    """

    def choose(candidate: Candidate, _: Snapshot) -> bool:
        last = candidate.last
        is_outdated = last is None or candidate.is_due or last.contract_id != contract.id
        return is_within(candidate, period) and (all_again or is_outdated)

    return choose


def _with_failed_figures(store: Store, contract: Contract) -> set[Key]:
    return {
        Key(row["job"], row["model_version"], row["window_end"] - row["window_start"], to_ms(row["window_start"]))
        for row in store.query(_FAILED_FIGURES, {"model": contract.model})
    }


# An error older than the run's last attempt was that of an attempt before it.
_FAILED_FIGURES = """
    SELECT DISTINCT r.job AS job, r.model_version AS model_version, r.window_start AS window_start,
        r.window_end AS window_end
    FROM latest_runs AS r
    INNER JOIN (SELECT run_id, max(at) AS failed_at FROM job_errors WHERE model = {model:String} GROUP BY run_id) AS e
        ON r.run_id = e.run_id
    WHERE r.model = {model:String} AND r.status != 'error' AND e.failed_at >= r.as_of
"""
