"""The SQL of the overview dashboard: on the views, with thresholds from the data.

Every query takes the model, and the version and slice where the figures have one, from template
variables, always quoted by ``:singlequote``. No figure is ever made up: where nothing was judged
the answer is NULL, which panels show in grey.
"""

# ruff: noqa: S608 - the parts are constants of this module; what people choose stays a quoted template variable
from __future__ import annotations

from collections.abc import Iterable

from driftline.checks import DRIFT_METRICS, QUALITY_METRICS


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))


MODEL = "model IN (${model:singlequote})"
VERSION = "$__conditionalAll(model_version IN (${model_version:singlequote}), $model_version)"
# What the inputs are has no version; it is shown whatever version is chosen.
VERSION_OR_NONE = "$__conditionalAll(model_version IN ('', ${model_version:singlequote}), $model_version)"
SLICE = "slice IN (${slice:singlequote})"
COLUMN = "$__conditionalAll(column IN (${column:singlequote}), $column)"
GRANULARITY = "granularity IN (${granularity:singlequote})"
IN_RANGE = "$__timeFilter(window_start)"

# One error figure per task, in the task's own unit.
QUALITY_METRIC = "metric IN ('mae', 'accuracy')"

# From good to bad, so that max() is the worst; panels.STATUSES maps the codes back to words.
STATUS_CODE = "transform(status, ['pass', 'insufficient', 'warn', 'fail', 'error'], [0, 1, 2, 3, 4], 4)"

_CHECK = "model_version, granularity, slice, source, column, check"

# The newest verdict of every check; a window with too few rows does not take back an earlier one.
_LATEST_CHECKS = f"""
SELECT *, countIf(status IN ('warn', 'fail', 'error')) OVER (PARTITION BY {_CHECK}) AS windows
FROM checks
WHERE {MODEL} AND {VERSION_OR_NONE} AND {SLICE} AND {IN_RANGE} AND status != 'insufficient'
ORDER BY window_start DESC LIMIT 1 BY {_CHECK}
"""

MODELS = "SELECT DISTINCT model FROM contracts ORDER BY model"
MODEL_VERSIONS = (
    f"SELECT DISTINCT model_version FROM metrics WHERE {MODEL} AND model_version != '' ORDER BY model_version"
)
SLICES = f"SELECT DISTINCT slice FROM metrics WHERE {MODEL} ORDER BY slice != 'all', slice"
COLUMNS = f"""
SELECT DISTINCT column FROM metrics
WHERE {MODEL} AND metric = 'quantile_50' AND source = 'stream' AND column != '' ORDER BY column
"""
GRANULARITIES = f"""
SELECT DISTINCT granularity FROM metrics WHERE {MODEL} AND {QUALITY_METRIC}
ORDER BY granularity NOT LIKE '%d', granularity
"""

_TRAFFIC_METRICS = "metric IN ('row_count', 'prediction_count', 'label_event_count') OR metric LIKE '%late\\_count'"
# Which checks speak for which layer. Data is judged as it arrives; a day's figures repeat what its hours said.
_LAYERS = {
    "traffic": f"source = 'stream' AND ({_TRAFFIC_METRICS})",
    "data": f"source = 'stream' AND NOT ({_TRAFFIC_METRICS})",
    "drift": f"metric IN ({_listed(DRIFT_METRICS)})",
    "quality": f"source = 'batch' AND metric IN ({_listed(QUALITY_METRICS)}) AND {GRANULARITY}",
}


def health(layer: str, title: str) -> str:
    """Return the worst status of one layer per window, NULL from the end of a window that has no successor."""
    return f"""
SELECT toDateTime64(edge.1, 3, 'UTC') AS time, max(edge.2) AS "{title}"
FROM ({_judged(layer)})
ARRAY JOIN [(window_start, code), (window_end, CAST(NULL, 'Nullable(UInt8)'))] AS edge
GROUP BY time ORDER BY time
"""


