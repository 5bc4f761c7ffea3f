-- Audit and healing: what each audit found, what it mended, and figures made from the raw rows where the counts of the
-- segments are not the window's, because one identity lies in two partitions.

CREATE TABLE audit_results (
    model LowCardinality(String), topic LowCardinality(String), stream LowCardinality(String), at DateTime64(6, 'UTC'),
    scope Enum8('all' = 1, 'recent' = 2), produced UInt64, ok UInt64, duplicate UInt64, dead UInt64, pending UInt64,
    lost UInt64, windows UInt64, unsettled UInt64, healed UInt64, mismatches UInt64, findings Array(String),
    seconds Float32
) ENGINE = ReplacingMergeTree ORDER BY (model, topic, at) TTL toDateTime(at) + INTERVAL 90 DAY;

-- A row once a window has differed; `difference` is 0 again when it no longer does.
CREATE TABLE audit_windows (
    model LowCardinality(String), topic LowCardinality(String), stream LowCardinality(String),
    window_start DateTime64(3, 'UTC'), model_version LowCardinality(String), at DateTime64(6, 'UTC'), n UInt64,
    raw_n UInt64, difference UInt64
) ENGINE = ReplacingMergeTree(at) ORDER BY (model, topic, window_start, model_version);

-- `counted_n` and `counted_id_sum` are the window's sums over segments that the row was made for: while these are what
-- the segments say, the row stands for them; one event more, and the segments speak until the next audit.
CREATE TABLE window_corrections (
    model LowCardinality(String), topic LowCardinality(String), stream LowCardinality(String),
    window_start DateTime64(3, 'UTC'), model_version LowCardinality(String), column LowCardinality(String),
    counted_n UInt64, counted_id_sum UInt64, healing UInt32, at DateTime64(6, 'UTC'), n UInt64, n_duplicate UInt64,
    n_late UInt64, id_sum UInt64, n_missing UInt64, n_type UInt64, n_nonfinite UInt64, n_range Nullable(UInt64),
    n_unseen Nullable(UInt64), n_number UInt64, total Float64, total_sq Float64, low Nullable(Float64),
    high Nullable(Float64)
) ENGINE = ReplacingMergeTree(at) ORDER BY (model, topic, window_start, model_version, column)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What was mended, when, from what: windows corrected, offsets read again.
CREATE TABLE healings (
    model LowCardinality(String), topic LowCardinality(String), stream LowCardinality(String), at DateTime64(6, 'UTC'),
    action Enum8('corrected' = 1, 'read again' = 2), source_id String, p UInt16, from_o UInt64, to_o UInt64,
    window_start DateTime64(3, 'UTC'), model_version LowCardinality(String), n_before UInt64, n_after UInt64,
    id_sum_before UInt64, id_sum_after UInt64
) ENGINE = ReplacingMergeTree ORDER BY (model, topic, at, action, source_id, p, from_o, window_start, model_version);

-- What the segments say, under the contract that each was last read with.
CREATE VIEW segment_window_counts AS
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

-- Corrections, and whether each is in force.
CREATE VIEW judged_corrections AS
SELECT k.model AS model, k.topic AS topic, k.window_start AS window_start, k.model_version AS model_version,
    k.column AS column, k.healing AS healing, k.at AS at, k.n AS n, k.n_duplicate AS n_duplicate, k.n_late AS n_late,
    k.id_sum AS id_sum, k.n_missing AS n_missing, k.n_type AS n_type, k.n_nonfinite AS n_nonfinite,
    k.n_range AS n_range, k.n_unseen AS n_unseen, k.n_number AS n_number, k.total AS total, k.total_sq AS total_sq,
    k.low AS low, k.high AS high, k.counted_n = w.n AND k.counted_id_sum = w.id_sum AS in_force
FROM (SELECT * FROM window_corrections FINAL) AS k
LEFT JOIN (
    SELECT model, topic, window_start, model_version, n, id_sum FROM segment_window_counts
    WHERE column = '' AND (model, topic, window_start, model_version) IN (
        SELECT model, topic, window_start, model_version FROM window_corrections)
) AS w ON w.model = k.model AND w.topic = k.topic AND w.window_start = k.window_start
    AND w.model_version = k.model_version;

