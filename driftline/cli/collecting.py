"""How often Python looks for garbage while many small objects come and go."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_AFTER_OBJECTS = 50_000
"""Young objects that set off a collection; Python's 700 cost a replay a third of its time, and it makes few cycles."""


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Collect garbage seldom; for the one thing that a process does."""
    usual = gc.get_threshold()
    gc.set_threshold(_AFTER_OBJECTS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
