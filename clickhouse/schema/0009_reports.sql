-- Evidently's pages: one per window and version, as files under the home folder; the newest replaces.
-- `path` is relative to the folder `reports`; `left_out` says, as JSON, which columns and parts are not in it and why.
-- `is_deleted` marks a report that `driftline report prune` has removed.
CREATE TABLE reports (
    model LowCardinality(String), model_version LowCardinality(String), granularity LowCardinality(String),
    window_start DateTime64(3, 'UTC'), window_end DateTime64(3, 'UTC'), run_id UUID, path String, sha256 String,
    bytes UInt64, n_rows UInt64, left_out String, asked_by Enum8('person' = 1, 'check' = 2),
    reference_id LowCardinality(String), contract_id LowCardinality(String),
    created DateTime64(3, 'UTC') DEFAULT now64(3), is_deleted UInt8 DEFAULT 0
) ENGINE = ReplacingMergeTree(created, is_deleted) ORDER BY (model, model_version, granularity, window_start)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Where a report was also sent, and by which id it is known there, so that the next one can take its place.
CREATE TABLE report_sinks (
    model LowCardinality(String), model_version LowCardinality(String), granularity LowCardinality(String),
    window_start DateTime64(3, 'UTC'), sink LowCardinality(String), target String, sink_run_id String,
    created DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(created)
ORDER BY (model, model_version, granularity, window_start, sink, target)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- `report` is the page of the verdict's window and version on the preview's address; that of any version for verdicts on
-- inputs; empty where there is none.
CREATE OR REPLACE VIEW checks AS
SELECT v.model AS model, v.model_version AS model_version, v.window_start AS window_start, r.window_end AS window_end,
    v.granularity AS granularity, if(v.job = 'profile', 'stream', 'batch') AS source, v.slice AS slice,
    v.column AS column, v.metric AS metric, v.check AS check, v.severity AS severity, v.value AS value,
    v.threshold AS threshold, toString(v.status) AS status, v.reason AS reason, v.n AS n,
    if(v.slice = 'all', r.coverage, NULL) AS coverage, r.revision AS revision, r.is_final AS is_final,
    toNullable(v.run_id) AS run_id, r.contract_id AS contract_id, r.as_of AS computed_at,
    if(empty(p.path), '', concat('/reports/', p.path)) AS report
FROM verdicts AS v FINAL
INNER JOIN latest_runs AS r
    ON v.job = r.job AND v.model = r.model AND v.model_version = r.model_version AND v.granularity = r.granularity
    AND v.window_start = r.window_start AND v.run_id = r.run_id
LEFT JOIN (
    SELECT model, version AS model_version, granularity, window_start, argMax(path, created) AS path
    FROM reports FINAL ARRAY JOIN arrayDistinct(['', toString(model_version)]) AS version
    GROUP BY model, version, granularity, window_start
) AS p ON v.model = p.model AND v.model_version = p.model_version AND v.granularity = p.granularity
    AND v.window_start = p.window_start
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
    CAST(m.computed_at, 'DateTime64(6, \'UTC\')') AS computed_at, '' AS report
FROM stream_metrics AS m
INNER JOIN (
    SELECT * FROM check_rules FINAL WHERE (model, contract_id) IN (
        SELECT model, argMax(contract_id, contract_seq) FROM contracts FINAL GROUP BY model)
) AS c ON c.model = m.model AND c.column = m.column AND c.metric = m.metric AND c.source = 'stream'
    AND c.granularity = m.granularity
WHERE NOT m.is_complete;