def _judged(layer: str) -> str:
    judged = f"""SELECT window_start, window_end, toNullable(toUInt8({STATUS_CODE})) AS code FROM checks
    WHERE {MODEL} AND {VERSION_OR_NONE} AND {SLICE} AND {IN_RANGE} AND {_LAYERS[layer]}"""
    if layer != "traffic":
        return judged
    # Traffic has an answer without any check: inputs without predictions is a warning.
    return f"""{judged}
    UNION ALL
    SELECT window_start, max(window_end), toNullable(toUInt8(if(countIf(metric = 'prediction_count') > 0, 0, 2)))
    FROM metrics
    WHERE {MODEL} AND {IN_RANGE} AND source = 'stream' AND column = '' AND metric IN ('row_count', 'prediction_count')
    GROUP BY window_start"""


FIRING_COUNT = f"""
SELECT if(count() = 0, NULL, countIf(status IN ('fail', 'error'))) AS firing
FROM ({_LATEST_CHECKS})
"""

FIRING_TABLE = f"""
SELECT status, check, column, model_version AS version, round(value, 4) AS value, round(threshold, 4) AS threshold,
    reason, window_start AS window, granularity, windows AS "windows failed", severity
FROM ({_LATEST_CHECKS})
WHERE status IN ('warn', 'fail', 'error')
ORDER BY {STATUS_CODE} DESC, severity = 'critical' DESC, windows DESC, check, column LIMIT 100
"""

EVENT_AGE = f"""
SELECT if(count() = 0, NULL, toUnixTimestamp(now()) - toUnixTimestamp(max(watermark))) AS age
FROM topic_progress
WHERE {MODEL} AND stream = 'inputs' AND $__timeFilter(watermark)
"""

DRIFTED_COLUMNS = f"""
SELECT if(count() = 0, NULL, countIf(value > threshold) / count()) AS drifted
FROM metrics
WHERE {MODEL} AND {SLICE} AND {IN_RANGE} AND metric = 'drift_score' AND column NOT IN ('prediction', 'label', '')
    AND window_start = (SELECT max(window_start) FROM metrics
        WHERE {MODEL} AND {SLICE} AND {IN_RANGE} AND metric = 'drift_score')
"""

COVERAGE_NOW = f"""
SELECT sum(n_labels) / nullIf(sum(n_predictions), 0) AS coverage
FROM metrics
WHERE {MODEL} AND {VERSION} AND {SLICE} AND {GRANULARITY} AND {IN_RANGE} AND {QUALITY_METRIC}
"""

EVENTS = f"""
SELECT window_start AS time,
    multiIf(metric = 'row_count', 'inputs', metric = 'label_event_count', 'labels',
        concat('predictions ', model_version)) AS series,
    sum(value) AS Value
FROM metrics
WHERE {MODEL} AND {VERSION_OR_NONE} AND {IN_RANGE} AND source = 'stream' AND column = ''
    AND metric IN ('row_count', 'prediction_count', 'label_event_count')
GROUP BY time, series ORDER BY time, series
"""

LATE_AND_DUPLICATE = f"""
SELECT window_start AS time,
    replaceAll(replace(
        if(startsWith(metric, 'late') OR startsWith(metric, 'duplicate'), concat('input_', metric), metric),
        '_count', ''), '_', ' ') AS series,
    sum(value) AS Value
FROM metrics
WHERE {MODEL} AND {VERSION_OR_NONE} AND {IN_RANGE} AND source = 'stream' AND column = ''
    AND (metric LIKE '%late\\_count' OR metric LIKE '%duplicate\\_count')
GROUP BY time, series ORDER BY time, series
"""

NULL_SHARE = f"""
SELECT window_start AS time, column AS series, sum(value * n) / sum(n) AS Value
FROM metrics
WHERE {MODEL} AND {VERSION_OR_NONE} AND {IN_RANGE} AND source = 'stream' AND metric = 'missing_share'
    AND column IN (
        SELECT column FROM metrics
        WHERE {MODEL} AND {VERSION_OR_NONE} AND {IN_RANGE} AND source = 'stream' AND metric = 'missing_share'
        GROUP BY column ORDER BY quantile(0.99)(value) DESC, column LIMIT 8)
GROUP BY time, series ORDER BY time, series
"""

