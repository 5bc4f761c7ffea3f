-- Slices, confidence intervals, histograms and worst rows. A run covers all slices of its window, so figures and
-- verdicts belong to the newest run whatever their slice.

-- Bins of a column in the window and in the reference, for redrawing: numbers have edges (one more than bins; the first
-- and last may be infinite), categories labels. `missing` counts rows without a value.
CREATE TABLE job_histograms (
    job LowCardinality(String), model LowCardinality(String), model_version LowCardinality(String),
    granularity LowCardinality(String), window_start DateTime64(3, 'UTC'), slice LowCardinality(String), run_id UUID,
    column LowCardinality(String), edges Array(Float64), labels Array(String), current Array(UInt64),
    reference Array(UInt64), missing UInt64, reference_missing UInt64
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(window_start)
ORDER BY (job, model, model_version, granularity, window_start, slice, run_id, column)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE job_rows (
    job LowCardinality(String), model LowCardinality(String), model_version LowCardinality(String),
    granularity LowCardinality(String), window_start DateTime64(3, 'UTC'), slice LowCardinality(String), run_id UUID,
    place UInt16, id String, prediction String, label String, error Float64
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(window_start)
ORDER BY (job, model, model_version, granularity, window_start, slice, run_id, place)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW histograms AS
SELECT h.model AS model, h.model_version AS model_version, h.window_start AS window_start, r.window_end AS window_end,
    h.granularity AS granularity, h.slice AS slice, h.column AS column, h.edges AS edges, h.labels AS labels,
    h.current AS current, h.reference AS reference, h.missing AS missing, h.reference_missing AS reference_missing,
    r.reference_id AS reference_id, r.revision AS revision, h.run_id AS run_id, r.as_of AS computed_at
FROM job_histograms AS h FINAL
INNER JOIN latest_runs AS r
    ON h.job = r.job AND h.model = r.model AND h.model_version = r.model_version AND h.granularity = r.granularity
    AND h.window_start = r.window_start AND h.run_id = r.run_id;

CREATE VIEW worst_rows AS
SELECT w.model AS model, w.model_version AS model_version, w.window_start AS window_start, r.window_end AS window_end,
    w.granularity AS granularity, w.slice AS slice, w.place AS place, w.id AS id, w.prediction AS prediction,
    w.label AS label, w.error AS error, r.revision AS revision, w.run_id AS run_id, r.as_of AS computed_at
FROM job_rows AS w FINAL
INNER JOIN latest_runs AS r
    ON w.job = r.job AND w.model = r.model AND w.model_version = r.model_version AND w.granularity = r.granularity
    AND w.window_start = r.window_start AND w.run_id = r.run_id;

-- `lower` and `upper` bound the figure's 95 % confidence interval, where it has one.
CREATE OR REPLACE VIEW metrics AS
SELECT model, model_version, window_start, window_end, granularity, 'stream' AS source, 'all' AS slice, column, metric,
    value, n, CAST(NULL, 'Nullable(UInt64)') AS n_predictions, CAST(NULL, 'Nullable(UInt64)') AS n_labels,
    CAST(NULL, 'Nullable(UInt64)') AS n_scored, CAST(NULL, 'Nullable(Float64)') AS coverage, revision,
    CAST(is_complete, 'Bool') AS is_final, CAST(NULL, 'Nullable(UUID)') AS run_id, 'driftline' AS engine, '' AS method,
    CAST(NULL, 'Nullable(Float64)') AS threshold, '' AS reference_id,
    CAST(computed_at, 'DateTime64(6, \'UTC\')') AS computed_at,
    CAST(NULL, 'Nullable(Float64)') AS lower, CAST(NULL, 'Nullable(Float64)') AS upper
FROM stream_metrics
UNION ALL
SELECT m.model AS model, m.model_version AS model_version, m.window_start AS window_start, r.window_end AS window_end,
    m.granularity AS granularity, if(m.job = 'profile', 'stream', 'batch') AS source, m.slice AS slice,
    m.column AS column, m.metric AS metric, m.value AS value, m.n AS n,
    if(m.job = 'quality' AND m.slice = 'all', toNullable(r.n_predictions), NULL) AS n_predictions,
    if(m.job = 'quality' AND m.slice = 'all', toNullable(r.n_labels), NULL) AS n_labels,
    if(m.job = 'quality' AND m.slice = 'all', toNullable(r.n_scored), NULL) AS n_scored,
    if(m.slice = 'all', r.coverage, NULL) AS coverage, r.revision AS revision,
    r.is_final AS is_final, toNullable(m.run_id) AS run_id, m.engine AS engine, m.method AS method,
    m.threshold AS threshold, r.reference_id AS reference_id, r.as_of AS computed_at, m.lower AS lower, m.upper AS upper
FROM job_metrics AS m FINAL
INNER JOIN latest_runs AS r
    ON m.job = r.job AND m.model = r.model AND m.model_version = r.model_version AND m.granularity = r.granularity
    AND m.window_start = r.window_start AND m.run_id = r.run_id;

CREATE OR REPLACE VIEW checks AS
SELECT v.model AS model, v.model_version AS model_version, v.window_start AS window_start, r.window_end AS window_end,
    v.granularity AS granularity, if(v.job = 'profile', 'stream', 'batch') AS source, v.slice AS slice,
    v.column AS column, v.metric AS metric, v.check AS check, v.severity AS severity, v.value AS value,
    v.threshold AS threshold, toString(v.status) AS status, v.reason AS reason, v.n AS n,
    if(v.slice = 'all', r.coverage, NULL) AS coverage, r.revision AS revision, r.is_final AS is_final, toNullable(v.run_id) AS run_id, r.contract_id AS contract_id,
    r.as_of AS computed_at
FROM verdicts AS v FINAL
INNER JOIN latest_runs AS r
    ON v.job = r.job AND v.model = r.model AND v.model_version = r.model_version AND v.granularity = r.granularity
    AND v.window_start = r.window_start AND v.run_id = r.run_id
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
