"""Taking back what jobs have found in a stretch of time: their results, never an event.

The commit records go first, which hides everything at once; what a deletion that was stopped leaves behind is seen
by no view, and the next one takes it. Deleted windows are due again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from driftline.clock import to_ms
from driftline.contract.model import Contract
from driftline.store import Store
from driftline.windows import Window, parse_granularity, to_window_ms

RESULT_TABLES = ("job_runs", "verdicts", "job_metrics", "job_histograms", "job_rows", "job_errors")


def count_runs(store: Store, contract: Contract, period: Window, kinds: Sequence[str]) -> int:
    """Return how many runs, of all revisions, ``delete_results`` would delete."""
    statement = f"SELECT count() FROM job_runs FINAL WHERE {_IN_PERIOD}"  # noqa: S608  # a constant of this module
    count: int = store.scalar(statement, _bound(store, contract, period, kinds))
    return count


def delete_results(store: Store, contract: Contract, period: Window, kinds: Sequence[str]) -> int:
    """Delete the results of ``kinds`` (of all jobs, when empty) for windows within ``period``; return how many runs.

    May be stopped at any moment and repeated.
    """
    bound = _bound(store, contract, period, kinds)
    runs = count_runs(store, contract, period, kinds)
    for table in RESULT_TABLES:
        if store.scalar(f"SELECT count() FROM {table} WHERE {_IN_PERIOD}", bound):  # noqa: S608  # our own names
            store.execute(f"ALTER TABLE {table} DELETE WHERE {_IN_PERIOD} SETTINGS mutations_sync = 2", bound)
    return runs


def _bound(store: Store, contract: Contract, period: Window, kinds: Sequence[str]) -> dict[str, Any]:
    """Return what the statements bind; of each size, the last start of a window that ends within the period."""
    grains = _granularities(store, contract)
    return {
        "model": contract.model,
        "kinds": list(kinds),
        "low": to_ms(period.start),
        "grains": grains,
        "last": [to_ms(period.end) - to_window_ms(parse_granularity(grain)) for grain in grains],
    }


def _granularities(store: Store, contract: Contract) -> list[str]:
    """Return the sizes of all windows with results, whether their commit record is still there or not."""
    found: set[str] = set()
    for table in RESULT_TABLES:
        statement = f"SELECT DISTINCT granularity FROM {table} WHERE model = {{model:String}}"  # noqa: S608
        found |= {row["granularity"] for row in store.query(statement, {"model": contract.model})}
    return sorted(found)


_IN_PERIOD = """
    model = {model:String} AND (empty({kinds:Array(String)}) OR has({kinds:Array(String)}, job))
    AND toUnixTimestamp64Milli(window_start) >= {low:Int64}
    AND arrayExists((grain, last) -> granularity = grain AND toUnixTimestamp64Milli(window_start) <= last,
        {grains:Array(String)}, {last:Array(Int64)})
"""
