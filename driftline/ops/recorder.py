"""Rows of ``process_stats``: what a process costs and what waits in it, written beside its work.

Each row is also a question to the store, so a process without events still knows whether the store
answers. The only module that knows psutil.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import psutil
import structlog

from driftline.clock import Clock
from driftline.errors import StoreError, StoreUnavailable
from driftline.ops.health import Health
from driftline.ops.meters import Meters
from driftline.store import Store

_log = structlog.get_logger(__name__)
EVERY_SECONDS = 15.0


@dataclass(slots=True)
class Recorder:
    """Measures this process and stores what it finds under ``role``."""

    role: str
    store: Store
    meters: Meters
    health: Health
    clock: Clock
    _process: psutil.Process = field(default_factory=psutil.Process)

    def record(self, *, ended: bool = False) -> None:
        """Store one row; a store that fails is counted and never raised."""
        try:
            self.store.insert_rows("process_stats", [self.measured(ended=ended)])
        except StoreUnavailable as error:
            self.meters.stats_errors.inc()
            self.health.failed("store", str(error))
        except StoreError as error:  # it answers, and wants no such row: a user without the right to write it
            self.meters.stats_errors.inc()
            self.health.answered("store")
            _log.debug("process_stats_refused", error=str(error))
        else:
            self.health.answered("store")

    def measured(self, *, ended: bool = False) -> dict[str, Any]:
        """Return this moment's row; children count as part of their parent."""
        family = [self._process, *self._process.children(recursive=True)]
        figures = [found for process in family if (found := _figures(process)) is not None]
        return {
            "role": self.role,
            "host": socket.gethostname(),
            "pid": self._process.pid,
            "started": datetime.fromtimestamp(self._process.create_time(), UTC),
            "at": self.clock.now(),
            "cpu_seconds": sum(one[0] for one in figures),
            "rss_bytes": sum(one[1] for one in figures),
            "threads": sum(one[2] for one in figures),
            "pending_rows": self.meters.waiting_rows,
            "lag": self.meters.lag_records,
            "ended": ended,
            "library": version("driftline"),
        }


def _figures(process: psutil.Process) -> tuple[float, int, int] | None:
    """Return CPU seconds, resident bytes and threads, or None of a child that has just ended."""
    try:
        with process.oneshot():
            times = process.cpu_times()
            return times.user + times.system, process.memory_info().rss, process.num_threads()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return None
