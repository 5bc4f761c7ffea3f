"""The ``driftline`` command: ``dlq redrive`` in pages of ten, killed at a page, before or after that is marked.

The environment says which page and when: ``DRIFTLINE_KILL_AT=2:before``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from itertools import count

from consumers.dead_letters import letters as dead_letters
from consumers.dead_letters import redriving
from driftline.cli.main import run
from driftline.store import Store

_mark, _pages = redriving._mark, count(1)


def _mark_and_die(store: Store, copies: Sequence[redriving._Copy], actor: str) -> None:
    page, moment = os.environ["DRIFTLINE_KILL_AT"].split(":")
    now = next(_pages) == int(page)
    if now and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    _mark(store, copies, actor)
    if now:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    dead_letters.PAGE_LETTERS = 10
    redriving._mark = _mark_and_die
    run()
