"""Checks: which bounds a contract sets on which metrics, and what a value says against its bound.

Pure. The rules go into the table ``check_rules`` (``store.registry``), the view ``checks`` judges open
windows by them in SQL, and jobs judge completed windows by ``judge``: both give the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from driftline.contract import CheckRule, Column, Contract
from driftline.contract.values import ColumnType, Severity
from driftline.windows import granularity

Source = Literal["stream", "batch"]
Status = Literal["pass", "warn", "fail", "error", "insufficient"]

# A share is judged by three standard errors of a binomial share at its bound.
STANDARD_ERRORS = 3.0
_DERIVED_MIN_ROWS = 30

QUALITY_METRICS = frozenset(
    {"mae", "rmse", "mean_error", "error_std", "mape", "r2", "max_error", "error_ratio", "coverage"}
    | {"label_count", "scored_count", "failed_count"}
)
DRIFT_METRICS = frozenset({"drift_score", "drift_detected"})
_NUMBER: tuple[ColumnType, ...] = ("number",)
_QUANTILES = ("quantile_05", "quantile_25", "quantile_50", "quantile_75", "quantile_95")
_ANY: tuple[ColumnType, ...] = ("number", "category", "boolean", "text", "datetime")
# Metrics of one column, and the types of column that have them.
PER_COLUMN: dict[str, tuple[ColumnType, ...]] = {
    "missing_share": _ANY,
    "type_violation_share": _ANY,
    "nonfinite_share": _NUMBER,
    "out_of_range_share": _NUMBER,
    "unseen_share": ("category",),
    "constant": ("number", "category", "boolean"),
    "distinct_count": ("number", "category", "boolean", "text"),
    "drift_score": ("number", "category", "boolean"),
    "drift_detected": ("number", "category", "boolean"),
    **dict.fromkeys(("mean", "std", "min", "max", *_QUANTILES), _NUMBER),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A bound on one metric of one column (``""`` for the whole), per window of a size; both ends inclusive."""

    check: str
    metric: str
    column: str
    source: Source
    granularity: str
    lower: float | None
    upper: float | None
    min_rows: int
    severity: Severity
    slice: str = "all"

    @property
    def is_share(self) -> bool:
        """Whether the metric is a share of rows, which chance moves."""
        return self.metric.endswith("_share")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of one value. ``threshold`` is the bound that was nearest to being broken."""

    status: Status
    threshold: float | None
    reason: str


def judge(rule: Rule, value: float, n: int) -> Verdict:
    """Return the verdict on ``value``, which rests on ``n`` rows.

    Examples
    --------
    >>> rule = Rule("max_missing_share", "missing_share", "fare", "stream", "1h", None, 0.02, 30, "warning")
    >>> judge(rule, 0.03, 100).status, judge(rule, 0.03, 100_000).status, judge(rule, 1.0, 3).status
    ('pass', 'fail', 'insufficient')
    """
    threshold = _threshold(rule, value)
    if n < rule.min_rows:
        return Verdict("insufficient", threshold, f"{n} rows; judged from {rule.min_rows}")
    if rule.upper is not None and value > rule.upper + _tolerance(rule, rule.upper, n):
        return Verdict(_failed(rule), threshold, f"{rule.metric} {value:.6g} is above {rule.upper:g}")
    if rule.lower is not None and value < rule.lower - _tolerance(rule, rule.lower, n):
        return Verdict(_failed(rule), threshold, f"{rule.metric} {value:.6g} is below {rule.lower:g}")
    return Verdict("pass", threshold, "")


def _tolerance(rule: Rule, bound: float, n: int) -> float:
    return STANDARD_ERRORS * math.sqrt(max(0.0, bound * (1 - bound)) / n) if rule.is_share else 0.0


def _threshold(rule: Rule, value: float) -> float | None:
    above = rule.upper is not None and value > rule.upper
    return rule.upper if above or rule.lower is None else rule.lower


def _failed(rule: Rule) -> Status:
    return "warn" if rule.severity == "info" else "fail"


def rules_of(contract: Contract) -> list[Rule]:
    """Return every rule that ``contract`` sets: by its columns, its drift and quality parts, and its ``checks``."""
    rules = [*_column_rules(contract), *_drift_rules(contract), *_quality_rules(contract)]
    taken = {_key(rule) for rule in rules}
    for check in contract.checks:
        for rule in _explicit_rules(check, contract):
            rules.append(_named_apart(rule, taken))
            taken.add(_key(rules[-1]))
    return rules


def _column_rules(contract: Contract) -> Iterator[Rule]:
    windows = contract.windows
    places: tuple[tuple[Source, timedelta], ...] = (("stream", windows.stream), ("batch", windows.data))
    for name, column in contract.columns.items():
        for key in ("missing_share", "out_of_range_share", "unseen_share"):
            bound: float | None = getattr(column, f"max_{key}")
            if bound is not None:
                for source, size in places:
                    grain = granularity(size)
                    yield Rule(f"max_{key}", key, name, source, grain, None, bound, _DERIVED_MIN_ROWS, "warning")


def _drift_rules(contract: Contract) -> Iterator[Rule]:
    rule, grain = contract.drift, granularity(contract.windows.drift)
    outcome = rule.number_threshold if contract.task == "regression" else rule.category_threshold
    bounds = {name: drift_threshold(contract, column) for name, column in contract.columns.items()}
    for name, bound in {**bounds, "prediction": outcome, "label": outcome}.items():
        if bound is not None:
            yield Rule("drift", "drift_score", name, "batch", grain, None, bound, rule.min_rows, rule.severity)


def drift_threshold(contract: Contract, column: Column) -> float | None:
    """Return the score from which ``column`` has drifted, its own or its type's; None for a type no test covers."""
    if column.drift_threshold is not None:
        return column.drift_threshold
    if column.type == "number":
        return contract.drift.number_threshold
    return contract.drift.category_threshold if column.type in ("category", "boolean") else None


