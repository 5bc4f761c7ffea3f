"""Jobs ``data`` and ``drift`` at size: a month of hourly windows, a day of ten million rows, a day of 200 columns.

No peer: a report of that size is nobody's practice. Events are made by the store itself, a reference of 60,000 rows by
NumPy; both are outside the clock. Memory is the greatest that the process with the store in it, and its worker, held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from batch.jobs import run_due
from batch.references.building import build_reference
from batch.workers.pool import Workers
from batch.workers.process import Task
from benchmarks.measuring import Measured, Trial, stopwatch
from benchmarks.synthetic import START_MS
from driftline.clock import SystemClock
from driftline.contract import Contract, parse_contract
from driftline.store import Store
from driftline.store.opening import open_store
from tests.batch.populated import PopulatedStore

_KINDS = ("data", "drift")
_REFERENCE_ROWS, _REFERENCE_DAYS = 60_000, 28
_VALUES = 50


@dataclass(frozen=True, slots=True)
class Shape:
    """Windows of ``size`` over ``span``, ``rows`` in all; of the columns two in five are categories of 50 values."""

    name: str
    size: str
    span: timedelta
    rows: int
    columns: int

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the columns that are numbers."""
        return tuple(f"n{index}" for index in range(self.columns - len(self.categories)))

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the columns that are categories."""
        return tuple(f"k{index}" for index in range(self.columns * 2 // 5))


_SHAPES = (
    Shape("a month of hourly windows", "1h", timedelta(days=28), 67_200, 10),
    Shape("a day of 200 columns", "1d", timedelta(days=1), 3_000, 200),
    Shape("a day of ten million rows", "1d", timedelta(days=1), 10_000_000, 10),
)


def trials(folder: Path, *, small: bool) -> Iterator[Trial]:
    """Yield one trial per shape, each of one side."""
    del folder
    for shape in _SHAPES:
        yield Trial(shape.name, "windows", {"driftline": partial(_judge, shape, small)}, _no_peer, cpu_units=1)


def _no_peer(_: Mapping[str, Measured]) -> None:
    pass


def _judge(shape: Shape, small: bool) -> Measured:
    rows = shape.rows // 20 if small else shape.rows
    contract = _contract(shape)
    with TemporaryDirectory() as folder, Workers() as workers:
        workers.start()
        store = open_store(f"chdb://{folder}/store", Path(folder))
        try:
            build_reference(store, contract, _reference(shape), (), "benchmark", workers)
            _fill(store, contract, shape, rows)
            list(workers.answers([Task("none", b"")]))  # it has imported what it needs when it answers
            before = _peak_mb("self")
            with stopwatch(*workers.process_ids()) as watch:
                summary = run_due(store, contract, workers, SystemClock(), _KINDS)
            [worker] = workers.process_ids()
            facts = {"mb": _peak_mb("self"), "mb_before": before, "worker_mb": _peak_mb(str(worker))}
            return watch.measured(len({key.start_ms for key in summary.keys}), failures=summary.failures, **facts)
        finally:
            store.close()


def _contract(shape: Shape) -> Contract:
    columns = [f"  {name}: {{type: number, range: [0, 10]}}" for name in shape.numbers]
    columns += [f"  {name}: {{type: category}}" for name in shape.categories]
    windows = f"{{stream: 1h, profile: 1h, data: {shape.size}, drift: {shape.size}, quality: [1d]}}"
    text = "model: at_size\ncolumns:\n" + "\n".join(columns) + f"\nwindows: {windows}\ndrift: {{min_rows: 50}}\n"
    return parse_contract(text, "benchmarks/windows.py")


def _reference(shape: Shape) -> pd.DataFrame:
    rng, n = np.random.default_rng(1), _REFERENCE_ROWS
    moments = np.linspace(0, _REFERENCE_DAYS * 86_400_000, n, endpoint=False).astype("int64") - _REFERENCE_DAYS
    start = pd.Timestamp(START_MS, unit="ms", tz="UTC") - timedelta(days=_REFERENCE_DAYS)
    columns: dict[str, object] = {
        "id": [str(row) for row in range(n)],
        "event_time": start + pd.to_timedelta(moments.clip(0), unit="ms"),
        "label": np.nan,
    }
    columns |= {name: rng.random(n) * 10 for name in shape.numbers}
    columns |= {name: rng.integers(0, _VALUES, n).astype(str).astype(object) for name in shape.categories}
    return pd.DataFrame(columns)


def _fill(store: Store, contract: Contract, shape: Shape, rows: int) -> None:
    log = PopulatedStore(store, contract)
    numbers = [f"cityHash64(number, {index}) / 1844674407370955161.6" for index in range(len(shape.numbers))]
    values = [
        f"toString(cityHash64(number, {index}) % {_VALUES})" for index in range(1000, 1000 + len(shape.categories))
    ]
    names, expressions = ", ".join([*shape.numbers, *shape.categories]), ", ".join([*numbers, *values])
    store.execute(
        f"INSERT INTO {contract.raw_inputs_table} (id, event_time, append_time, id_hash, {names}, source_id, p, o) "  # noqa: S608
        "SELECT concat('event-', toString(number)), "
        "fromUnixTimestamp64Milli({start:Int64} + intDiv(number * {span:UInt64}, {rows:UInt64}), 'UTC'), "
        f"now64(3), cityHash64(number), {expressions}, 's', 0, number FROM numbers({{rows:UInt64}})",
        {"start": START_MS, "span": int(shape.span.total_seconds() * 1000), "rows": rows},
    )
    store.execute(
        "INSERT INTO segment_counts (model, topic, stream, window_start, window_seconds, model_version, column, "
        "source_id, p, lo, contract_id, seg_version, n, id_sum, writer) "
        "SELECT {model:String}, {topic:String}, 'inputs', toStartOfHour(event_time), 3600, '', '', 's', 0, 0, "
        "{contract:String}, 1, count(), sum(id_hash), 'benchmark' FROM {inputs:Identifier} GROUP BY 4",
        _names(contract),
    )
    store.execute(
        "INSERT INTO segments (model, topic, source_id, p, lo, seg_version, hi, contract_id, n_records, n_ok) "
        "SELECT {model:String}, {topic:String}, 's', 0, 0, 1, {rows:UInt64}, {contract:String}, {rows:UInt64}, "
        "{rows:UInt64}",
        {**_names(contract), "rows": rows},
    )
    log.complete()


def _names(contract: Contract) -> dict[str, str]:
    return {
        "model": contract.model,
        "topic": contract.topics.inputs,
        "contract": contract.id,
        "inputs": contract.raw_inputs_table,
    }


def _peak_mb(pid: str) -> float:
    """Return the greatest resident memory of a process so far; 0 where the system does not say."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
