"""What a reference has been used for: the runs that were compared with it, the newest of their window or not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from driftline.store import Store


@dataclass(frozen=True, slots=True)
class ReferenceUse:
    """Windows of one job and size; ``latest`` of them show figures against this reference today."""

    job: str
    granularity: str
    windows: int
    latest: int
    first: datetime
    end: datetime


def uses_of(store: Store, model: str, reference_id: str) -> list[ReferenceUse]:
    """Return the use that jobs have made of a reference, by job and window size."""
    return [ReferenceUse(**row) for row in store.query(_USES, {"model": model, "id": reference_id})]


_USES = """
    SELECT toString(job) AS job, toString(granularity) AS granularity, uniqExact(window_start) AS windows,
        uniqExactIf(window_start, run_id IN (SELECT run_id FROM latest_runs WHERE model = {model:String})) AS latest,
        min(window_start) AS first, max(window_end) AS end
    FROM job_runs FINAL WHERE model = {model:String} AND reference_id = {id:String}
    GROUP BY job, granularity ORDER BY job, granularity
"""
