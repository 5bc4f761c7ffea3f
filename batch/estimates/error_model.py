"""Error models: what a reference teaches of how wrong a version is; used inside a worker process, knows no store.

An error model learns from a reference how wrong the version is on which rows, and so expects an error of rows whose
labels have not come. Regression: gradient boosting on the absolute error. Binary: isotonic calibration of the
probability, from which the expected share of wrong answers follows (NannyML's "confidence-based performance
estimation"). It is fitted anew from the reference's rows by every worker, deterministically: nothing is stored, so
there is no file to trust.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import sklearn
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import GroupKFold, KFold
from sklearn.preprocessing import TargetEncoder

from batch.estimates.frames import ErrorSpec
from batch.estimates.root_cause import ErrorProfile, error_profile
from batch.results import ScoreError

ENGINE = f"scikit-learn {sklearn.__version__}"
FEWEST_ROWS = 200
# Enough for an error that many columns explain; ten times as many take ten times as long and change little.
MOST_TRAINING_ROWS = 20_000
# The mean of fewer residuals says more of them than of their day.
_FEWEST_OF_DAY = 30
_FOLDS = 3
_REPLICATES = 1000
_MOST_DRAWN = 2000

Rows = pd.DataFrame


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean of expected errors, and where the realised one lies in 95 of 100 windows if only the rows changed."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """Expects an error of a row.

    ``residuals`` are realised minus expected errors by models that did not see these rows, of each day of the reference
    or of several days with few rows.
    """

    spec: ErrorSpec
    features: _Features
    regressor: HistGradientBoostingRegressor | IsotonicRegression
    residuals: tuple[np.ndarray, ...]
    profile: ErrorProfile | None = None

    def expected(self, rows: Rows) -> np.ndarray:
        """Return the expected error of each row: absolute, or the probability that the answer is wrong."""
        matrix = self.features.matrix(rows)
        if self.spec.task == "binary":
            return _expected_wrong(self.regressor.predict(matrix[:, 0]), matrix[:, 0], self.spec.threshold)
        expected: np.ndarray = np.maximum(0.0, self.regressor.predict(matrix))
        return expected

    def calibrated(self, rows: Rows) -> np.ndarray:
        """Return the calibrated probability of the positive class (binary)."""
        return np.asarray(self.regressor.predict(rows["prediction"].to_numpy(dtype=float)))

    def interval(self, expected: np.ndarray) -> Interval:
        """Return the mean of ``expected`` with its interval, by a bootstrap in two stages.

        A replicate draws rows of the window with replacement, then a day of the reference, by its rows, and as many
        of its residuals. Windows of more rows than are drawn are scaled by the square root of the ratio.
        """
        rng = np.random.default_rng(0)
        drawn = min(len(expected), _MOST_DRAWN)
        shrink = math.sqrt(drawn / len(expected))
        mean = float(expected.mean())
        rows = expected[rng.integers(0, len(expected), (_REPLICATES, drawn))].mean(axis=1) - mean
        sizes = np.array([len(residuals) for residuals in self.residuals])
        times = rng.multinomial(_REPLICATES, sizes / sizes.sum())
        noise = [
            residuals.mean() * (1 - shrink)
            + residuals[rng.integers(0, len(residuals), (often, drawn))].mean(axis=1) * shrink
            for residuals, often in zip(self.residuals, times, strict=True)
        ]
        low, high = np.quantile(mean + rows * shrink + np.concatenate(noise), [0.025, 0.975])
        return Interval(mean, max(0.0, float(low)), float(high))


@dataclass(frozen=True, slots=True)
class _Features:
    """Rows into a matrix of numbers; categories become the mean error of their rows in the reference."""

    spec: ErrorSpec
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    encoder: TargetEncoder | None

    def matrix(self, rows: Rows) -> np.ndarray:
        if self.spec.task == "binary":
            return rows[["prediction"]].to_numpy(dtype=float)
        parts = [_numbers(rows, self.numbers, self.spec.timezone)]
        if self.encoder is not None:
            parts.append(self.encoder.transform(_texts(rows, self.categories)))
        return np.hstack(parts)


def reference_rows(spec: ErrorSpec, reference: Rows) -> Rows:
    """Return the reference's rows that a model learns from, as the rows of windows are, with ``error`` and ``day``.

    Raises:
        ScoreError: the reference lacks the version or a column.
    """
    prediction = spec.reference_column
    lacking = [name for name in (prediction, *spec.columns) if name not in reference]
    if lacking:
        names = ", ".join(lacking)
        msg = f"the reference lacks {names}; build one with this contract and the predictions of {spec.version}"
        raise ScoreError(msg)
    rows = reference[list(spec.columns)].assign(prediction=reference[prediction].astype("float64"))
    moments = pd.to_datetime(reference["event_time"], utc=True)
    rows["event_ms"] = moments.dt.as_unit("ms").astype("int64")
    rows["day"] = moments.dt.floor("D")
    rows["label"] = reference["label"]
    rows["error"] = realised(spec, rows)
    rows = rows[np.isfinite(rows["error"])]
    step = max(1, math.ceil(len(rows) / MOST_TRAINING_ROWS))
    learned: Rows = rows.iloc[::step].reset_index(drop=True)
    return learned


def realised(spec: ErrorSpec, rows: Rows) -> np.ndarray:
    """Return each row's error by its label: absolute, or 1 where the answer is wrong; NaN without a valid label."""
    prediction = rows["prediction"].to_numpy(dtype=float)
    if spec.task == "binary":
        wrong = (rows["label"].map(str) == spec.positive).to_numpy() != (prediction >= spec.threshold)
        return np.where(rows["label"].notna() & np.isfinite(prediction), wrong.astype(float), np.nan)
    label = rows["label"].to_numpy(dtype=float)
    low, high = spec.valid
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(label) & (label >= low) & (label <= high)
        return np.where(usable, np.abs(prediction - label), np.nan)