-- Counts per window over all partitions and segments; corrected from the raw rows where an audit has healed the window.
CREATE OR REPLACE VIEW window_counts AS
SELECT w.model AS model, w.stream AS stream, w.topic AS topic, w.model_version AS model_version,
    w.window_start AS window_start, w.window_seconds AS window_seconds, w.window_end AS window_end, w.column AS column,
    if(k.in_force, k.n, w.n) AS n, if(k.in_force, k.n_duplicate, w.n_duplicate) AS n_duplicate,
    if(k.in_force, k.n_late, w.n_late) AS n_late, if(k.in_force, k.id_sum, w.id_sum) AS id_sum,
    if(k.in_force, k.n_missing, w.n_missing) AS n_missing, if(k.in_force, k.n_type, w.n_type) AS n_type,
    if(k.in_force, k.n_nonfinite, w.n_nonfinite) AS n_nonfinite, if(k.in_force, k.n_range, w.n_range) AS n_range,
    if(k.in_force, k.n_unseen, w.n_unseen) AS n_unseen, if(k.in_force, k.n_number, w.n_number) AS n_number,
    if(k.in_force, k.total, w.total) AS total, if(k.in_force, k.total_sq, w.total_sq) AS total_sq,
    if(k.in_force, k.low, w.low) AS low, if(k.in_force, k.high, w.high) AS high,
    if(k.in_force, greatest(w.written, CAST(k.at, 'DateTime64(3, \'UTC\')')), w.written) AS written,
    CAST(k.in_force, 'Bool') AS is_healed, k.healing AS n_healings
FROM segment_window_counts AS w
LEFT JOIN judged_corrections AS k
    ON k.model = w.model AND k.topic = w.topic AND k.window_start = w.window_start
    AND k.model_version = w.model_version AND k.column = w.column;

-- One row per stream metric; shares are of all rows of the window.
CREATE OR REPLACE VIEW stream_metrics AS
SELECT w.model AS model, w.model_version AS model_version, w.window_start AS window_start, w.window_end AS window_end,
    multiIf(w.window_seconds % 86400 = 0, concat(toString(intDiv(w.window_seconds, 86400)), 'd'),
            w.window_seconds % 3600 = 0, concat(toString(intDiv(w.window_seconds, 3600)), 'h'),
            w.window_seconds % 60 = 0, concat(toString(intDiv(w.window_seconds, 60)), 'm'),
            concat(toString(w.window_seconds), 's')) AS granularity,
    w.column AS column, pair.1 AS metric, assumeNotNull(pair.2) AS value, w.n AS n,
    toUInt32(1 + least(w.n_late + w.n_healings, 4294967294)) AS revision, p.complete_to >= w.window_end AS is_complete,
    w.written AS computed_at
FROM window_counts AS w
LEFT JOIN topic_progress AS p ON p.topic = w.topic
LEFT JOIN (
    SELECT model, topic, window_start, model_version, toNullable(difference) AS difference FROM audit_windows FINAL
) AS a ON a.model = w.model AND a.topic = w.topic AND a.window_start = w.window_start
    AND a.model_version = w.model_version
ARRAY JOIN if(w.column = '',
    [(multiIf(w.stream = 'inputs', 'row_count', w.stream = 'predictions', 'prediction_count',
        'label_event_count'),
        CAST(w.n, 'Nullable(Float64)')),
     (multiIf(w.stream = 'inputs', 'duplicate_count', w.stream = 'predictions', 'prediction_duplicate_count',
        'label_duplicate_count'), CAST(w.n_duplicate, 'Nullable(Float64)')),
     (multiIf(w.stream = 'inputs', 'late_count', w.stream = 'predictions', 'prediction_late_count',
        'label_late_count'), CAST(w.n_late, 'Nullable(Float64)')),
     (multiIf(w.stream = 'inputs', 'audit_mismatch', w.stream = 'predictions', 'prediction_audit_mismatch',
        'label_audit_mismatch'), CAST(a.difference, 'Nullable(Float64)'))],
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
