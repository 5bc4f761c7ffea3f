-- A run whose window could not be judged is a run too, of an id of its own: its attempts can be counted, and it never
-- hides the last good one.
ALTER TABLE job_runs MODIFY COLUMN status Enum8('ok' = 1, 'empty' = 2, 'insufficient' = 3, 'error' = 4);

-- The newest run of every job and window, of those that could judge it where there are any.
CREATE OR REPLACE VIEW latest_runs AS
SELECT * FROM job_runs FINAL
ORDER BY status = 'error', as_of DESC, run_id DESC
LIMIT 1 BY job, model, model_version, granularity, window_start, slice;

-- Every revision of every figure of jobs; `metrics` shows the newest.
CREATE VIEW metric_history AS
SELECT m.model AS model, m.model_version AS model_version, m.window_start AS window_start, r.window_end AS window_end,
    m.granularity AS granularity, m.job AS job, m.slice AS slice, m.column AS column, m.metric AS metric,
    m.value AS value, m.lower AS lower, m.upper AS upper, m.n AS n, r.n_predictions AS n_predictions,
    r.n_labels AS n_labels, r.n_scored AS n_scored, r.coverage AS coverage, r.revision AS revision,
    r.is_final AS is_final, toString(r.status) AS status, m.run_id AS run_id, r.contract_id AS contract_id,
    r.reference_id AS reference_id, r.as_of AS computed_at
FROM job_metrics AS m FINAL
INNER JOIN (SELECT * FROM job_runs FINAL) AS r
    ON m.job = r.job AND m.model = r.model AND m.model_version = r.model_version AND m.granularity = r.granularity
    AND m.window_start = r.window_start AND m.run_id = r.run_id;
