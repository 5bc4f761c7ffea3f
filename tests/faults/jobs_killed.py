"""The ``driftline`` command, killed at an insert of a job's results, before or after it was written.

The environment says which of them and when: ``DRIFTLINE_KILL_AT=7:before``; without it nothing is killed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from batch import jobs
from batch.ledger.deleting import RESULT_TABLES
from driftline.cli.main import run
from driftline.store import Store

_insert_rows, _inserts = Store.insert_rows, count(1)


def _insert_and_die(self: Store, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    now = table in RESULT_TABLES and rows and next(_inserts) == int(_place)
    if now and _moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    _insert_rows(self, table, rows)
    if now:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    jobs._WINDOWS_PER_COMMIT = 2
    _place, _, _moment = os.environ.get("DRIFTLINE_KILL_AT", "0:").partition(":")
    Store.insert_rows = _insert_and_die  # type: ignore[method-assign]
    run()