NULL_SHARE_LIMITS = f"""
SELECT window_start AS time, concat('limit ', toString(round(100 * assumeNotNull(threshold), 1)), ' %') AS series,
    any(threshold) AS Value
FROM checks
WHERE {MODEL} AND {VERSION_OR_NONE} AND {IN_RANGE} AND source = 'stream' AND metric = 'missing_share'
    AND threshold IS NOT NULL
GROUP BY time, series ORDER BY time, series
"""

QUANTILES = f"""
SELECT window_start AS time, concat(column, replace(metric, 'quantile_', ' p')) AS series, max(value) AS Value
FROM metrics
WHERE {MODEL} AND {VERSION_OR_NONE} AND {COLUMN} AND {IN_RANGE} AND source = 'stream'
    AND metric IN ('quantile_05', 'quantile_50', 'quantile_95')
GROUP BY time, series ORDER BY time, series
"""

DRIFT_SCORE = f"""
SELECT window_start AS time, if(model_version = '', column, concat(column, ' ', model_version)) AS series,
    max(value) AS Value
FROM metrics
WHERE {MODEL} AND {VERSION_OR_NONE} AND {SLICE} AND {IN_RANGE} AND metric = 'drift_score'
    AND (column, model_version) IN (
        SELECT column, model_version FROM metrics
        WHERE {MODEL} AND {VERSION_OR_NONE} AND {SLICE} AND {IN_RANGE} AND metric = 'drift_score'
        GROUP BY column, model_version ORDER BY max(value / threshold) DESC, column, model_version LIMIT 10)
GROUP BY time, series ORDER BY time, series
"""

DRIFT_THRESHOLDS = f"""
SELECT window_start AS time, concat('threshold ', method) AS series, max(threshold) AS Value
FROM metrics
WHERE {MODEL} AND {VERSION_OR_NONE} AND {SLICE} AND {IN_RANGE} AND metric = 'drift_score' AND threshold IS NOT NULL
GROUP BY time, series ORDER BY time, series
"""


def quality(*, final: bool) -> str:
    """Return the error figure by version of windows whose labels are complete, or of those still waiting."""
    name, condition = ("final", "is_final") if final else ("provisional", "NOT is_final")
    return f"""
SELECT window_start AS time, model_version AS series, max(value) AS {name}
FROM metrics
WHERE {MODEL} AND {VERSION} AND {SLICE} AND {GRANULARITY} AND {IN_RANGE} AND {QUALITY_METRIC} AND {condition}
GROUP BY time, series ORDER BY time, series
"""


COVERAGE = f"""
SELECT window_start AS time, model_version AS series, max(coverage) AS Value
FROM metrics
WHERE {MODEL} AND {VERSION} AND {SLICE} AND {GRANULARITY} AND {IN_RANGE} AND {QUALITY_METRIC}
GROUP BY time, series ORDER BY time, series
"""

# A dead letter has no event time, only the moment it was appended: any range of event time would hide it.
DEAD_LETTERS = f"""
SELECT reason, count() AS letters, topic, max(append_time) AS last
FROM dead_letter_status
WHERE {MODEL} AND status IN ('new', 'failed')
GROUP BY reason, topic ORDER BY letters DESC, reason LIMIT 50
"""

JOBS = f"""
SELECT job, granularity AS per, window_start AS window, model_version AS version, toString(status) AS status,
    n_rows AS rows, coverage, revision, if(is_final, 'final', 'provisional') AS labels, seconds
FROM latest_runs
WHERE {MODEL} AND {VERSION_OR_NONE} AND {SLICE} AND {IN_RANGE}
ORDER BY window_start DESC, job, version LIMIT 8 BY job, granularity, version LIMIT 100
"""
