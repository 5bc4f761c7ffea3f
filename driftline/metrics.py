"""The registry of metrics: what each name means, its unit, and which direction is worse.

Names are stable and lower snake case: they are what `metrics`, checks, dashboards and alerts refer
to. A profile also gives ``quantile_NN`` and ``type_count_NAME`` families.
"""

from __future__ import annotations

import difflib
import re
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
drift_expected             score       .  what 99 of 100 healthy windows of that size score at most
drift_ratio                ratio       +  drift_score over drift_expected
drift_importance           ratio       +  drift_ratio times the importance that the contract gives the column
domain_auc                 share       +  how well a classifier tells the window from the reference; 0.5 is not at all
domain_auc_expected        share       .  what 99 of 100 healthy windows stay below
domain_auc_ratio           ratio       +  domain_auc over domain_auc_expected, both above one half
schema_change_count        columns     +  columns that lost or regained all their values; method names them
mean_shift                 column      .  mean of the window minus that of the reference, within the contract's range
median_shift               column      .  median of the window minus that of the reference
share_moved                share       +  rows that changed their value, as shares go (total variation)
value_shift                share       .  greatest change of a value's share; method names the value
new_value_count            values      +  values that the reference does not have; method names the most frequent
mae                        label       +  mean absolute error
rmse                       label       +  root mean squared error
mean_error                 label       0  mean of prediction minus label
error_std                  label       +  standard deviation of prediction minus label
max_error                  label       +  greatest absolute error
mape                       percent     +  mean absolute percentage error of the rows whose label is not zero
mape_evidently             percent     +  the same as Evidently has it: a label of zero counts as an error of 100 %
abs_error_quantile_50      label       +  median absolute error
abs_error_quantile_90      label       +  90 % of the absolute errors lie below it
abs_error_quantile_95      label       +  95 % lie below it
abs_error_quantile_99      label       +  99 % lie below it
mae_dummy                  label       .  mae of always answering the reference's median label
skill                      share       -  1 - mae over the dummy's (classes: log loss, of the reference's class shares)
accuracy                   share       -  answers that are right
precision                  share       -  positive answers that are right (several classes: mean over classes)
recall                     share       -  positives that were found (several classes: mean over classes)
f1                         share       -  harmonic mean of precision and recall (several classes: mean over classes)
roc_auc                    share       -  chance that a positive has a greater score than a negative (mean over classes)
pr_auc                     share       -  average precision, the area under the steps of the precision-recall curve
log_loss                   nats        +  mean of -log(probability that the true class was given)
brier_score                score       +  mean squared error of the probabilities (several classes: summed over classes)
calibration_error          share       +  mean distance of probability and share that came true, in 10 bins
true_positive_count        rows        .  positives answered as positive; of one class against the rest
false_positive_count       rows        .  negatives answered as positive
false_negative_count       rows        .  positives answered as negative
true_negative_count        rows        .  negatives answered as negative
positive_share             share       .  labels that are positive
predicted_positive_share   share       .  answers that are positive
r2                         share       -  share of the label's variance that the predictions explain
coverage                   share       -  predictions that have a label
scored_count               rows        .  labels in the valid range, which quality rests on
assumed_count              rows        .  of these, labels that never came and count as `label.absent_means`
labelled_share             share       -  requests of the window that have a label, whichever version answered them
expected_coverage          ratio       -  labelled_share over the contract's `label.expected_share`
label_delay_quantile_50    seconds     .  half of the labels come within so long after their event, by label time
label_delay_quantile_95    seconds     .  95 % of the labels come within so long
corrected_label_count      rows        .  requests of the window that have more than one label
orphan_label_count         rows        +  labels of this label time whose id no prediction has
failed_count               rows        +  predictions whose status is not ok
error_ratio                ratio       +  mae over the reference's of the same version (classes: share of wrong answers)
slice_excess               label       +  mean error of the slice minus that of the whole window (classes: error rate)
slice_excess_share         share       +  share of the window's whole error that the slice's excess makes up
slice_p_value              share       -  chance of such an excess without a cause, corrected for the number of slices
slice_rank                 rank        .  1 is the slice that is most worse than the window; proven ones come first
parity_gap                 label       +  greatest minus smallest mae over the groups of a slice (classes: accuracy)
recall_gap                 share       +  greatest minus smallest recall of the positive class over the groups
selection_rate_gap         share       +  greatest minus smallest share predicted positive over the groups
mae_difference             label       +  the challenger's mae minus the champion's on the same requests
accuracy_difference        share       -  the challenger's accuracy minus the champion's
log_loss_difference        nats        +  the challenger's log loss minus the champion's
probability_better         share       -  probability that the challenger errs less than the champion
pair_count                 rows        .  requests that both versions answered and that have a label
estimated_mae              label       +  mae expected before labels, by an error model that the reference taught
estimated_accuracy         share       -  accuracy expected before labels, out of calibrated probabilities
estimated_precision        share       -  precision expected before labels
estimated_recall           share       -  recall expected before labels
estimated_f1               share       -  F1 expected before labels
error_contribution         label       0  expected error that the column's values add (classes: share of wrong answers)
estimate_gap               label       +  realised minus expected error of the same rows (classes: share wrong)
estimate_error             label       +  mean size of the gap over the final windows before this one
estimate_bias              label       0  mean of expected minus realised error over the final windows before this one
mae_corrected              label       +  mae with the expected error of the rows whose label has not come
accuracy_corrected         share       -  accuracy with the expected one of the rows whose label has not come
model_age_days             days        .  from the version's first window to this window's end
reference_age_days         days        .  from the reference's end to this window's end; negative inside it
""")


KPI_PREFIX = "kpi_"
CUSTOM_PREFIX = "custom_"
FAMILIES = _named("""
custom_NAME                own         .  the contract's custom metric of that name; by class in column class=NAME
kpi_NAME                   own         .  the contract's KPI of that name
""")
"""Metrics whose names the contract completes; NAME is what it says."""


def is_known(name: str) -> bool:
    """Return whether ``name`` is a metric's, or one of a family's.

    >>> is_known("mae"), is_known("quantile_50"), is_known("mea"), is_known("kpi_revenue")
    (True, True, False, True)
    """
    return name in METRICS or any(
        re.fullmatch(family.replace("NAME", "[a-z][a-z0-9_]*"), name) is not None for family in FAMILIES
    )


def similar_names(name: str) -> list[str]:
    """Return the known names closest to ``name``, best first, at most three.

    >>> similar_names("missing_shares")
    ['missing_share']
    """
    return difflib.get_close_matches(name, METRICS, n=3, cutoff=0.8)
