"""Reports of windows: on demand, and of those whose checks fail. Drawing is ``batch.reports.pages``', in a worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from batch.drift.job import feature_specs, outcome_spec
from batch.ledger.snapshot import take_snapshot
from batch.references.sets import PREDICTION_PREFIX, Reference
from batch.reports.files import AskedBy, Drawn, ReportKey, list_reports, save
from batch.reports.joined import joined_frame
from batch.reports.sinks import Sink, sink_run_of
from batch.results import DriftSpec, Failure, ScoreError
from batch.rows.frames import to_arrow_bytes, valid_range
from batch.setting import Setting
from batch.workers.pool import Workers
from batch.workers.process import Task
from driftline.contract.model import Contract
from driftline.errors import InputDataError
from driftline.store import Store
from driftline.windows import Window

NEWEST = 10
"""Alerting windows that one call draws; a page takes seconds, and a month may have gone wrong."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What reports are made with: the store, the contract, the workers, and the folder of reports."""

    store: Store
    contract: Contract
    workers: Workers
    folder: Path


@dataclass(frozen=True, slots=True)
class Written:
    """A report that has been written; ``workspace_run`` is its id in the Evidently workspace, if it went there."""

    file: Path
    left_out: Mapping[str, str]
    n_rows: int
    workspace_run: str = ""


def write_report(
    desk: Desk, window: Window, version: str = "", asked_by: AskedBy = "person", sink: Sink | None = None
) -> Written:
    """Draw the rows of ``window`` and the predictions of ``version``, the champion's unless named, and keep the page.

    Raises:
        InputDataError: the window has no rows, or the version no predictions in it.
        ScoreError: no page can be made of them.
    """
    key = ReportKey(desk.contract.model, version or desk.contract.versions.champion, window)
    rows = _rows(desk, key)
    setting = Setting(desk.store, desk.contract, desk.workers, take_snapshot(desk.store, desk.contract))
    reference = setting.reference_for(window)
    task = _task(desk, key, rows, reference, sink)
    [answer] = desk.workers.answers([task], None if reference is None else reference.rows)
    if answer.failures:
        raise ScoreError(_failed(key, answer.failures))
    drawn = Drawn(
        key=key,
        page=answer.values["html"],
        left_out=answer.values["left_out"],
        n_rows=len(rows),
        reference_id=task.reference_id,
        contract_id=desk.contract.id,
    )
    file = save(desk.store, desk.folder, drawn, asked_by)
    return Written(file, drawn.left_out, len(rows), answer.values.get("workspace_run", ""))


def write_alerting(desk: Desk, newest: int = NEWEST) -> Iterator[tuple[ReportKey, Written | str]]:
    """Write reports of the newest windows whose checks fail and whose report is older than the verdict.

    Yields each with its report, or with the reason why there is none; one bad window never stops the others.
    """
    for key in alerting(desk)[:newest]:
        try:
            yield key, write_report(desk, key.window, key.model_version, "check")
        except (ScoreError, InputDataError) as error:
            yield key, str(error)


def alerting(desk: Desk) -> list[ReportKey]:
    """Return the windows that want a report, the newest first; inputs are shown with the champion's predictions."""
    contract = desk.contract
    written = {
        (info.model_version, info.granularity, info.window_start): info.created
        for info in list_reports(desk.store, contract.model)
    }
    found = []
    for row in desk.store.query(_ALERTING, {"model": contract.model, "champion": contract.versions.champion}):
        created = written.get((row["version"], row["granularity"], row["window_start"]))
        if created is None or created < row["judged"]:
            window = Window(row["window_start"], row["window_end"])
            found.append(ReportKey(contract.model, row["version"], window))
    return found


def _rows(desk: Desk, key: ReportKey) -> pd.DataFrame:
    rows = joined_frame(desk.store, desk.contract, key.window)
    column = PREDICTION_PREFIX + key.model_version
    if rows.empty:
        msg = f"{key.model} has no rows between {_named(key.window)}; see `driftline status` for what there is"
        raise InputDataError(msg)
    if column not in rows:
        names = [name for name in map(str, rows.columns) if name.startswith(PREDICTION_PREFIX)]
        known = ", ".join(name.removeprefix(PREDICTION_PREFIX) for name in names)
        msg = f"{key.model} has no predictions of {key.model_version} between {_named(key.window)}; it has {known}"
        raise InputDataError(msg)
    return rows


def _task(desk: Desk, key: ReportKey, rows: pd.DataFrame, reference: Reference | None, sink: Sink | None) -> Task:
    contract = desk.contract
    specs = report_specs(contract, key.model_version)
    options: dict[str, Any] = {
        "title": f"{key.model} {key.model_version} {_named(key.window)}",
        "task": contract.task,
        "positive_class": contract.positive_class,
        "left_out": {
            name: f"a {column.type} column"
            for name, column in contract.columns.items()
            if column.type in ("text", "datetime")
        },
    }
    if sink is not None and sink.kind == "workspace":
        options |= {"workspace": sink.target, "project": key.model}
        options["replaces"] = sink_run_of(desk.store, key, sink)
    table = pa.Table.from_pandas(rows[[spec.column for spec in specs]], preserve_index=False)
    reference_id = "" if reference is None else reference.reference_id
    return Task("report", to_arrow_bytes(table), tuple(specs), reference_id, options)


def report_specs(contract: Contract, version: str) -> list[DriftSpec]:
    """Return the columns of a report: what can be drawn of the features, the prediction and the label.

    Predictions are not cut to their range, or the errors drawn would not be those of the answers given.
    """
    outcome = replace(outcome_spec(contract, version), clip=None)
    label = replace(outcome, column="label")
    if label.kind == "number":
        label = replace(label, valid=valid_range(contract))
    return [*feature_specs(contract), outcome, label]


def _failed(key: ReportKey, failures: Sequence[Failure]) -> str:
    return f"there is no report of {key.model_version} between {_named(key.window)}: {failures[0].error}"


def _named(window: Window) -> str:
    return f"{window.start:%Y-%m-%d %H:%M} and {window.end:%Y-%m-%d %H:%M} UTC"


_ALERTING = """
    SELECT if(model_version = '', {champion:String}, model_version) AS version, granularity, window_start,
        any(c.window_end) AS window_end, max(computed_at) AS judged
    FROM checks AS c
    WHERE model = {model:String} AND status = 'fail' AND run_id IS NOT NULL
    GROUP BY version, granularity, window_start ORDER BY window_start DESC, granularity, version
"""
