"""What changed in the columns: between two contracts, and between two windows of inputs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["values", "no values", "wrong type only"]
# Fewer rows without a value may be chance.
FEWEST_ROWS = 30


@dataclass(frozen=True, slots=True)
class Change:
    """One column's change, in words that fit a mark on a time line."""

    column: str
    title: str


@dataclass(frozen=True, slots=True)
class Counts:
    """A column's rows in a window: all, those without a value, and of these those of the wrong type."""

    n: int
    missing: int
    wrong_type: int


def contract_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """Yield what differs between the ``columns`` of two contracts' bodies.

    >>> list(contract_changes({"a": {"type": "number"}}, {"b": {"type": "text"}}))
    [Change(column='a', title='column a removed'), Change(column='b', title='column b added (text)')]
    >>> [one.title for one in contract_changes({"a": {"type": "number"}}, {"a": {"type": "text"}})]
    ['column a changed from number to text']
    """
    for name in sorted({*before, *after}):
        past, now = before.get(name), after.get(name)
        if past is None and now is not None:
            yield Change(name, f"column {name} added ({now['type']})")
        elif now is None:
            yield Change(name, f"column {name} removed")
        elif past is not None and past["type"] != now["type"]:
            yield Change(name, f"column {name} changed from {past['type']} to {now['type']}")


def window_changes(before: Mapping[str, Counts], now: Mapping[str, Counts]) -> Iterator[Change]:
    """Yield the columns that lost or regained their values between two windows; a window unseen counts as healthy.

    >>> list(window_changes({}, {"a": Counts(50, 50, 0), "b": Counts(50, 50, 50), "c": Counts(50, 49, 49)}))
    [Change(column='a', title='column a has no values'), Change(column='b', title='column b has values of the wrong type only')]
    """  # noqa: E501  # a doctest's answer is one line
    for name, counts in sorted(now.items()):
        past, present = _state(before.get(name)), _state(counts)
        if present == past:
            continue
        if present == "values":
            yield Change(name, f"column {name} has values again")
        elif present == "no values":
            yield Change(name, f"column {name} has no values")
        else:
            yield Change(name, f"column {name} has values of the wrong type only")


def _state(counts: Counts | None) -> State:
    if counts is None or counts.n < FEWEST_ROWS or counts.missing < counts.n:
        return "values"
    return "wrong type only" if counts.wrong_type == counts.n else "no values"
