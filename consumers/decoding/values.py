"""One value against one column's type, and JSON as strangers write it.

Python writes bare ``NaN`` and ``Infinity``, others write numbers of five thousand digits: both
parse here, so that the column can be charged with them and the rest of the event is kept.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from driftline.clock import to_ms

Kind = Literal["number", "category", "boolean", "text", "datetime"]
FieldKind = Literal["number", "category", "boolean", "text", "datetime", "outcome"]
"""What an event's field may hold: a column's values, or a classifier's answer."""
Violation = Literal["type", "nonfinite"]
Clean = float | str | bool | int | dict[str, float] | None

# Possessive and open-ended, so that a string that is never closed costs one pass and not one per quote in it.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
# What the store's DateTime64 holds.
EARLIEST_MS = to_ms(datetime(1900, 1, 1, tzinfo=UTC))
LATEST_MS = to_ms(datetime(2300, 1, 1, tzinfo=UTC)) - 1
_MAX_DIGITS = 400  # beyond it an integer is larger than any float; parsing it would take quadratic time


def parse_json(value: bytes) -> Any:
    """Return what ``value`` holds, bare NaN and Infinity and numbers beyond any float included (as floats).

    Raises:
        UnicodeDecodeError: not UTF-8.
        ValueError: not JSON.
    """
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(value.decode("utf-8"), parse_int=_whole_number)


def nests_deeper_than(limit: int, value: bytes) -> bool:
    """Return whether more than ``limit`` arrays and objects are open at once; counted alike whatever a parser's limit.

    >>> nests_deeper_than(2, b'{"a":["[[["]}')
    False
    >>> nests_deeper_than(2, b'{"a":[[1]]}')
    True
    """
    if value.count(b"[") + value.count(b"{") <= limit:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", value)):
        depth += 1 if bracket in b"[{" else -1
        if depth > limit:
            return True
    return False


def clean_value(kind: FieldKind, value: Any) -> tuple[Clean, Violation | None]:
    """Return ``value`` as a column of ``kind`` keeps it, and what it violates; a violating value becomes None.

    >>> clean_value("number", 3)
    (3.0, None)
    >>> clean_value("number", "3")
    (None, 'type')
    >>> clean_value("number", float("inf"))
    (None, 'nonfinite')
    """
    if value is None:
        return None, None
    clean = _CLEANERS[kind](value)
    if clean is None:
        return None, "type"
    if isinstance(clean, float) and not math.isfinite(clean):
        return None, "nonfinite"
    return clean, None


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, which no store can hold
        return None
    return value


def _category(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(value)


def _outcome(value: Any) -> str | dict[str, float] | None:
    """Return a class, or a probability from 0 to 1 for one class or more."""
    if not isinstance(value, dict):
        return _category(value)
    given = {_text(name): _number(share) for name, share in value.items()}
    if not given or not all(name and share is not None and 0 <= share <= 1 for name, share in given.items()):
        return None
    return {str(name): float(share) for name, share in given.items() if share is not None}


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _datetime(value: Any) -> int | None:
    """Epoch milliseconds, or RFC 3339 text with an offset."""
    if isinstance(value, str):
        try:
            value = to_ms(datetime.fromisoformat(value))
        except ValueError:  # no such moment, or one without an offset
            return None
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if EARLIEST_MS <= value <= LATEST_MS else None


_CLEANERS: dict[FieldKind, Any] = {
    "number": _number,
    "category": _category,
    "boolean": _boolean,
    "text": _text,
    "datetime": _datetime,
    "outcome": _outcome,
}
