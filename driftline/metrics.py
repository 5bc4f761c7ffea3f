"""The registry of metrics: what each name means, its unit, and which direction is worse.

Names are stable and lower snake case: they are what `metrics`, checks, dashboards and alerts refer
to. A profile also gives ``quantile_NN`` and ``type_count_NAME`` families.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher_is_worse", "lower_is_worse", "away_from_zero_is_worse", "neutral"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; ``unit`` "label" means the unit of the label, "column" that of the column."""

    name: str
    unit: str
    direction: Direction
    description: str


def _named(rows: str) -> dict[str, Metric]:
    directions: dict[str, Direction] = {
        "+": "higher_is_worse", "-": "lower_is_worse", "0": "away_from_zero_is_worse", ".": "neutral"
    }  # fmt: skip
    found = {}
    for row in rows.strip().splitlines():
        name, unit, direction, description = row.split(maxsplit=3)
        found[name] = Metric(name, unit, directions[direction], description)
    return found


METRICS = _named("""
row_count                  rows        .  inputs of the window, duplicates not counted
prediction_count           rows        .  predictions of the window, duplicates not counted
label_count                rows        .  predictions of the window that have a label
label_event_count          rows        .  label events by label time, duplicates not counted, corrections included
duplicate_count            rows        +  inputs seen again with the same id
prediction_duplicate_count rows        +  predictions seen again with the same id and version
label_duplicate_count      rows        +  labels seen again with the same id, time and value
late_count                 rows        +  inputs that arrived after their window was complete
prediction_late_count      rows        +  predictions that arrived after their window was complete
label_late_count           rows        +  labels that arrived after their window was complete
audit_mismatch             rows        +  inputs by which counts and raw rows differ; absent where they never did
prediction_audit_mismatch  rows        +  predictions by which counts and raw rows differ; absent where they never did
label_audit_mismatch       rows        +  labels by which counts and raw rows differ; absent where they never did
missing_share              share       +  rows without a value in the column
type_violation_share       share       +  rows whose value has the wrong type
nonfinite_share            share       +  rows whose value is NaN or infinite
out_of_range_share         share       +  rows whose value lies outside the contract's range
unseen_share               share       +  rows whose category neither the contract nor the reference knows
duplicate_share            share       +  rows equal to another in every feature
constant                   flag        +  1 where the column holds a single value
mean                       column      .  arithmetic mean of the column's numbers
std                        column      .  sample standard deviation of the column's numbers
min                        column      .  smallest number of the column
max                        column      .  greatest number of the column
quantile_05                column      .  5 % of the column's numbers lie below it (stream: estimated by a sketch)
quantile_25                column      .  25 % lie below it
quantile_50                column      .  the median
quantile_75                column      .  75 % lie below it
quantile_95                column      .  95 % lie below it
type_fractional_count      values      .  values sketched as numbers with a fraction
type_integral_count        values      .  values sketched as whole numbers
type_boolean_count         values      .  values sketched as booleans
type_string_count          values      .  values sketched as text
type_object_count          values      .  values of any other kind
distinct_count             values      .  different values of the column (estimated by a sketch in profiles)
drift_score                score       +  distance of the column from the reference, by the method named beside it
drift_detected             flag        +  1 where the statistical test itself says drift
mae                        label       +  mean absolute error
rmse                       label       +  root mean squared error
mean_error                 label       0  mean of prediction minus label
error_std                  label       +  standard deviation of prediction minus label
max_error                  label       +  greatest absolute error
mape                       percent     +  mean absolute percentage error
r2                         share       -  share of the label's variance that the predictions explain
coverage                   share       -  predictions that have a label
scored_count               rows        .  labels in the valid range, which quality rests on
failed_count               rows        +  predictions whose status is not ok
error_ratio                ratio       +  mae over the reference's mae of the same version
""")


def is_known(name: str) -> bool:
    """Return whether ``name`` is a metric's.

    >>> is_known("mae"), is_known("quantile_50"), is_known("mea")
    (True, True, False)
    """
    return name in METRICS


def similar_names(name: str) -> list[str]:
    """Return the known names closest to ``name``, best first, at most three.

    >>> similar_names("missing_shares")
    ['missing_share']
    """
    return difflib.get_close_matches(name, METRICS, n=3, cutoff=0.8)
