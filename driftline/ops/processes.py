"""The processes that have written to ``process_stats`` of late, and whether they still do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from driftline.ops.recorder import EVERY_SECONDS
from driftline.store import Store

_SILENT_AFTER_SECONDS = 4 * EVERY_SECONDS
_LATEST = """
    SELECT role, host, pid, started, last_seen, ended, cpu_seconds, rss_bytes, threads, pending_rows, lag,
        date_diff('second', last_seen, now64(3, 'UTC')) AS silent_seconds
    FROM (
        SELECT *, at AS last_seen FROM process_stats FINAL WHERE at > now64(3, 'UTC') - INTERVAL 1 DAY
        ORDER BY at DESC LIMIT 1 BY role, host, pid, started
    )
    ORDER BY last_seen DESC LIMIT {most:UInt32}
"""


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """The last row of one process; ``silent`` means that it should have written since and has not."""

    role: str
    host: str
    pid: int
    state: Literal["running", "ended", "silent"]
    started: datetime
    last_seen: datetime
    cpu_seconds: float
    rss_bytes: int
    threads: int
    pending_rows: int | None
    lag: int | None


def recent_processes(store: Store, most: int = 20) -> list[ProcessReport]:
    """Return the processes of the last day, the last seen first."""
    return [
        ProcessReport(**row, state=_state(ended=ended, silent_seconds=silent_seconds))
        for row in store.query(_LATEST, {"most": most})
        for ended, silent_seconds in [(row.pop("ended"), row.pop("silent_seconds"))]
    ]


def _state(*, ended: bool, silent_seconds: int) -> Literal["running", "ended", "silent"]:
    if ended:
        return "ended"
    return "silent" if silent_seconds > _SILENT_AFTER_SECONDS else "running"
