"""An Evidently metric by its name, over a window's scored rows, by a Report of that metric alone.

Runs inside a worker. Probabilities go in without labels, and the contract's decision threshold with them: given both,
Evidently ignores the labels and decides at 0.5.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batch.quality.scored_inputs import SCORE_PREFIX
from batch.results import ScoreError

if TYPE_CHECKING:
    import pandas as pd

_LABEL, _PREDICTION = "label", "prediction"


@dataclass(frozen=True, slots=True)
class Definition:
    """What Evidently has to know of the rows; ``positive`` is None unless the task is binary."""

    task: str
    positive: str | None
    threshold: float
    numbers: list[str]
    categories: list[str]


def evidently_value(name: str, parameters: Mapping[str, Any], rows: pd.DataFrame, definition: Definition) -> Any:
    """Return the value of the metric ``name``: a number, or a mapping as Evidently gives it.

    Raises:
        ScoreError: there is no such metric.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import evidently.metrics
        from evidently import DataDefinition, Dataset, Report

        kind = getattr(evidently.metrics, name, None)
        if kind is None:
            msg = f"Evidently has no metric {name}; see evidently.metrics"
            raise ScoreError(msg)
        frame, outcomes = _with_outcomes(rows, definition)
        fields = dict(parameters)
        if definition.positive and "probas_threshold" in getattr(kind, "model_fields", getattr(kind, "__fields__", {})):
            fields.setdefault("probas_threshold", definition.threshold)
        columns = DataDefinition(
            numerical_columns=definition.numbers, categorical_columns=definition.categories, **outcomes
        )
        snapshot = Report([kind(**fields)]).run(Dataset.from_pandas(frame, columns), None)
        return snapshot.dict()["metrics"][0]["value"]


def _with_outcomes(rows: pd.DataFrame, definition: Definition) -> tuple[pd.DataFrame, dict[str, Any]]:
    from evidently import BinaryClassification, MulticlassClassification, Regression

    if definition.task == "regression":
        return rows, {"regression": [Regression(target=_LABEL, prediction=_PREDICTION)]}
    scores = [str(name) for name in rows if str(name).startswith(SCORE_PREFIX)]
    given = bool(scores) and bool(rows[scores].notna().all(axis=None))
    if definition.positive is None:
        shown = {name: name.removeprefix(SCORE_PREFIX) for name in scores}
        answers = {"prediction_probas": list(shown.values())} if given else {"prediction_labels": _PREDICTION}
        frame = rows.drop(columns=[name for name in shown.values() if name in rows]).rename(columns=shown)
        return frame, {"classification": [MulticlassClassification(target=_LABEL, **answers)]}
    positive, negative = definition.positive, f"not {definition.positive}"
    frame = rows.assign(**{name: rows[name].where(rows[name] == positive, negative) for name in (_LABEL, _PREDICTION)})
    if given:
        frame[positive] = rows[scores[0]]
        return frame, {
            "classification": [BinaryClassification(target=_LABEL, prediction_probas=positive, pos_label=positive)]
        }
    answer = BinaryClassification(target=_LABEL, prediction_labels=_PREDICTION, pos_label=positive)
    return frame, {"classification": [answer]}