def fit_error_model(spec: ErrorSpec, reference: Rows) -> ErrorModel | None:
    """Return the model that ``reference`` teaches, None where it has fewer than ``FEWEST_ROWS`` labelled rows.

    Raises:
        ScoreError: as ``reference_rows``.
    """
    rows = reference_rows(spec, reference)
    if len(rows) < FEWEST_ROWS:
        return None
    features, regressor = _fitted(spec, rows)
    residuals = rows["error"].to_numpy() - _unseen(spec, rows)
    return ErrorModel(spec, features, regressor, _by_day(residuals, rows["day"]), error_profile(spec, rows))


def _by_day(residuals: np.ndarray, days: pd.Series) -> tuple[np.ndarray, ...]:
    """Return the residuals of each day; days of few rows are joined in their order, and what is left over is left out.

    So strays of other years are no day that a window could be like, and quiet models have their weeks instead of days.
    """
    parts = [part.to_numpy() for _, part in pd.Series(residuals).groupby(days.to_numpy())]
    whole = [part for part in parts if len(part) >= _FEWEST_OF_DAY]
    joined = np.empty(0)
    for part in parts:
        if len(part) < _FEWEST_OF_DAY:
            joined = np.concatenate([joined, part])
            if len(joined) >= _FEWEST_OF_DAY:
                whole.append(joined)
                joined = np.empty(0)
    return tuple(whole)


def _unseen(spec: ErrorSpec, rows: Rows) -> np.ndarray:
    """Return the expected error of each row by a model that has not seen it, nor a row of its day where it can be."""
    expected = np.empty(len(rows))
    for seen, unseen in _folds(rows["day"]):
        features, regressor = _fitted(spec, rows.iloc[seen])
        expected[unseen] = ErrorModel(spec, features, regressor, ()).expected(rows.iloc[unseen])
    return expected


def _folds(days: pd.Series) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the places to learn from and to expect: by whole days, unless one day has nearly all rows.

    What a few strays of other days teach of that day says how little they are, not how wrong the model is.
    """
    if days.nunique() > 1:
        by_day = list(GroupKFold(min(_FOLDS, days.nunique())).split(days, groups=days))
        if min(len(seen) for seen, _ in by_day) >= min(FEWEST_ROWS, len(days) // _FOLDS):
            return by_day
    return list(KFold(_FOLDS, shuffle=True, random_state=0).split(days))


def _fitted(spec: ErrorSpec, rows: Rows) -> tuple[_Features, HistGradientBoostingRegressor | IsotonicRegression]:
    if spec.task == "binary":
        happened = (rows["label"].map(str) == spec.positive).to_numpy(dtype=float)
        curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        return _Features(spec, (), (), None), curve.fit(rows["prediction"].to_numpy(dtype=float), happened)
    # Boosting cannot bin a column without values.
    numbers = tuple(name for name in spec.numbers if np.isfinite(rows[name].astype("float64")).any())
    # A category of one value says nothing, and its mean over each fold would say which fold a row is in.
    categories = tuple(name for name in spec.categories if rows[name].nunique(dropna=False) > 1)
    error = rows["error"].to_numpy()
    parts = [_numbers(rows, numbers, spec.timezone)]
    encoder = None
    if categories:
        encoder = TargetEncoder(target_type="continuous", cv=KFold(_FOLDS, shuffle=True, random_state=0))
        parts.append(encoder.fit_transform(_texts(rows, categories), error))
    boosting = HistGradientBoostingRegressor(max_iter=60, early_stopping=False, random_state=0)
    return _Features(spec, numbers, categories, encoder), boosting.fit(np.hstack(parts), error)


def _numbers(rows: Rows, names: Sequence[str], timezone: str) -> np.ndarray:
    local = pd.to_datetime(rows["event_ms"], unit="ms", utc=True).dt.tz_convert(timezone)
    columns = [rows["prediction"], local.dt.hour, local.dt.dayofweek, *(rows[name] for name in names)]
    matrix = np.column_stack([column.astype("float64").to_numpy() for column in columns])
    return np.where(np.isfinite(matrix), matrix, np.nan)


def _texts(rows: Rows, names: Sequence[str]) -> np.ndarray:
    columns = [rows[name].map(str, na_action="ignore").astype(object).where(rows[name].notna(), "") for name in names]
    return np.column_stack([column.to_numpy(dtype=object) for column in columns])


def _expected_wrong(calibrated: np.ndarray, probability: np.ndarray, threshold: float) -> np.ndarray:
    return np.where(probability >= threshold, 1 - calibrated, calibrated)
