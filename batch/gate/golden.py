"""Expectations on single answers: a golden set, and pairs of rows whose answers must stand in a relation.

A golden set has ``id``, ``expected`` and perhaps ``tolerance``. Behaviour has ``id_a``, ``id_b``, ``relation``, and
perhaps ``tolerance`` and ``name``: ``equal`` says that what differs between the two rows must not matter (invariance),
``less``, ``at_most``, ``greater`` and ``at_least`` which way it must matter (direction). Answers are looked up by id in
the rows checked, or stand in the table itself as ``prediction`` (of behaviour ``prediction_a`` and ``prediction_b``).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from batch.references.sets import PREDICTION_PREFIX
from batch.references.values import as_text
from driftline.errors import InputDataError

# Enough for numbers that went through text and back.
_TOLERANCE = 1e-9
_ORDERED: Mapping[str, Callable[[float, float], bool]] = {
    "less": operator.lt,
    "at_most": operator.le,
    "greater": operator.gt,
    "at_least": operator.ge,
}
RELATIONS = ("equal", *_ORDERED)


@dataclass(frozen=True, slots=True)
class Expectation:
    """How ``n`` answers did; ``wrong`` says of each that was not as expected what it was."""

    check: str
    metric: str
    n: int
    wrong: tuple[str, ...]


def golden_lines(table: pd.DataFrame, rows: pd.DataFrame, version: str, task: str) -> Iterator[Expectation]:
    """Yield the golden set's outcome.

    Raises:
        InputDataError: ``table`` is empty or lacks a column.
    """
    _require(table, "the golden set", "id", "expected")
    answers = _answers(rows, version)
    wrong = []
    for row in table.to_dict("records"):
        given = row["prediction"] if "prediction" in table else answers.get(as_text(row["id"]))
        expected, tolerance = _as(task, row["expected"]), _tolerance(row)
        if not _equal(_as(task, given), expected, tolerance):
            around = f" ± {tolerance:g}" if task == "regression" else ""
            wrong.append(f"id {row['id']} gave {_shown(given)}, expected {expected}{around}")
    yield Expectation("golden", "golden_mismatch_count", len(table), tuple(wrong))


def behaviour_lines(table: pd.DataFrame, rows: pd.DataFrame, version: str, task: str) -> Iterator[Expectation]:
    """Yield one outcome per ``name``, or per relation where the table has no names.

    Raises:
        InputDataError: ``table`` is empty, lacks a column, or names a relation that does not exist for the task.
    """
    _require(table, "the table of behaviour", "id_a", "id_b", "relation")
    allowed = RELATIONS if task == "regression" else ("equal",)
    unknown = sorted(set(map(str, table["relation"])) - set(allowed))
    if unknown:
        msg = f"the table of behaviour names the relation {', '.join(unknown)}; for {task} use {', '.join(allowed)}"
        raise InputDataError(msg)
    answers = _answers(rows, version)
    found: dict[str, list[str]] = {}
    for row in table.to_dict("records"):
        wrong = found.setdefault(str(row.get("name") or row["relation"]), [])
        sides = [row.get(f"prediction_{side}", answers.get(as_text(row[f"id_{side}"]))) for side in "ab"]
        wrong.append("" if _stands(row, sides, task) else _broken(row, sides))
    for name, outcomes in found.items():
        broken = tuple(text for text in outcomes if text)
        yield Expectation(f"behaviour_{name}", "behaviour_violation_count", len(outcomes), broken)


def _stands(row: Mapping[Any, Any], sides: list[Any], task: str) -> bool:
    first, second = (_as(task, side) for side in sides)
    if first is None or second is None:
        return False
    if row["relation"] == "equal":
        return _equal(first, second, _tolerance(row))
    return _ORDERED[row["relation"]](first, second)


def _broken(row: Mapping[Any, Any], sides: list[Any]) -> str:
    given = " and ".join(_shown(side) for side in sides)
    return f"ids {row['id_a']} and {row['id_b']} gave {given}; the first must be {row['relation']}"


def _equal(given: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(given, float) and isinstance(expected, float):
        return abs(given - expected) <= tolerance
    return given is not None and bool(given == expected)


def _as(task: str, value: Any) -> Any:
    """Return an answer as the task has it: a finite float or a text; None for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if task != "regression":
        return as_text(value)
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        msg = f"an expected or given answer must be a number; got {value}; mend the table"
        raise InputDataError(msg) from error
    return number if math.isfinite(number) else None


def _tolerance(row: Mapping[Any, Any]) -> float:
    given = float(row.get("tolerance", _TOLERANCE))
    return _TOLERANCE if math.isnan(given) else given


def _answers(rows: pd.DataFrame, version: str) -> Mapping[str, Any]:
    column = PREDICTION_PREFIX + version
    return dict(zip(rows["id"], rows[column], strict=True)) if column in rows else {}


def _shown(value: Any) -> str:
    return "no prediction" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _require(table: pd.DataFrame, named: str, *columns: str) -> None:
    lacking = [name for name in columns if name not in table]
    if lacking:
        msg = f"{named} lacks the columns {', '.join(lacking)}; it has {', '.join(map(str, table.columns))}"
        raise InputDataError(msg)
    if table.empty:
        msg = f"{named} has no rows; leave it out, or put expectations in it"
        raise InputDataError(msg)
