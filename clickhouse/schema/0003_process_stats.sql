-- One row per long-running process every 15 seconds: what it costs and what waits in it. ended marks its last row.
CREATE TABLE process_stats (
    role LowCardinality(String), host LowCardinality(String), pid UInt32, started DateTime64(3, 'UTC'),
    at DateTime64(3, 'UTC'), cpu_seconds Float64, rss_bytes UInt64, threads UInt16, pending_rows Nullable(UInt64),
    lag Nullable(UInt64), ended Bool, library LowCardinality(String)
) ENGINE = ReplacingMergeTree ORDER BY (role, host, pid, started, at)
TTL toDateTime(at) + INTERVAL 30 DAY;
