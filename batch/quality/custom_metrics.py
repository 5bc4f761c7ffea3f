"""Figures of the user's own inside a worker: Evidently metrics by name, and Python functions.

A function takes the scored rows as a frame and the metric's parameters, and returns a number, or numbers by name.
Whatever it raises is the error of its figure.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from batch.quality.evidently_metrics import Definition, evidently_value
from batch.results import Failure, Metric, ScoreError
from batch.workers.process import ENGINE, Answer, Calculator, Task
from driftline.metrics import CUSTOM_PREFIX

if TYPE_CHECKING:
    import pandas as pd


def answer(task: Task, rows: pd.DataFrame, _: Calculator) -> Answer:
    """Compute ``options["metrics"]``, one after another, on one row or more; ``batch.quality.custom`` asks."""
    metrics: list[Metric] = []
    failures: list[Failure] = []
    for asked in task.options["metrics"]:
        name = CUSTOM_PREFIX + asked["name"]
        try:
            metrics += list(_figures(name, asked, rows, task.options))
        except (Exception, SystemExit) as error:  # the end of other people's code, which may raise anything
            failures.append(Failure(name, f"{_source(asked)}: {type(error).__name__}: {error}"))
    return Answer(tuple(metrics), tuple(failures))


def _figures(name: str, asked: Mapping[str, Any], rows: pd.DataFrame, options: Mapping[str, Any]) -> Iterator[Metric]:
    if asked["evidently"]:
        definition = Definition(
            options["task"], options["positive"], options["threshold"], options["numbers"], options["categories"]
        )
        value, engine = evidently_value(asked["evidently"], asked["parameters"], rows, definition), ENGINE
    else:
        value, engine = _function(asked["python"])(rows.copy(), **asked["parameters"]), "python"
    shown = ", ".join(f"{key}={given}" for key, given in asked["parameters"].items())
    method = f"{_source(asked)}({shown})"[:200]
    for column, figure in _by_column(value).items():
        if not math.isfinite(figure):
            msg = f"gives {figure}{' for ' + column if column else ''} on these {len(rows)} rows"
            raise ScoreError(msg)
        yield Metric(column, name, figure, len(rows), engine, method)


def _by_column(value: Any) -> dict[str, float]:
    """Return the number in ``value``, or its numbers by name.

    Of Evidently's pairs it is the mean of mean and spread, and the share of count and share.
    """
    if isinstance(value, Mapping):
        for only in ("mean", "share"):
            if only in value:
                return {"": float(value[only])}
        found = value.get("shares", value)
        return {f"class={name}": float(figure) for name, figure in found.items()}
    return {"": float(value)}


def _function(path: str) -> Any:
    """Return the function at ``module:name``; modules of the working directory are found, too."""
    module, _, name = path.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    return getattr(importlib.import_module(module), name)


def _source(asked: Mapping[str, Any]) -> str:
    return str(asked["evidently"] or asked["python"])