def _quality_rules(contract: Contract) -> Iterator[Rule]:
    """Bound the error of the largest quality window only: an hour's error is half noise, a day's is not."""
    quality = contract.quality
    if quality.max_error_ratio is not None:
        grain = granularity(max(contract.windows.quality))
        bound, least = quality.max_error_ratio, quality.min_labels
        yield Rule("max_error_ratio", "error_ratio", "", "batch", grain, None, bound, least, "critical")


def _explicit_rules(check: CheckRule, contract: Contract) -> Iterator[Rule]:
    for column in _columns_of(check, contract):
        for size in _sizes_of(check, contract):
            yield Rule(
                check.metric,
                check.metric,
                column,
                check.source,
                granularity(size),
                check.min,
                check.max,
                check.min_rows,
                check.severity,
            )


def _columns_of(check: CheckRule, contract: Contract) -> tuple[str, ...]:
    types = PER_COLUMN.get(check.metric)
    if check.column or types is None:
        return (check.column,)
    columns = contract.columns_of_type(*types)
    if check.metric == "out_of_range_share":
        return tuple(name for name in columns if contract.columns[name].range is not None)
    return columns


def _sizes_of(check: CheckRule, contract: Contract) -> tuple[timedelta, ...]:
    windows = contract.windows
    if check.granularity is not None:
        return (check.granularity,)
    if check.source == "stream":
        return (windows.stream,)
    if check.metric in QUALITY_METRICS:
        return windows.quality
    return (windows.drift,) if check.metric in DRIFT_METRICS else (windows.data,)


def _key(rule: Rule) -> tuple[str, ...]:
    return (rule.check, rule.column, rule.slice, rule.source, rule.granularity)


def _named_apart(rule: Rule, taken: set[tuple[str, ...]]) -> Rule:
    """Return ``rule``, numbered where another check of its name bounds the same column (warning and critical)."""
    number = 1
    named = rule
    while _key(named) in taken:
        number += 1
        named = replace(rule, check=f"{rule.check}_{number}")
    return named
