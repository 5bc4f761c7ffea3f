"""The ``driftline`` command with small steps, halted at one insert of a flush: dead on the spot, or stopped.

The environment says where and how: ``DRIFTLINE_HALT_AT=segments:before:2:exit`` ends the process just before its second
insert into ``segments``, ``…:after:2:stop`` stops it (SIGSTOP) just after. The table ``raw`` is that of the inputs.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from functools import partial
from typing import Any

from consumers import loop
from consumers.reading import recovery
from driftline.cli.main import run
from driftline.store import Store

_inserts: Counter[str] = Counter()


def _halting(insert: Any) -> Any:
    table, moment, number, how = os.environ["DRIFTLINE_HALT_AT"].split(":")

    def halt(now: str, into: str) -> None:
        name = "raw" if into.startswith("inputs_") else into
        if (name, now, _inserts[into]) == (table, moment, int(number)):
            if how == "exit":
                os._exit(137)
            os.kill(os.getpid(), signal.SIGSTOP)

    def wrapped(self: Store, into: str, rows: Any) -> None:
        if len(rows):
            _inserts[into] += 1
            halt("before", into)
        insert(self, into, rows)
        if len(rows):
            halt("after", into)

    return wrapped


if __name__ == "__main__":
    recovery.DEFAULT_SEGMENT_SIZE = 500  # type: ignore[attr-defined]
    loop.Pace = partial(loop.Pace, poll_records=250, flush_rows=250)  # type: ignore[misc,assignment]
    Store.insert = _halting(Store.insert)  # type: ignore[method-assign]
    Store.insert_rows = _halting(Store.insert_rows)  # type: ignore[method-assign]
    run()
