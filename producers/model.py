"""The two models of the example: gradient boosting in charge, a linear one that challenges it.

Owns training and predicting; files are ``producers.model_files``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from driftline.contract import Contract
from driftline.contract.values import Task
from driftline.errors import InputDataError
from producers.features import LINEAR_NUMBERS, LINEAR_ZONES, NUMBER_SOURCES, NUMBERS, ZONES, features
from producers.outcomes import outcomes_of
from producers.taxi import Trips

Algorithm = Literal["gradient boosting", "linear"]
_HELD_OUT_SHARE = 0.2
# Fewer trips leave most zones unseen, and the held-out error says nothing.
_FEWEST_TRIPS = 200


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """The trips behind a model: files, how many were usable, and the span of their pick-ups (ISO 8601)."""

    hashes: tuple[str, ...]
    rows: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class DurationModel:
    """A fitted model version.

    The held-out error is that of the same model fitted without the last fifth of the trips, on these: minutes, or log
    loss of classes. ``classes`` are those of a classifier, in the order of its probabilities; empty for minutes.
    """

    version: str
    algorithm: Algorithm
    timezone: str
    trained_on: TrainedOn
    held_out_mae_minutes: float | None
    pipeline: Pipeline
    held_out_log_loss: float | None = None
    classes: tuple[str, ...] = ()

    def predict(self, trips: pd.DataFrame) -> np.ndarray:
        """Return the expected minutes of each trip, or a row of probabilities of ``classes``.

        The same trip gets the same bits in any company.
        """
        if trips.empty:
            return np.empty((0, len(self.classes))) if self.classes else np.empty(0)
        predict = self.pipeline.predict_proba if self.classes else self.pipeline.predict
        with _one_thread():
            predicted: np.ndarray = predict(features(trips, self.timezone))
        return predicted

    def answers(self, trips: pd.DataFrame) -> np.ndarray:
        """Return what the service would send for each trip: minutes, or a probability by class."""
        predicted = self.predict(trips)
        if not self.classes:
            return predicted
        sent = np.empty(len(predicted), dtype=object)
        sent[:] = [dict(zip(self.classes, row, strict=True)) for row in predicted.round(6).tolist()]
        return sent


def algorithm_of(version: str, contract: Contract) -> Algorithm:
    """Return what a version of the contract is made of: the champion boosts, challengers are linear."""
    return "gradient boosting" if version == contract.versions.champion else "linear"


def train(trips: Trips, contract: Contract, version: str) -> DurationModel:
    """Fit ``version`` on the trips whose label lies in the contract's valid range.

    Raises:
        InputDataError: too few trips have a valid label, or a number is null in all that the model would learn from.
    """
    usable = _labelled(trips.frame, contract)
    cut = int(len(usable) * (1 - _HELD_OUT_SHARE))
    _require_numbers(usable[:cut])
    timezone, algorithm = contract.event_time.timezone, algorithm_of(version, contract)
    matrix, labels = features(usable, timezone), outcomes_of(usable["label"].to_numpy(), contract)
    make = (_PIPELINES if contract.task == "regression" else _CLASSIFIERS)[algorithm]
    with _one_thread():
        trial = make(contract.task).fit(matrix[:cut], labels[:cut])
        mae, loss = _held_out(trial, matrix[cut:], labels[cut:], contract.task)
        pipeline = make(contract.task).fit(matrix, labels)
    first, last = usable["event_time"].min().isoformat(), usable["event_time"].max().isoformat()
    trained_on = TrainedOn(trips.hashes, len(usable), first, last)
    classes = () if contract.task == "regression" else tuple(map(str, pipeline.classes_))
    return DurationModel(version, algorithm, timezone, trained_on, mae, pipeline, loss, classes)


def _held_out(
    trial: Pipeline, matrix: pd.DataFrame, labels: np.ndarray, task: str
) -> tuple[float | None, float | None]:
    if task == "regression":
        return float(np.abs(trial.predict(matrix) - labels).mean()), None
    known = np.isin(labels.astype(str), trial.classes_.astype(str))
    given = trial.predict_proba(matrix[known])
    return None, float(log_loss(labels[known].astype(str), given, labels=trial.classes_.astype(str)))


def _labelled(trips: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    valid = contract.label.range
    low = -np.inf if valid is None or valid.low is None else valid.low
    high = np.inf if valid is None or valid.high is None else valid.high
    usable = trips[trips["label"].between(low, high)]
    if len(usable) < _FEWEST_TRIPS:
        msg = (
            f"training needs {_FEWEST_TRIPS} trips whose {contract.label.name} lies in [{low:g}, {high:g}]; "
            f"got {len(usable)} of {len(trips)}; use a longer file, such as a whole month"
        )
        raise InputDataError(msg)
    return usable


def _require_numbers(learned: pd.DataFrame) -> None:
    """Refuse a number that is always null: boosting cannot bin it, and a model without it would be another model."""
    for name in NUMBER_SOURCES:
        if learned[name].isna().all():
            msg = (
                f"`{name}` is null in all {len(learned)} trips that a model would learn from; "
                "use another month, or fill the column in"
            )
            raise InputDataError(msg)


def _one_thread() -> AbstractContextManager[object]:
    """Keep scikit-learn to one thread: on a busy machine its threads spin waiting for each other, ten times slower."""
    limits: AbstractContextManager[object] = threadpool_limits(limits=1)
    return limits


def _encoded(task: Task) -> ColumnTransformer:
    folds = KFold(n_splits=5, shuffle=True, random_state=0)
    encode = TargetEncoder(target_type="continuous" if task == "regression" else task, cv=folds)
    return ColumnTransformer([("zones", encode, list(ZONES)), ("numbers", "passthrough", list(NUMBERS))])


def _gradient_boosting(task: Task) -> Pipeline:
    return make_pipeline(_encoded(task), HistGradientBoostingRegressor(max_iter=120, random_state=0))


def _boosted_classes(task: Task) -> Pipeline:
    return make_pipeline(_encoded(task), HistGradientBoostingClassifier(max_iter=60, random_state=0))


def _one_hot() -> ColumnTransformer:
    zones = OneHotEncoder(handle_unknown="ignore", min_frequency=20)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    parts = [("zones", zones, list(LINEAR_ZONES)), ("numbers", numbers, list(LINEAR_NUMBERS))]
    # Sparse, because a dense product's last bits depend on the rows around it.
    return ColumnTransformer(parts, sparse_threshold=1.0)


def _linear(_: Task) -> Pipeline:
    return make_pipeline(_one_hot(), Ridge(alpha=1.0))


def _linear_classes(_: Task) -> Pipeline:
    return make_pipeline(_one_hot(), LogisticRegression(max_iter=300))


_Makers = Mapping[Algorithm, Callable[[Task], Pipeline]]
_PIPELINES: _Makers = {"gradient boosting": _gradient_boosting, "linear": _linear}
_CLASSIFIERS: _Makers = {"gradient boosting": _boosted_classes, "linear": _linear_classes}
