"""Running a job so that a window which breaks it takes no other window along.

A chunk whose job raises is halved until the window is alone; that window's outcome is the error. A store that is
away, and what its owner typed wrong, is nobody's window: it is raised as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from batch.ledger.ledger import Candidate, Key
from batch.results import Failure, Outcome
from batch.setting import Job, Setting
from driftline.errors import DamagedReference, StatementRejected, StoreError, UsageError

_log = structlog.get_logger(__name__)


def run_isolated(job: Job, setting: Setting, chunk: Sequence[Candidate]) -> Mapping[Key, Outcome]:
    """Return the outcome of every window of ``chunk``."""
    try:
        return job.run(setting, chunk)
    except (StatementRejected, DamagedReference) as error:
        broken: Exception = error
    except (StoreError, UsageError):
        raise
    except Exception as error:
        broken = error
    if len(chunk) > 1:
        middle = len(chunk) // 2
        return {**run_isolated(job, setting, chunk[:middle]), **run_isolated(job, setting, chunk[middle:])}
    _log.error("job_failed", job=job.name, window=chunk[0].key.window.start, exc_info=broken)
    reason = f"{type(broken).__name__}: {broken}"
    return {chunk[0].key: Outcome("error", 0, failures=(Failure("", f"{job.name}: {reason}", is_fatal=True),))}
