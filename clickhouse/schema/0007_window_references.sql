-- What windows with a trailing or seasonal reference were compared with. The rows are those of the store itself,
-- so only where they lie and what is known of them is kept.
CREATE TABLE window_references (
    model LowCardinality(String), reference_id String, window_start DateTime64(3, 'UTC'),
    window_end DateTime64(3, 'UTC'), seasons Array(UInt8), with_labels Bool, n_rows UInt64,
    contract_id LowCardinality(String), facts String CODEC(ZSTD(3)), created DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(created) ORDER BY (model, reference_id);
