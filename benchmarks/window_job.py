"""Drift, data and quality of a day, and of a week of days in one run: our jobs beside Evidently's three presets.

3,000 rows a day against a reference of 60,000, ten columns and the prediction. Building the reference happens once per
reference and not per window, so it is outside the clock, as are both sides' imports. ``first`` is the first window of
a process (ours loads the reference and hands it to the worker), ``next`` every further one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks.day import make_days
from benchmarks.evidently_presets import presets
from benchmarks.measuring import Measured, Trial, in_fresh_process
from benchmarks.our_jobs import jobs
from benchmarks.workloads import find_months


def trials(folder: Path, *, small: bool) -> Iterator[Trial]:
    """Yield a comparison for one day, and one for a week."""
    months = find_months(folder, small=small)
    for count, name in ((1, "one day of drift, data and quality"), (7, "a week of days in one run")):
        days = in_fresh_process(make_days, months, folder, count, small)
        sides = {"driftline": partial(jobs, days), "presets": partial(presets, days)}
        yield Trial(name, "windows", sides, _agree, cpu_units=1)


def _agree(sides: Mapping[str, Measured]) -> None:
    expected, found = sides["presets"].answer, sides["driftline"].answer
    assert set(expected) == set(found), f"figures of one side only: {sorted(set(expected) ^ set(found))}"
    for (metric, *place), value in expected.items():
        tolerance = 1e-12 if metric == "drift_score" else 1e-9
        ours = found[metric, *place]
        assert math.isclose(ours, value, rel_tol=0, abs_tol=tolerance), (metric, place, ours, value)
