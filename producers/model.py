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
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from driftline.contract import Contract
from driftline.errors import InputDataError
from producers.features import LINEAR_NUMBERS, LINEAR_ZONES, NUMBER_SOURCES, NUMBERS, ZONES, features
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

    ``held_out_mae_minutes`` is the error, on the last fifth of the trips, of the same model fitted without them.
    """

    version: str
    algorithm: Algorithm
    timezone: str
    trained_on: TrainedOn
    held_out_mae_minutes: float
    pipeline: Pipeline

    def predict(self, trips: pd.DataFrame) -> np.ndarray:
        """Return the expected minutes of each trip; the same trip gets the same bits in any company."""
        if trips.empty:
            return np.empty(0)
        with _one_thread():
            predicted: np.ndarray = self.pipeline.predict(features(trips, self.timezone))
        return predicted


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
    matrix, minutes = features(usable, timezone), usable["label"].to_numpy()
    with _one_thread():
        trial = _PIPELINES[algorithm]().fit(matrix[:cut], minutes[:cut])
        error = float(np.abs(trial.predict(matrix[cut:]) - minutes[cut:]).mean())
        pipeline = _PIPELINES[algorithm]().fit(matrix, minutes)
    first, last = usable["event_time"].min().isoformat(), usable["event_time"].max().isoformat()
    trained_on = TrainedOn(trips.hashes, len(usable), first, last)
    return DurationModel(version, algorithm, timezone, trained_on, error, pipeline)


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


def _gradient_boosting() -> Pipeline:
    folds = KFold(n_splits=5, shuffle=True, random_state=0)
    encode = TargetEncoder(target_type="continuous", cv=folds)
    columns = ColumnTransformer([("zones", encode, list(ZONES)), ("numbers", "passthrough", list(NUMBERS))])
    return make_pipeline(columns, HistGradientBoostingRegressor(max_iter=120, random_state=0))


def _linear() -> Pipeline:
    zones = OneHotEncoder(handle_unknown="ignore", min_frequency=20)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    parts = [("zones", zones, list(LINEAR_ZONES)), ("numbers", numbers, list(LINEAR_NUMBERS))]
    # Sparse, because a dense product's last bits depend on the rows around it.
    return make_pipeline(ColumnTransformer(parts, sparse_threshold=1.0), Ridge(alpha=1.0))


_PIPELINES: Mapping[Algorithm, Callable[[], Pipeline]] = {"gradient boosting": _gradient_boosting, "linear": _linear}
