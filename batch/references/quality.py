"""What a reference says about quality: each version's figures and errors, and what a dummy would answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from batch.references.quality_tasks import quality_task
from batch.references.sets import PREDICTION_PREFIX, PROBABILITY_PREFIX
from batch.results import ScoreError
from batch.rows.frames import SCORE_PREFIX
from batch.rows.outcomes import valid_range
from batch.workers.pool import Workers
from driftline.contract.model import Contract


def quality_facts(
    frame: pd.DataFrame, contract: Contract, versions: tuple[str, ...], workers: Workers
) -> dict[str, Any]:
    """Return the fields of ``ReferenceFacts`` that rest on labels; empty ones where no row has a valid label.

    Raises:
        ScoreError: a version's figures cannot be computed.
    """
    quality: dict[str, dict[str, float]] = {}
    errors: dict[str, Any] = {}
    if "label" not in frame:
        return {"quality": quality}
    labels = valid_labels(frame["label"], contract)
    scored = {version: _scored(frame, labels, version) for version in versions}
    scored = {version: rows for version, rows in scored.items() if len(rows)}
    tasks = (
        quality_task(contract, pa.Table.from_pandas(rows, preserve_index=False), version, None, with_shape=True)
        for version, rows in scored.items()
    )
    for version, answer in zip(scored, workers.answers(tasks), strict=True):
        fatal = [failure for failure in answer.failures if failure.is_fatal]
        if fatal:
            msg = f"the reference's quality of {version} cannot be computed: {fatal[0].error}"
            raise ScoreError(msg)
        quality[version] = {one.metric: one.value for one in answer.metrics if not one.column}
        errors[version] = answer.values["errors"]
    return {"quality": quality, "errors": errors, **_dummy(labels.dropna(), contract)}


def valid_labels(labels: pd.Series, contract: Contract) -> pd.Series:
    """Return ``labels`` with those outside the contract's valid range, and empty classes, as missing."""
    if contract.task != "regression":
        return labels.where(labels.notna() & (labels != ""))
    return labels.where(labels.between(*valid_range(contract)) & np.isfinite(labels))


def _scored(frame: pd.DataFrame, labels: pd.Series, version: str) -> pd.DataFrame:
    rows = pd.DataFrame({"label": labels, "prediction": frame[PREDICTION_PREFIX + version]})
    prefix = f"{PROBABILITY_PREFIX}{version}."
    for name in map(str, frame.columns):
        if name.startswith(prefix):
            rows[SCORE_PREFIX + name.removeprefix(prefix)] = frame[name]
    return rows.dropna(subset=["label", "prediction"])


def _dummy(labels: pd.Series, contract: Contract) -> dict[str, Any]:
    if labels.empty:
        return {}
    if contract.task == "regression":
        return {"label_median": float(labels.median())}
    if contract.task == "binary":
        labels = labels.where(labels == contract.positive_class, "")
    return {"class_shares": {str(name): float(share) for name, share in labels.value_counts(normalize=True).items()}}
