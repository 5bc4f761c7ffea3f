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
from driftline.metrics import CUSTOM_PREFIX, KPI_PREFIX
from driftline.windows import granularity

Source = Literal["stream", "batch"]
Status = Literal["pass", "warn", "fail", "error", "insufficient"]

# A share is judged by three standard errors of a binomial share at its bound.
STANDARD_ERRORS = 3.0
_DERIVED_MIN_ROWS = 30
_COME_BY_P99 = 0.99  # what `label.delay.p99` says

QUALITY_METRICS = frozenset(
    {"mae", "rmse", "mean_error", "error_std", "mape", "mape_evidently", "r2", "max_error", "error_ratio", "coverage"}
    | {f"abs_error_quantile_{level}" for level in (50, 90, 95, 99)}
    | {"mae_dummy", "skill", "accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier_score"}
    | {f"{name}_count" for name in ("true_positive", "false_positive", "false_negative", "true_negative")}
    | {"calibration_error", "positive_share", "predicted_positive_share"}
    | {"label_count", "scored_count", "assumed_count", "failed_count"}
)
_COLUMN_DRIFT = ("drift_score", "drift_detected", "drift_expected", "drift_ratio", "drift_importance")
_NUMBER_SHIFTS = ("mean_shift", "median_shift")
_CATEGORY_SHIFTS = ("share_moved", "value_shift", "new_value_count")
LABEL_METRICS = frozenset(
    {"labelled_share", "expected_coverage", "orphan_label_count", "corrected_label_count"}
    | {"label_delay_quantile_50", "label_delay_quantile_95"}
)
DRIFT_METRICS = frozenset({*_COLUMN_DRIFT, *_NUMBER_SHIFTS, *_CATEGORY_SHIFTS})
MULTIVARIATE_METRICS = frozenset({"domain_auc", "domain_auc_expected", "domain_auc_ratio"})
SCHEMA_METRICS = frozenset({"schema_change_count"})
# Evidently's tests whose score is a distance: high is drift. Those of all others are p-values: low is drift.
DISTANCE_METHODS = frozenset({"wasserstein", "jensenshannon", "psi", "kl_div", "hellinger", "ed"})
# Expected before labels, and what labels make of it; per window of quality.
ESTIMATE_METRICS = frozenset(
    {"estimated_mae", "estimated_accuracy", "estimated_precision", "estimated_recall", "estimated_f1"}
    | {"error_contribution"}
)
CORRECTION_METRICS = frozenset(
    {"estimate_gap", "estimate_error", "estimate_bias", "mae_corrected", "accuracy_corrected"}
)
AGE_METRICS = frozenset({"model_age_days", "reference_age_days"})
# Of slices among themselves, and of versions against each other; both in the largest window of quality.
SLICE_METRICS = frozenset(
    {"slice_excess", "slice_excess_share", "slice_p_value", "slice_rank"}
    | {"parity_gap", "recall_gap", "selection_rate_gap"}
)
COMPARISON_METRICS = frozenset(
    {"mae_difference", "accuracy_difference", "log_loss_difference", "probability_better", "pair_count"}
)
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
    **dict.fromkeys(_COLUMN_DRIFT, ("number", "category", "boolean")),
    **dict.fromkeys(_NUMBER_SHIFTS, ("number",)),
    **dict.fromkeys(_CATEGORY_SHIFTS, ("category", "boolean")),
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
    rules = [*_column_rules(contract), *_drift_rules(contract), *_quality_rules(contract), *_label_rules(contract)]
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
    """Bound Evidently's score by its threshold, and a distance by what healthy windows score."""
    rule, grain = contract.drift, granularity(contract.windows.drift)
    outcome = rule.number_threshold if contract.task == "regression" else rule.category_threshold
    bounds = {name: drift_threshold(contract, column) for name, column in contract.columns.items()}
    for name, bound in {**bounds, "prediction": outcome, "label": outcome}.items():
        if bound is None:
            continue
        is_distance = _drift_method(contract, name) in DISTANCE_METHODS
        lower, upper = (None, bound) if is_distance else (bound, None)
        yield Rule("drift", "drift_score", name, "batch", grain, lower, upper, rule.min_rows, rule.severity)
        if is_distance and rule.max_ratio is not None:
            limit, severity = rule.max_ratio, rule.ratio_severity
            yield Rule("drift_calibrated", "drift_ratio", name, "batch", grain, None, limit, rule.min_rows, severity)
    if rule.multivariate and rule.max_ratio is not None:
        limit, severity = rule.max_ratio, rule.ratio_severity
        yield Rule("drift_together", "domain_auc_ratio", "", "batch", grain, None, limit, rule.min_rows, severity)


def _drift_method(contract: Contract, name: str) -> str:
    column = contract.columns.get(name)
    is_number = contract.task == "regression" if column is None else column.type == "number"
    return contract.drift.number_method if is_number else contract.drift.category_method


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
    if quality.max_estimate_gap is not None:
        grain = granularity(max(contract.windows.quality))
        bound, least = quality.max_estimate_gap, quality.min_labels
        yield Rule("max_estimate_gap", "estimate_gap", "", "batch", grain, None, bound, least, "critical")


def _label_rules(contract: Contract) -> Iterator[Rule]:
    """Bound the labels that come: after the usual delay at most one in a hundred of those expected is still missing."""
    expected = contract.label.expected_share
    if expected:
        grain = granularity(contract.windows.data)
        bound = expected * _COME_BY_P99
        yield Rule("label_shortfall", "labelled_share", "", "batch", grain, bound, None, _DERIVED_MIN_ROWS, "warning")


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
                check.slice,
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
    if check.metric in SLICE_METRICS | COMPARISON_METRICS:
        return (max(windows.quality),)
    if check.slice != "all":
        return (max(windows.quality) if check.metric in QUALITY_METRICS else windows.drift,)
    if check.metric in QUALITY_METRICS | ESTIMATE_METRICS | CORRECTION_METRICS:
        return windows.quality
    if check.metric.startswith((KPI_PREFIX, CUSTOM_PREFIX)):
        return windows.quality
    return (windows.drift,) if check.metric in DRIFT_METRICS | MULTIVARIATE_METRICS else (windows.data,)


def is_statistic(metric: str) -> bool:
    """Return whether ``metric`` is one of a window's inputs alone, and so neither of a model's nor of a comparison."""
    of_others = QUALITY_METRICS | DRIFT_METRICS | SLICE_METRICS | COMPARISON_METRICS
    of_others |= ESTIMATE_METRICS | CORRECTION_METRICS | AGE_METRICS | LABEL_METRICS
    of_others |= MULTIVARIATE_METRICS | SCHEMA_METRICS
    return metric not in of_others and not metric.startswith((KPI_PREFIX, CUSTOM_PREFIX))


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
