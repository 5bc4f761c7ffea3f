"""One day's drift, data and quality: our jobs beside Evidently's three presets, on the same rows.

3,000 rows against a reference of 60,000, ten columns and the prediction. Building the reference happens once per
reference and not per window, so it is outside the clock, as are both sides' imports. ``first`` is the first window of
a process (ours loads the reference and hands it to the worker), ``next`` every further one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.day import Day, make_day
from benchmarks.evidently_presets import presets
from benchmarks.measuring import Measured, Trial, in_fresh_process
from benchmarks.our_jobs import jobs
from benchmarks.workloads import find_months


def trials(folder: Path, *, small: bool) -> Iterator[Trial]:
    """Yield the one comparison."""
    day: Day = in_fresh_process(make_day, find_months(folder, small=small), folder, small)
    sides = {"driftline": partial(jobs, day), "presets": partial(presets, day)}
    yield Trial("one day of drift, data and quality", "windows", sides, _agree, cpu_units=1)


def _agree(sides: Mapping[str, Measured]) -> None:
    expected, found = sides["presets"].answer, sides["driftline"].answer
    assert set(expected) == set(found), f"figures of one side only: {sorted(set(expected) ^ set(found))}"
    for (metric, column), value in expected.items():
        tolerance = 1e-12 if metric == "drift_score" else 1e-9
        ours = found[metric, column]
        assert math.isclose(ours, value, rel_tol=0, abs_tol=tolerance), (metric, column, ours, value)
