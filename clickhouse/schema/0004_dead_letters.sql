-- Dead letters: which contract judged them, what was done about them, how long their bytes stay. A segment counted
-- again under another contract keeps only the letters of the contract in its commit record, so the contract is a key.
ALTER TABLE dead_letters
    MODIFY COLUMN status Enum8('new' = 0, 'redriven' = 1, 'discarded' = 2, 'copy' = 3),
    ADD COLUMN IF NOT EXISTS contract_id LowCardinality(String),
    ADD COLUMN IF NOT EXISTS redrive_of String,
    ADD COLUMN IF NOT EXISTS redrives UInt16,
    ADD COLUMN IF NOT EXISTS acted_at Nullable(DateTime64(3, 'UTC')),
    ADD COLUMN IF NOT EXISTS acted_by LowCardinality(String),
    ADD COLUMN IF NOT EXISTS note String,
    ADD COLUMN IF NOT EXISTS written DateTime64(3, 'UTC') DEFAULT now64(3),
    ADD COLUMN IF NOT EXISTS keep_seconds UInt32 DEFAULT 1209600,
    MODIFY ORDER BY (topic, source_id, p, o, contract_id);

-- The bytes go, the row stays: the audit counts it.
ALTER TABLE dead_letters MODIFY COLUMN raw String CODEC(ZSTD(3))
    TTL toDateTime(least(toUInt64(toUnixTimestamp64Milli(written) / 1000) + keep_seconds, 4294967295));

-- The dead letters that the commit records count: one row per record.
CREATE VIEW counted_dead_letters AS
SELECT d.model AS model, d.topic AS topic, d.source_id AS source_id, d.p AS p, d.o AS o, d.rev AS rev,
    d.reason AS reason, d.error AS error, d.raw AS raw, d.raw_sha256 AS raw_sha256, d.raw_bytes AS raw_bytes,
    d.append_time AS append_time, d.contract_id AS contract_id, d.redrive_of AS redrive_of, d.redrives AS redrives,
    d.written AS written
FROM (SELECT * FROM dead_letters FINAL) AS d
ASOF INNER JOIN (SELECT topic, source_id, p, lo, hi, contract_id FROM segments FINAL) AS s
    ON s.topic = d.topic AND s.source_id = d.source_id AND s.p = d.p AND d.o >= s.lo
WHERE d.o < s.hi AND d.contract_id IN ('', s.contract_id)
ORDER BY d.contract_id = '', d.rev DESC
LIMIT 1 BY topic, source_id, p, o;

-- The same with what was done: new, redriven, failed (a redriven copy is a dead letter too), discarded, copy.
CREATE VIEW dead_letter_status AS
SELECT d.model AS model, d.topic AS topic, d.source_id AS source_id, d.p AS p, d.o AS o,
    multiIf(
        d.redrive_of != '' AND d.redrive_of IN (
            SELECT concat(source_id, '/', toString(p), '/', toString(o)) FROM dead_letters WHERE redrive_of = ''),
        'copy',
        a.action = 'discarded', 'discarded',
        c.newest > 0 AND c.newest >= a.redrives, 'failed',
        a.action = 'redriven', 'redriven',
        'new') AS status,
    d.reason AS reason, d.error AS error, d.raw AS raw, d.raw_sha256 AS raw_sha256, d.raw_bytes AS raw_bytes,
    d.append_time AS append_time, d.contract_id AS contract_id, d.redrive_of AS redrive_of,
    greatest(a.redrives, c.newest) AS redrives, a.acted_at AS acted_at, a.acted_by AS acted_by, a.note AS note
FROM counted_dead_letters AS d
INNER JOIN (
    SELECT topic, source_id, p, o, argMax(toString(status), rev) AS action, max(redrives) AS redrives,
        argMax(acted_at, rev) AS acted_at, argMax(acted_by, rev) AS acted_by, argMax(note, rev) AS note
    FROM dead_letters FINAL GROUP BY topic, source_id, p, o
) AS a ON a.topic = d.topic AND a.source_id = d.source_id AND a.p = d.p AND a.o = d.o
LEFT JOIN (
    SELECT redrive_of, max(redrives) AS newest FROM counted_dead_letters WHERE redrive_of != '' GROUP BY redrive_of
) AS c ON c.redrive_of = concat(d.source_id, '/', toString(d.p), '/', toString(d.o));

-- What is being done to a partition right now; after a process died, what it died of. One row per partition.
CREATE TABLE in_flight (
    topic LowCardinality(String), source_id LowCardinality(String), p UInt16,
    state Enum8('stopped' = 0, 'running' = 1, 'handling' = 2), from_o UInt64, to_o UInt64, attempts UInt32,
    writer LowCardinality(String), at DateTime64(6, 'UTC') DEFAULT now64(6),
    ver UInt64 MATERIALIZED toUInt64(toUnixTimestamp64Micro(at))
) ENGINE = ReplacingMergeTree(ver) ORDER BY (topic, source_id, p);

-- Topics that are not read because most of their records are bad; a pause holds for the contract that judged them.
CREATE TABLE topic_pauses (
    model LowCardinality(String), topic LowCardinality(String), source_id LowCardinality(String),
    contract_id LowCardinality(String), status Enum8('paused' = 0, 'resumed' = 1), reason String,
    acted_by LowCardinality(String), at DateTime64(6, 'UTC') DEFAULT now64(6),
    ver UInt64 MATERIALIZED toUInt64(toUnixTimestamp64Micro(at))
) ENGINE = ReplacingMergeTree(ver) ORDER BY (topic, source_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
