-- Tables of driftline. Every replaced row is read with FINAL; the greatest version wins.
-- No partition key may hold a column outside the sorting key, or one identity could sit in two partitions.
-- seg_version = (hi << 16) | contract_seq: a longer prefix of a segment wins, then the newer contract.

CREATE TABLE sources (
    topic LowCardinality(String), source_id String, stream LowCardinality(String), model LowCardinality(String),
    segment_size UInt32, partitions UInt16, created DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree ORDER BY (topic, source_id);

CREATE TABLE contracts (
    model LowCardinality(String), contract_id String, contract_seq UInt16, body String CODEC(ZSTD(3)),
    registered DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree ORDER BY (model, contract_id);

CREATE TABLE check_rules (
    model LowCardinality(String), contract_id String, check LowCardinality(String), metric LowCardinality(String),
    column LowCardinality(String), slice LowCardinality(String), source LowCardinality(String),
    granularity LowCardinality(String), lower Nullable(Float64), upper Nullable(Float64), is_share Bool,
    min_rows UInt64, severity LowCardinality(String)
) ENGINE = ReplacingMergeTree ORDER BY (model, contract_id, check, column, slice, source, granularity);

CREATE TABLE predictions (
    model LowCardinality(String), model_version LowCardinality(String), id String, event_time DateTime64(3, 'UTC'),
    append_time DateTime64(3, 'UTC'), id_hash UInt64, prediction Nullable(Float64),
    class LowCardinality(Nullable(String)), probabilities Map(LowCardinality(String), Float64),
    latency_ms Nullable(Float32), status LowCardinality(String), source_id LowCardinality(String), p UInt16, o UInt64,
    ver UInt64 MATERIALIZED bitNot(o)
) ENGINE = ReplacingMergeTree(ver) PARTITION BY toYYYYMM(event_time)
ORDER BY (model, toStartOfHour(event_time), id, model_version) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE labels (
    model LowCardinality(String), id String, label_time DateTime64(3, 'UTC'), append_time DateTime64(3, 'UTC'),
    id_hash UInt64, label Nullable(Float64), label_class LowCardinality(Nullable(String)),
    source_id LowCardinality(String), p UInt16, o UInt64, ver UInt64 MATERIALIZED bitNot(o)
) ENGINE = ReplacingMergeTree(ver) PARTITION BY toYYYYMM(label_time)
ORDER BY (model, id, label_time, ifNull(toString(label), ifNull(label_class, '')))
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE segment_counts (
    model LowCardinality(String), topic LowCardinality(String), stream LowCardinality(String),
    window_start DateTime64(3, 'UTC'), window_seconds UInt32, model_version LowCardinality(String),
    column LowCardinality(String), source_id LowCardinality(String), p UInt16, lo UInt64,
    contract_id LowCardinality(String), seg_version UInt64, n UInt64, n_duplicate UInt64, n_late UInt64, id_sum UInt64,
    n_missing UInt64, n_type UInt64, n_nonfinite UInt64, n_range Nullable(UInt64), n_unseen Nullable(UInt64),
    n_number UInt64, total Float64, total_sq Float64, low Nullable(Float64), high Nullable(Float64),
    writer LowCardinality(String)
) ENGINE = ReplacingMergeTree(seg_version) PARTITION BY toYYYYMM(window_start)
ORDER BY (model, topic, window_start, model_version, column, source_id, p, lo, contract_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE segment_profiles (
    model LowCardinality(String), topic LowCardinality(String), stream LowCardinality(String),
    window_start DateTime64(3, 'UTC'), window_seconds UInt32, model_version LowCardinality(String),
    source_id LowCardinality(String), p UInt16, lo UInt64, contract_id LowCardinality(String), seg_version UInt64,
    n UInt64, blob String CODEC(ZSTD(3)), blob_crc32 UInt32, library LowCardinality(String)
) ENGINE = ReplacingMergeTree(seg_version) PARTITION BY toYYYYMM(window_start)
ORDER BY (model, topic, window_start, model_version, source_id, p, lo, contract_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE segments (
    model LowCardinality(String), topic LowCardinality(String), source_id LowCardinality(String), p UInt16, lo UInt64,
    seg_version UInt64, hi UInt64, contract_id LowCardinality(String), n_records UInt64, n_ok UInt64,
    n_duplicate UInt64, n_dead UInt64, n_marker UInt64, n_control UInt64, watermark DateTime64(3, 'UTC'),
    complete_to DateTime64(3, 'UTC'), producers String, writer LowCardinality(String),
    algorithm_version LowCardinality(String), written DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(seg_version) ORDER BY (topic, source_id, p, lo)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE watermarks (
    topic LowCardinality(String), source_id LowCardinality(String), p UInt16, watermark DateTime64(3, 'UTC'),
    complete_to DateTime64(3, 'UTC'), basis Enum8('record' = 1, 'marker' = 2, 'idle' = 3, 'end' = 4), hi UInt64,
    ver UInt64 MATERIALIZED toUInt64(toUnixTimestamp64Milli(complete_to)) * 2 + (basis = 'end')
) ENGINE = ReplacingMergeTree(ver) ORDER BY (topic, source_id, p);

CREATE TABLE dead_letters (
    model LowCardinality(String), topic LowCardinality(String), source_id LowCardinality(String), p UInt16, o UInt64,
    rev UInt32, status Enum8('new' = 0, 'redriven' = 1, 'discarded' = 2), reason LowCardinality(String), error String,
    raw String CODEC(ZSTD(3)), raw_sha256 String, raw_bytes UInt64, append_time DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(rev) ORDER BY (topic, source_id, p, o)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE quarantine (
    topic LowCardinality(String), source_id LowCardinality(String), p UInt16, o UInt64, attempts UInt32,
    reason LowCardinality(String)
) ENGINE = ReplacingMergeTree(attempts) ORDER BY (topic, source_id, p, o);

CREATE TABLE data_gaps (
    topic LowCardinality(String), source_id LowCardinality(String), p UInt16, from_o UInt64, to_o UInt64,
    reason LowCardinality(String), seen DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree ORDER BY (topic, source_id, p, from_o);

-- A run's key holds its run_id, so that a run that dies half-way never hides the last good one
-- and earlier revisions stay readable. The row is written last: it is the commit record.
CREATE TABLE job_runs (
    job LowCardinality(String), model LowCardinality(String), model_version LowCardinality(String),
    granularity LowCardinality(String), window_start DateTime64(3, 'UTC'), window_end DateTime64(3, 'UTC'),
    slice LowCardinality(String), run_id UUID, as_of DateTime64(6, 'UTC'), fingerprint UInt64, parts String CODEC(ZSTD(3)),
    revision UInt32,
    status Enum8('ok' = 1, 'empty' = 2, 'insufficient' = 3), n_rows UInt64, n_predictions UInt64, n_labels UInt64,
    n_scored UInt64, coverage Nullable(Float64), is_final Bool, contract_id LowCardinality(String),
    reference_id LowCardinality(String), algorithm_version LowCardinality(String), seconds Float32,
    ver UInt64 MATERIALIZED toUInt64(toUnixTimestamp64Micro(as_of))
) ENGINE = ReplacingMergeTree(ver) PARTITION BY toYYYYMM(window_start)
ORDER BY (job, model, model_version, granularity, window_start, slice, run_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE job_metrics (
    job LowCardinality(String), model LowCardinality(String), model_version LowCardinality(String),
    granularity LowCardinality(String), window_start DateTime64(3, 'UTC'), slice LowCardinality(String), run_id UUID,
    column LowCardinality(String), metric LowCardinality(String), value Float64, engine LowCardinality(String),
    method LowCardinality(String), threshold Nullable(Float64), lower Nullable(Float64), upper Nullable(Float64), n UInt64
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(window_start)
ORDER BY (job, model, model_version, granularity, window_start, slice, run_id, column, metric)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE verdicts (
    job LowCardinality(String), model LowCardinality(String), model_version LowCardinality(String),
    granularity LowCardinality(String), window_start DateTime64(3, 'UTC'), slice LowCardinality(String), run_id UUID,
    check LowCardinality(String), column LowCardinality(String), metric LowCardinality(String),
    severity LowCardinality(String), status Enum8('pass' = 1, 'warn' = 2, 'fail' = 3, 'error' = 4, 'insufficient' = 5),
    value Nullable(Float64), threshold Nullable(Float64), n UInt64, reason String
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(window_start)
ORDER BY (job, model, model_version, granularity, window_start, slice, run_id, check, column)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE job_errors (
    job LowCardinality(String), model LowCardinality(String), model_version LowCardinality(String),
    granularity LowCardinality(String), window_start DateTime64(3, 'UTC'), column LowCardinality(String), run_id UUID,
    attempt UInt8, at DateTime64(3, 'UTC') DEFAULT now64(3), error String
) ENGINE = MergeTree PARTITION BY toYYYYMM(window_start) ORDER BY (job, model, window_start, at);

-- The reference's rows travel as one Parquet file (base64), so that a worker on any machine sees the same frame.
CREATE TABLE reference_sets (
    model LowCardinality(String), reference_id String, source String, created DateTime64(3, 'UTC') DEFAULT now64(3),
    promoted DateTime64(3, 'UTC') DEFAULT now64(3), window_start DateTime64(3, 'UTC'), window_end DateTime64(3, 'UTC'),
    n_rows UInt64, contract_id LowCardinality(String), facts String CODEC(ZSTD(3)), frame String CODEC(NONE),
    frame_crc32 UInt32
) ENGINE = ReplacingMergeTree(promoted) ORDER BY (model, reference_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE annotations (
    model LowCardinality(String), at DateTime64(3, 'UTC'), until Nullable(DateTime64(3, 'UTC')),
    kind LowCardinality(String), title String, text String, tags Array(String)
) ENGINE = ReplacingMergeTree ORDER BY (model, at, kind, title);
