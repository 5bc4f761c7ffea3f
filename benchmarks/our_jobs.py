"""Our side of the days: the jobs ``data``, ``drift`` and ``quality`` through the store and the worker process."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from batch.jobs import run_due
from batch.references.building import build_reference
from batch.workers.pool import Workers
from benchmarks.day import START, VERSION, Days, contract
from benchmarks.measuring import Measured, stopwatch
from driftline.clock import SystemClock
from driftline.store import Store
from driftline.store.opening import open_store
from tests.batch.populated import PopulatedStore

_KINDS = ("data", "drift", "quality")
_SHARED = ("mae", "rmse", "mean_error")


def jobs(days: Days) -> Measured:
    """Judge the days twice, in one run each: as the first of a process, and again as ``jobs run --window`` does."""
    with TemporaryDirectory() as folder, Workers() as workers:
        workers.start()
        store = open_store(f"chdb://{folder}/store", Path(folder))
        try:
            _fill(store, days, workers)
            monitor = contract()
            with stopwatch() as first:
                summary = run_due(store, monitor, workers, SystemClock(), _KINDS)
            expected = 4 * days.count  # data, drift of features and of the prediction, and quality
            assert summary.runs == expected, f"expected {expected} runs: {summary}"
            with stopwatch(*workers.process_ids()) as again:
                run_due(store, monitor, workers, SystemClock(), _KINDS, choose=lambda _one, _snapshot: True)
            seconds = {"first_seconds": first.seconds / days.count, "next_seconds": again.seconds / days.count}
            return again.measured(days.count, _figures(store), **seconds)
        finally:
            store.close()


def _fill(store: Store, days: Days, workers: Workers) -> None:
    rows = pd.read_parquet(days.current)
    log = PopulatedStore(store, contract())
    log.add_inputs(rows)
    log.add_predictions(rows, VERSION)
    log.add_labels(rows)
    log.complete()
    reference = pd.read_parquet(days.reference)
    scored = reference.rename(columns={"prediction": f"prediction.{VERSION}"})
    build_reference(store, contract(), scored, (VERSION,), "benchmark", workers)


def _figures(store: Store) -> dict[tuple[str, str, int], float]:
    rows = store.query(
        "SELECT metric, if(metric = 'drift_score', column, '') AS place, value, window_start FROM metrics WHERE "
        "source = 'batch' AND granularity = '1d' AND (metric = 'drift_score' OR metric IN {shared:Array(String)})",
        {"shared": list(_SHARED)},
    )
    return {(row["metric"], row["place"], (row["window_start"] - START).days): row["value"] for row in rows}
