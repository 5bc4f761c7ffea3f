-- The views are the public contract (docs/reference/tables.md); tables may change, these stay.

-- How far each topic's current incarnation has got: the minimum over all its partitions; a partition that
-- has never been heard of holds everything back.
CREATE VIEW topic_progress AS
SELECT s.topic AS topic, s.source_id AS source_id, s.model AS model, s.stream AS stream, s.partitions AS partitions,
    if(count(w.hi) < any(s.partitions), toDateTime64(0, 3, 'UTC'), min(w.watermark)) AS watermark,
    if(count(w.hi) < any(s.partitions), toDateTime64(0, 3, 'UTC'), min(w.complete_to)) AS complete_to
FROM (
    SELECT topic, argMax(source_id, created) AS source_id, argMax(model, created) AS model,
        argMax(stream, created) AS stream, argMax(partitions, created) AS partitions
    FROM sources FINAL GROUP BY topic
) AS s
LEFT JOIN (SELECT topic, source_id, p, toNullable(hi) AS hi, watermark, complete_to FROM watermarks FINAL) AS w
    ON w.topic = s.topic AND w.source_id = s.source_id
GROUP BY s.topic, s.source_id, s.model, s.stream, s.partitions;

-- Counts per window over all partitions and segments, under the contract that each segment was last read with.
CREATE VIEW window_counts AS
SELECT c.model AS model, c.stream AS stream, c.topic AS topic, c.model_version AS model_version,
    c.window_start AS window_start, c.window_seconds AS window_seconds,
    addSeconds(c.window_start, c.window_seconds) AS window_end, c.column AS column, sum(c.n) AS n,
    sum(c.n_duplicate) AS n_duplicate, sum(c.n_late) AS n_late, sum(c.id_sum) AS id_sum, sum(c.n_missing) AS n_missing,
    sum(c.n_type) AS n_type, sum(c.n_nonfinite) AS n_nonfinite, sum(c.n_range) AS n_range, sum(c.n_unseen) AS n_unseen,
    sum(c.n_number) AS n_number, sum(c.total) AS total, sum(c.total_sq) AS total_sq, min(c.low) AS low,
    max(c.high) AS high, max(s.written) AS written
FROM segment_counts AS c FINAL
INNER JOIN (SELECT topic, source_id, p, lo, contract_id, written FROM segments FINAL) AS s
    ON c.topic = s.topic AND c.source_id = s.source_id AND c.p = s.p AND c.lo = s.lo AND c.contract_id = s.contract_id
GROUP BY c.model, c.stream, c.topic, c.model_version, c.window_start, c.window_seconds, c.column;

-- One row per stream metric; shares are of all rows of the window.
CREATE VIEW stream_metrics AS
SELECT w.model AS model, w.model_version AS model_version, w.window_start AS window_start, w.window_end AS window_end,
    multiIf(w.window_seconds % 86400 = 0, concat(toString(intDiv(w.window_seconds, 86400)), 'd'),
            w.window_seconds % 3600 = 0, concat(toString(intDiv(w.window_seconds, 3600)), 'h'),
            w.window_seconds % 60 = 0, concat(toString(intDiv(w.window_seconds, 60)), 'm'),
            concat(toString(w.window_seconds), 's')) AS granularity,
    w.column AS column, pair.1 AS metric, assumeNotNull(pair.2) AS value, w.n AS n,
    toUInt32(1 + least(w.n_late, 4294967294)) AS revision, p.complete_to >= w.window_end AS is_complete,
    w.written AS computed_at
FROM window_counts AS w
LEFT JOIN topic_progress AS p ON p.topic = w.topic
ARRAY JOIN if(w.column = '',
    [(multiIf(w.stream = 'inputs', 'row_count', w.stream = 'predictions', 'prediction_count',
        'label_event_count'),
        CAST(w.n, 'Nullable(Float64)')),
     (multiIf(w.stream = 'inputs', 'duplicate_count', w.stream = 'predictions', 'prediction_duplicate_count',
        'label_duplicate_count'), CAST(w.n_duplicate, 'Nullable(Float64)')),
     (multiIf(w.stream = 'inputs', 'late_count', w.stream = 'predictions', 'prediction_late_count',
        'label_late_count'), CAST(w.n_late, 'Nullable(Float64)'))],
    [('missing_share', CAST(w.n_missing / w.n, 'Nullable(Float64)')),
     ('type_violation_share', CAST(w.n_type / w.n, 'Nullable(Float64)')),
     ('nonfinite_share', CAST(w.n_nonfinite / w.n, 'Nullable(Float64)')),
     ('out_of_range_share', CAST(w.n_range / w.n, 'Nullable(Float64)')),
     ('unseen_share', CAST(w.n_unseen / w.n, 'Nullable(Float64)')),
     ('mean', if(w.n_number > 0, w.total / w.n_number, NULL)),
     ('std', if(w.n_number > 1,
        sqrt(greatest(0, (w.total_sq - w.total * w.total / w.n_number) / (w.n_number - 1))), NULL)),
     ('min', w.low), ('max', w.high)]) AS pair
