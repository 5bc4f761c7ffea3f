"""Asking the engine for a contract's own expressions, so that a window whose values it refuses takes no other along.

``sum(intDiv(fare, miles))`` is refused for the one window with a trip of 0 miles, ``sum(zone)`` for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from batch.rows.frames import Span
from driftline.errors import StatementRejected

Row = Mapping[str, Any]
Ask = Callable[[Span], Sequence[Row]]
_NO_WINDOW_MS = -1_000_000_000_000  # 1938, before any event


@dataclass(frozen=True, slots=True)
class Asked:
    """What the engine found, and why it refuses the other windows, by their start."""

    rows: Sequence[Row] = ()
    refused: Mapping[int, str] = field(default_factory=dict)


def ask_by_halves(span: Span, ask: Ask) -> Asked:
    """Ask for all windows of ``span`` at once; where the engine refuses, for the halves, down to single windows.

    What it refuses of no rows at all it refuses of all, and is asked for no halves.
    """
    try:
        return Asked(ask(span))
    except StatementRejected as error:
        refused = Asked(refused=dict.fromkeys(span.starts, str(error)))
    if len(span.starts) == 1 or _is_refused_of_nothing(span, ask):
        return refused
    first, second = (ask_by_halves(half, ask) for half in span.halves)
    return Asked([*first.rows, *second.rows], {**first.refused, **second.refused})


def _is_refused_of_nothing(span: Span, ask: Ask) -> bool:
    try:
        ask(replace(span, starts=(_NO_WINDOW_MS,), rows=()))
    except StatementRejected:
        return True
    return False
