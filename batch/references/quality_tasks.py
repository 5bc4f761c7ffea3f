"""What a worker is asked about quality: the kind of task that fits the contract, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from batch.references.sets import ReferenceFacts
from batch.rows.frames import to_arrow_bytes
from batch.workers.process import Task
from driftline.contract.model import Contract


def quality_task(
    contract: Contract, rows: pa.Table, version: str, facts: ReferenceFacts | None, *, with_shape: bool = False
) -> Task:
    """Return the task that scores ``rows`` of ``version``, against ``facts`` where there are any."""
    kind = "quality" if contract.task == "regression" else "class_quality"
    options = {**quality_options(contract, version, facts), "shape": with_shape}
    return Task(kind, to_arrow_bytes(rows), options=options)


def quality_options(contract: Contract, version: str = "", facts: ReferenceFacts | None = None) -> Mapping[str, Any]:
    """Return the options of ``batch.quality.regression`` or ``batch.quality.classification``."""
    errors = None if facts is None else facts.errors.get(version)
    if contract.task == "regression":
        return {"dummy": None if facts is None else facts.label_median, "errors": errors}
    return {
        "positive": contract.positive_class if contract.task == "binary" else None,
        "min_positives": contract.quality.min_positives,
        "shares": {} if facts is None else facts.class_shares,
        "errors": errors,
    }