WHERE pair.2 IS NOT NULL AND isFinite(pair.2) AND w.n > 0;

-- The newest run of every job and window; older ones stay in job_runs.
CREATE VIEW latest_runs AS
SELECT * FROM job_runs FINAL
ORDER BY as_of DESC, run_id DESC
LIMIT 1 BY job, model, model_version, granularity, window_start, slice;

CREATE VIEW metrics AS
SELECT model, model_version, window_start, window_end, granularity, 'stream' AS source, 'all' AS slice, column, metric,
    value, n, CAST(NULL, 'Nullable(UInt64)') AS n_predictions, CAST(NULL, 'Nullable(UInt64)') AS n_labels,
    CAST(NULL, 'Nullable(UInt64)') AS n_scored, CAST(NULL, 'Nullable(Float64)') AS coverage, revision,
    CAST(is_complete, 'Bool') AS is_final, CAST(NULL, 'Nullable(UUID)') AS run_id, 'driftline' AS engine, '' AS method,
    CAST(NULL, 'Nullable(Float64)') AS threshold, '' AS reference_id,
    CAST(computed_at, 'DateTime64(6, \'UTC\')') AS computed_at
FROM stream_metrics
UNION ALL
SELECT m.model AS model, m.model_version AS model_version, m.window_start AS window_start, r.window_end AS window_end,
    m.granularity AS granularity, if(m.job = 'profile', 'stream', 'batch') AS source, m.slice AS slice,
    m.column AS column, m.metric AS metric, m.value AS value, m.n AS n,
    if(m.job = 'quality', toNullable(r.n_predictions), NULL) AS n_predictions,
    if(m.job = 'quality', toNullable(r.n_labels), NULL) AS n_labels,
    if(m.job = 'quality', toNullable(r.n_scored), NULL) AS n_scored, r.coverage AS coverage, r.revision AS revision,
    r.is_final AS is_final, toNullable(m.run_id) AS run_id, m.engine AS engine, m.method AS method,
    m.threshold AS threshold, r.reference_id AS reference_id, r.as_of AS computed_at
FROM job_metrics AS m FINAL
INNER JOIN latest_runs AS r
    ON m.job = r.job AND m.model = r.model AND m.model_version = r.model_version AND m.granularity = r.granularity
    AND m.window_start = r.window_start AND m.slice = r.slice AND m.run_id = r.run_id;

-- Verdicts: stored ones of complete windows, and the rules in force applied to windows still open.
-- A share fails when it exceeds its bound by more than three standard errors of a share at the bound.
CREATE VIEW checks AS
SELECT v.model AS model, v.model_version AS model_version, v.window_start AS window_start, r.window_end AS window_end,
    v.granularity AS granularity, if(v.job = 'profile', 'stream', 'batch') AS source, v.slice AS slice,
    v.column AS column, v.metric AS metric, v.check AS check, v.severity AS severity, v.value AS value,
    v.threshold AS threshold, toString(v.status) AS status, v.reason AS reason, v.n AS n, r.coverage AS coverage,
    r.revision AS revision, r.is_final AS is_final, toNullable(v.run_id) AS run_id, r.contract_id AS contract_id,
    r.as_of AS computed_at
FROM verdicts AS v FINAL
INNER JOIN latest_runs AS r
    ON v.job = r.job AND v.model = r.model AND v.model_version = r.model_version AND v.granularity = r.granularity
    AND v.window_start = r.window_start AND v.slice = r.slice AND v.run_id = r.run_id
UNION ALL
SELECT m.model AS model, m.model_version AS model_version, m.window_start AS window_start, m.window_end AS window_end,
    m.granularity AS granularity, 'stream' AS source, 'all' AS slice, m.column AS column, m.metric AS metric,
    c.check AS check, c.severity AS severity, toNullable(m.value) AS value,
    if(c.upper IS NOT NULL AND m.value > c.upper OR c.lower IS NULL, c.upper, c.lower) AS threshold,
    multiIf(m.n < c.min_rows, 'insufficient',
        m.value > c.upper + if(c.is_share, 3 * sqrt(greatest(0, c.upper * (1 - c.upper)) / m.n), 0)
        OR m.value < c.lower - if(c.is_share, 3 * sqrt(greatest(0, c.lower * (1 - c.lower)) / m.n), 0),
        if(c.severity = 'info', 'warn', 'fail'), 'pass') AS status,
    'window still open' AS reason, m.n AS n, CAST(NULL, 'Nullable(Float64)') AS coverage, m.revision AS revision,
    CAST(false, 'Bool') AS is_final, CAST(NULL, 'Nullable(UUID)') AS run_id, c.contract_id AS contract_id,
    CAST(m.computed_at, 'DateTime64(6, \'UTC\')') AS computed_at
FROM stream_metrics AS m
INNER JOIN (
    SELECT * FROM check_rules FINAL WHERE (model, contract_id) IN (
        SELECT model, argMax(contract_id, contract_seq) FROM contracts FINAL GROUP BY model)
) AS c ON c.model = m.model AND c.column = m.column AND c.metric = m.metric AND c.source = 'stream'
    AND c.granularity = m.granularity
WHERE NOT m.is_complete;
