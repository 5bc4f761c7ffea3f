"""Exact statistics of inputs, by SQL in the store: one statement for all windows and columns.

A share is of all rows of the window; missing means null. A figure that the rows do not define (the mean of no
values) is absent, never zero. Quantiles interpolate linearly between ranks, as pandas and NumPy do.

In a window of more than ``MOST_EXACT_ROWS`` rows quantiles and distinct counts are estimates, as their ``method``
says: exact ones hold every value in memory. All else stays exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch.results import Metric
from batch.rows.frames import Span
from driftline.contract import Column, Contract
from driftline.store import Store

MOST_EXACT_ROWS = 1_000_000
_ESTIMATES = {
    "quantilesExactInclusive(": "quantilesGK(1000, ",
    "uniqExact(COLUMN) = 1": "min(COLUMN) = max(COLUMN)",
    "uniqExact(COLUMN)": "uniqCombined64(COLUMN)",
}
Vocabularies = Mapping[str, Sequence[str]]

_LEVELS = {"quantile_05": 1, "quantile_25": 2, "quantile_50": 3, "quantile_75": 4, "quantile_95": 5}
_QUANTILES = "quantilesExactInclusive(0.05, 0.25, 0.5, 0.75, 0.95)(COLUMN)"
_NUMBER = {
    "mean": "avg(COLUMN)",
    "std": "stddevSampStable(COLUMN)",
    "min": "min(COLUMN)",
    "max": "max(COLUMN)",
    **{name: f"{_QUANTILES}[{index}]" for name, index in _LEVELS.items()},
}
_DISTINCT = {
    "distinct_count": "uniqExact(COLUMN)",
    "constant": "if(count(COLUMN) < 2, NULL, uniqExact(COLUMN) = 1)",
}
_OUTSIDE = "countIf(ifNull(COLUMN < {LOW:Float64} OR COLUMN > {HIGH:Float64}, false)) / count()"
_UNSEEN = "countIf(COLUMN IS NOT NULL AND NOT has({VALUES:Array(String)}, ifNull(toString(COLUMN), '')))"


@dataclass(slots=True)
class _Statement:
    """A growing SELECT list: expressions, what each means, and the values they bind."""

    expressions: list[str] = field(default_factory=list)
    meanings: list[tuple[str, str]] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    is_estimated: bool = False

    def add(self, column: str, metric: str, expression: str) -> None:
        index = len(self.expressions)
        self.expressions.append(f"{expression} AS v{index}")
        self.meanings.append((column, metric))

    def bind(self, value: Any) -> str:
        name = f"b{len(self.parameters)}"
        self.parameters[name] = value
        return name


def input_statistics(
    store: Store, contract: Contract, span: Span, vocabularies: Vocabularies
) -> dict[int, tuple[Metric, ...]]:
    """Return the statistics of all columns by window start; categories with a vocabulary get their ``unseen_share``.

    Windows are as large as ``span.rows`` says, and small where it does not.
    """
    statement = _Statement(is_estimated=max(span.rows, default=0) > MOST_EXACT_ROWS)
    statement.add("", "row_count", "count()")
    everything = ", ".join(["event_time", *(_bound_name(statement, name) for name in contract.columns)])
    statement.add("", "duplicate_share", f"1 - uniqExact(tuple({everything})) / count()")
    for name, column in contract.columns.items():
        _add_column(statement, name, column, vocabularies.get(name))
    return _run(store, contract, span, statement)


def unseen_shares(
    store: Store, contract: Contract, span: Span, vocabularies: Vocabularies
) -> dict[int, tuple[Metric, ...]]:
    """Return ``unseen_share`` of the columns in ``vocabularies`` by window start."""
    statement = _Statement()
    for name, values in vocabularies.items():
        statement.add(name, "unseen_share", _unseen(statement, _bound_name(statement, name), values))
    return _run(store, contract, span, statement) if statement.expressions else {}


def _add_column(statement: _Statement, name: str, column: Column, values: Sequence[str] | None) -> None:
    for metric, expression in _expressions(statement, column, _bound_name(statement, name), values):
        statement.add(name, metric, expression)


def _expressions(
    statement: _Statement, column: Column, name: str, values: Sequence[str] | None
) -> Iterator[tuple[str, str]]:
    yield "missing_share", f"countIf({name} IS NULL) / count()"
    chosen = {"number": _DISTINCT | _NUMBER, "datetime": {}}.get(column.type, _DISTINCT)
    for metric, expression in chosen.items():
        yield metric, (_estimated(expression) if statement.is_estimated else expression).replace("COLUMN", name)
    if column.type == "boolean":
        yield "mean", f"avg({name})"
    if column.range is not None:
        low = statement.bind(-math.inf if column.range.low is None else column.range.low)
        high = statement.bind(math.inf if column.range.high is None else column.range.high)
        yield "out_of_range_share", _OUTSIDE.replace("COLUMN", name).replace("LOW", low).replace("HIGH", high)
    if column.type == "category" and values is not None:
        yield "unseen_share", _unseen(statement, name, values)


def _estimated(expression: str) -> str:
    for exact, estimate in _ESTIMATES.items():
        expression = expression.replace(exact, estimate)
    return expression


def _unseen(statement: _Statement, name: str, values: Sequence[str]) -> str:
    return f"{_UNSEEN} / count()".replace("COLUMN", name).replace("VALUES", statement.bind(list(values)))


def _bound_name(statement: _Statement, column: str) -> str:
    return f"{{{statement.bind(column)}:Identifier}}"


def _run(store: Store, contract: Contract, span: Span, statement: _Statement) -> dict[int, tuple[Metric, ...]]:
    sql = _WINDOWS.replace("EXPRESSIONS", ", ".join(statement.expressions))
    parameters = {**span.parameters(contract), "inputs": contract.raw_inputs_table, **statement.parameters}
    return {row["start_ms"]: _metrics(row, statement) for row in store.query(sql, parameters)}


def _metrics(row: Mapping[str, Any], statement: _Statement) -> tuple[Metric, ...]:
    values = [row[f"v{index}"] for index in range(len(statement.meanings))]
    method = "estimated" if statement.is_estimated else ""
    return tuple(
        Metric(column, metric, float(value), row["rows"], method=method if _is_estimate(metric) else "")
        for (column, metric), value in zip(statement.meanings, values, strict=True)
        if value is not None and math.isfinite(value)
    )


def _is_estimate(metric: str) -> bool:
    return metric == "distinct_count" or metric.startswith("quantile_")


_WINDOWS = """
    SELECT intDiv(toUnixTimestamp64Milli(event_time), {size:Int64}) * {size:Int64} AS start_ms, count() AS rows,
        EXPRESSIONS
    FROM {inputs:Identifier} FINAL
    WHERE event_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
        AND event_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC') AND has({starts:Array(Int64)}, start_ms)
    GROUP BY start_ms
"""
