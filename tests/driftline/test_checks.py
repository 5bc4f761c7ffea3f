"""Rules out of a contract, and verdicts on values."""

from __future__ import annotations

import pytest

from driftline.checks import Rule, Verdict, judge, rules_of
from driftline.contract import parse_contract

SHARE = Rule("max_missing_share", "missing_share", "fare", "stream", "1h", None, 0.1, 30, "warning")
LEVEL = Rule("mean", "mean", "fare", "batch", "1d", 1.0, 5.0, 30, "critical")


def rules(body: str) -> list[Rule]:
    return rules_of(parse_contract(f"model: taxi\n{body}", "test"))


def keys(found: list[Rule], check: str) -> set[tuple[str, str, str]]:
    return {(rule.column, rule.source, rule.granularity) for rule in found if rule.check == check}


@pytest.mark.parametrize(
    ("value", "n", "status"),
    [
        (0.5, 29, "insufficient"),
        (0.1, 30, "pass"),
        # Three standard errors of a share of 0.1 in 100 rows are 0.09.
        (0.19, 100, "pass"),
        (0.1901, 100, "fail"),
        (0.11, 10_000, "fail"),
    ],
)
def test_a_share_fails_when_chance_does_not_explain_it(value: float, n: int, status: str) -> None:
    assert judge(SHARE, value, n).status == status


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, Verdict("fail", 1.0, "mean 0.5 is below 1")),
        (1.0, Verdict("pass", 1.0, "")),
        (5.0, Verdict("pass", 1.0, "")),
        (5.1, Verdict("fail", 5.0, "mean 5.1 is above 5")),
    ],
)
def test_other_figures_fail_beyond_their_bounds(value: float, expected: Verdict) -> None:
    assert judge(LEVEL, value, 30) == expected


def test_information_warns_and_never_fails() -> None:
    quiet = Rule("mean", "mean", "fare", "batch", "1d", None, 5.0, 1, "info")
    assert judge(quiet, 6.0, 10).status == "warn"


def test_bounds_of_columns_apply_to_open_hours_and_to_days() -> None:
    found = rules("columns: {fare: {type: number, max_missing_share: 0.1}, tip: {type: number}}")
    assert keys(found, "max_missing_share") == {("fare", "stream", "1h"), ("fare", "batch", "1d")}


def test_drift_bounds_every_column_a_test_covers_and_prediction_and_label() -> None:
    found = rules("columns: {a: {type: number}, b: {type: category}, c: {type: text}, d: {type: datetime}}")
    assert keys(found, "drift") == {(name, "batch", "1d") for name in ("a", "b", "prediction", "label")}


def test_a_check_without_a_column_applies_to_every_column_that_has_the_metric() -> None:
    found = rules(
        "columns: {a: {type: number, range: [0, 1]}, b: {type: number}, c: {type: category}}\n"
        "checks: [{metric: missing_share, max: 0.5}, {metric: out_of_range_share, max: 0}, {metric: mean, max: 1},"
        " {metric: row_count, min: 1}]"
    )
    assert {key[0] for key in keys(found, "missing_share")} == {"a", "b", "c"}
    assert {key[0] for key in keys(found, "out_of_range_share")} == {"a"}
    assert {key[0] for key in keys(found, "mean")} == {"a", "b"}
    assert {key[0] for key in keys(found, "row_count")} == {""}


def test_a_batch_check_applies_to_the_windows_of_the_job_that_has_its_metric() -> None:
    found = rules(
        "columns: {a: {type: number}}\nwindows: {data: 2d, drift: 3d, quality: [1h, 1d]}\n"
        "checks: [{metric: mae, max: 5, source: batch}, {metric: row_count, min: 9, source: batch},"
        " {metric: drift_score, max: 1, source: batch, column: a},"
        " {metric: r2, min: 0, source: batch, granularity: 1d}]"
    )
    assert {key[2] for key in keys(found, "mae")} == {"1h", "1d"}
    assert {key[2] for key in keys(found, "row_count")} == {"2d"}
    assert {key[2] for key in keys(found, "drift_score")} == {"3d"}
    assert {key[2] for key in keys(found, "r2")} == {"1d"}


def test_two_checks_of_one_metric_keep_both_bounds() -> None:
    found = rules(
        "columns: {a: {type: number}}\n"
        "checks: [{metric: mean, column: a, max: 1}, {metric: mean, column: a, max: 9, severity: critical}]"
    )
    assert [(rule.check, rule.upper) for rule in found if rule.metric == "mean"] == [("mean", 1.0), ("mean_2", 9.0)]


def test_the_error_ratio_is_bounded_in_the_largest_quality_window_only() -> None:
    found = rules("columns: {a: {type: number}}\nquality: {max_error_ratio: 1.3, min_labels: 40}")
    assert [(rule.granularity, rule.upper, rule.min_rows) for rule in found if rule.metric == "error_ratio"] == [
        ("1d", 1.3, 40)
    ]


def test_a_column_s_own_drift_threshold_goes_before_its_type_s() -> None:
    found = rules("columns: {a: {type: number, drift_threshold: 0.4}, b: {type: number}}")
    bounds = {rule.column: rule.upper for rule in found if rule.metric == "drift_score"}
    assert (bounds["a"], bounds["b"]) == (0.4, 0.1)


def test_a_distance_is_bounded_by_what_healthy_windows_score_and_a_p_value_from_below() -> None:
    found = rules(
        "columns: {a: {type: number}, b: {type: category}}\n"
        "drift: {number_method: ks, number_threshold: 0.01, max_ratio: 2, ratio_severity: critical, multivariate: true}"
    )
    drift = {rule.column: (rule.lower, rule.upper) for rule in found if rule.check == "drift"}
    assert drift == {"a": (0.01, None), "b": (None, 0.1), "prediction": (0.01, None), "label": (0.01, None)}
    ratios = [rule for rule in found if rule.upper == 2]
    assert [(rule.check, rule.metric, rule.column, rule.severity) for rule in ratios] == [
        ("drift_calibrated", "drift_ratio", "b", "critical"),
        ("drift_together", "domain_auc_ratio", "", "critical"),
    ]


def test_without_a_greatest_ratio_drift_is_not_judged_by_healthy_windows() -> None:
    found = rules("columns: {a: {type: number}}\ndrift: {max_ratio: null, multivariate: true}")
    assert {rule.metric for rule in found if rule.source == "batch"} == {"drift_score"}
