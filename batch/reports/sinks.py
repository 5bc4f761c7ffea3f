"""Where a report may go besides the folder of reports: an Evidently workspace, or MLflow (extra ``mlflow``).

What was sent is remembered by window and target, so that a window's next report takes the place of the last one.
"""

from __future__ import annotations

import gzip
import importlib
import re
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from batch.reports.files import ReportKey
from driftline.errors import UsageError
from driftline.store import Store

_NOT_MLFLOWS = re.compile(r"[^A-Za-z0-9_.\- ]")
# MLflow's limit.
_MOST_CHARACTERS = 250
Figure = tuple[str, str]
"""A metric and its column, ``""`` for a figure of the whole."""


@dataclass(frozen=True, slots=True)
class Sink:
    """A kind of place and its address: a folder for a workspace, a tracking URI for MLflow (empty: MLflow's own)."""

    kind: Literal["workspace", "mlflow"]
    target: str


def parse_sink(text: str) -> Sink:
    """Return the place that ``text`` names: ``workspace:PATH``, ``mlflow`` or ``mlflow:URI``.

    Raises:
        UsageError: it names none, or MLflow is not installed.
    """
    kind, _, target = text.partition(":")
    if kind == "workspace" and target:
        return Sink("workspace", str(Path(target).absolute()))
    if kind == "mlflow":
        _mlflow()
        return Sink("mlflow", target)
    msg = f"--to must be workspace:PATH, mlflow or mlflow:URI; got {text}"
    raise UsageError(msg)


def sink_run_of(store: Store, key: ReportKey, sink: Sink) -> str:
    """Return the id under which the window's last report is known there, ``""`` for none."""
    rows = store.query(
        "SELECT sink_run_id FROM report_sinks FINAL WHERE model = {model:String} "
        "AND model_version = {version:String} AND granularity = {granularity:String} "
        "AND window_start = {start:DateTime64(3, 'UTC')} AND sink = {sink:String} AND target = {target:String}",
        {
            "model": key.model,
            "version": key.model_version,
            "granularity": key.granularity,
            "start": key.window.start,
            "sink": sink.kind,
            "target": sink.target,
        },
    )
    return str(rows[0]["sink_run_id"]) if rows else ""


def remember(store: Store, key: ReportKey, sink: Sink, sink_run_id: str) -> None:
    """Keep the id under which a report is known at ``sink``."""
    row = {**key.row, "sink": sink.kind, "target": sink.target, "sink_run_id": sink_run_id}
    store.insert_rows("report_sinks", [row])


def send_to_mlflow(store: Store, key: ReportKey, sink: Sink, file: Path) -> str:
    """Log a report and the window's figures as a run of the experiment named like the model; return the run's id.

    The window's earlier run is taken up again, so that MLflow shows one run per window and version.
    """
    mlflow = _mlflow()
    if sink.target:
        mlflow.set_tracking_uri(sink.target)
    mlflow.set_experiment(f"driftline {key.model}")
    earlier = sink_run_of(store, key, sink)
    name = f"{key.model_version} {key.granularity} {key.window.start:%Y-%m-%dT%H:%MZ}"
    with mlflow.start_run(run_id=earlier) if earlier else mlflow.start_run(run_name=name) as run:
        mlflow.set_tags({name: str(value) for name, value in key.row.items()})
        figures = window_figures(store, key)
        names = mlflow_names(figures)
        mlflow.log_metrics({names[one]: value for one, value in figures.items()})
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "report.html"
            page.write_bytes(gzip.decompress(file.read_bytes()))
            mlflow.log_artifact(str(page))
        run_id: str = run.info.run_id
    remember(store, key, sink, run_id)
    return run_id


def window_figures(store: Store, key: ReportKey) -> Mapping[Figure, float]:
    """Return the window's stored batch figures, of inputs and of the version."""
    rows = store.query(
        "SELECT metric, column, value FROM metrics WHERE model = {model:String} AND source = 'batch' "
        "AND slice = 'all' AND model_version IN ('', {version:String}) AND granularity = {granularity:String} "
        "AND window_start = {start:DateTime64(3, 'UTC')} ORDER BY metric, column",
        {
            "model": key.model,
            "version": key.model_version,
            "granularity": key.granularity,
            "start": key.window.start,
        },
    )
    return {(row["metric"], row["column"]): row["value"] for row in rows}


def mlflow_names(figures: Iterable[Figure]) -> Mapping[Figure, str]:
    """Return a name for each figure that every store of MLflow takes; different figures get different names.

    A column is a folder's entry, ``metric/column``. A class is not, because MLflow's store of files could not have a
    file ``metric`` of the whole beside that folder. What MLflow takes in no name becomes ``_``.

    Examples
    --------
    >>> list(mlflow_names([("mae", ""), ("drift_score", "fare"), ("recall", "class=a/b")]).values())
    ['mae', 'drift_score/fare', 'recall.class_a_b']
    """
    plain = {figure: _mlflow_name(*figure) for figure in figures}
    often = Counter(plain.values())
    return {
        figure: name if often[name] == 1 and len(name) <= _MOST_CHARACTERS else _told_apart(name, figure)
        for figure, name in plain.items()
    }


def _mlflow_name(metric: str, column: str) -> str:
    between = "." if column.startswith("class=") else "/" if column else ""
    return _NOT_MLFLOWS.sub("_", metric) + between + _NOT_MLFLOWS.sub("_", column)


def _told_apart(name: str, figure: Figure) -> str:
    return f"{name[: _MOST_CHARACTERS - 9]}_{zlib.crc32('/'.join(figure).encode()):08x}"


def _mlflow() -> Any:
    try:
        return importlib.import_module("mlflow")
    except ModuleNotFoundError as error:
        msg = "--to mlflow needs MLflow, which is not installed; install the extra: pip install 'driftline[mlflow]'"
        raise UsageError(msg) from error
