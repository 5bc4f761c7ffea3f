"""Inside a worker: how well a classifier tells a window's rows from the reference's, beside how well healthy ones.

ROC AUC of HistGradientBoostingClassifier (scikit-learn), out of fold; 0.5 is no difference. The interval is Hanley
and McNeil's (1982). Healthy days differ, too: each of the reference's windows is told from the rest likewise, and
``domain_auc_expected`` is what 99 of 100 of them stay below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from batch.drift.calibration import FEWEST_WINDOWS, expected_score, size_class
from batch.drift.scoring import reference_windows
from batch.results import DriftSpec, Metric
from batch.workers.process import Answer, Task, as_kind

if TYPE_CHECKING:
    from batch.workers.process import Calculator

ENGINE = "scikit-learn"
_METHOD = "HistGradientBoosting, 3 folds"
_MOST_ROWS = 3_000
_MOST_WINDOWS = 10
_MOST_VALUES = 200
_OTHER = "(other)"
_SEED = 0


def answer(task: Task, rows: pd.DataFrame, calculator: Calculator) -> Answer:
    """Return ``domain_auc`` with its interval, what healthy windows reach, and the ratio of both above one half."""
    specs = [spec for spec in task.specs if spec.column in calculator.reference(task.reference_id)]
    vocabularies = _vocabularies(calculator.reference(task.reference_id), specs)
    past, now = (_matrix(side, specs, vocabularies) for side in (calculator.reference(task.reference_id), rows))
    n = min(len(now), _MOST_ROWS)
    auc = told_apart(past, now)
    margin = 1.96 * _standard_error(auc, n, min(len(past), _MOST_ROWS))
    found = [
        Metric("", "domain_auc", auc, n, ENGINE, _METHOD, None, max(0.0, auc - margin), min(1.0, auc + margin)),
    ]
    expected = _expected(task, past, n, calculator)
    if expected is not None:
        ratio = max(0.0, auc - 0.5) / max(0.01, expected - 0.5)
        found += [
            Metric("", "domain_auc_expected", expected, n, ENGINE, _METHOD),
            Metric("", "domain_auc_ratio", ratio, n, ENGINE, _METHOD),
        ]
    return Answer(tuple(found))


def told_apart(past: pd.DataFrame, now: pd.DataFrame) -> float:
    """Return the out-of-fold ROC AUC of a classifier of ``now`` against ``past``, on at most 3,000 rows of each."""
    sides = [_sampled(side) for side in (past, now)]
    rows = pd.concat(sides, ignore_index=True)
    is_now = np.repeat([0, 1], [len(side) for side in sides])
    model = HistGradientBoostingClassifier(
        max_iter=40, max_leaf_nodes=15, categorical_features="from_dtype", random_state=_SEED, early_stopping=False
    )
    folds = StratifiedKFold(3, shuffle=True, random_state=_SEED)
    scores = cross_val_predict(model, rows, is_now, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(is_now, scores))


def _expected(task: Task, past: pd.DataFrame, n: int, calculator: Calculator) -> float | None:
    """Return what healthy windows of about ``n`` rows reach; None where the reference has too few windows."""
    windows = reference_windows(calculator, task)
    if windows is None:
        return None
    key = (task.reference_id, task.options["window_ms"], "domain_auc", size_class(n))
    if key not in calculator.kept:

        def score(drawn: np.ndarray, left_out: np.ndarray) -> float:
            kept = np.ones(len(past), dtype=bool)
            kept[left_out] = False
            return told_apart(past[kept], past.iloc[drawn])

        enough = len(np.unique(windows)) >= FEWEST_WINDOWS
        found = expected_score(windows, size_class(n), score, _MOST_WINDOWS, repeats=1, root=1) if enough else None
        calculator.kept[key] = None if found is None else min(1.0, found.score)
    expected: float | None = calculator.kept[key]
    return expected


def _matrix(frame: pd.DataFrame, specs: Sequence[DriftSpec], vocabularies: Mapping[str, list[str]]) -> pd.DataFrame:
    """Return the columns as the tests see them: numbers within their range, and categories of known values."""
    return pd.DataFrame(
        {
            spec.column: _coded(frame[spec.column], vocabularies[spec.column])
            if spec.kind == "category"
            else as_kind(frame[spec.column], spec).reindex(frame.index)
            for spec in specs
        }
    )


def _vocabularies(frame: pd.DataFrame, specs: Sequence[DriftSpec]) -> dict[str, list[str]]:
    """Return the most frequent values of each category; the classifier takes at most 255."""
    categories = [spec.column for spec in specs if spec.kind == "category"]
    return {name: frame[name].dropna().map(str).value_counts().index[:_MOST_VALUES].tolist() for name in categories}


def _coded(values: pd.Series, known: list[str]) -> pd.Series:
    """Return ``values`` as a category; those that are rare in the reference, or not in it, are one value."""
    text = values.map(str, na_action="ignore").astype(object)
    text = text.where(text.isna() | text.isin(known), _OTHER)
    return pd.Series(pd.Categorical(text, categories=[*known, _OTHER]), index=values.index)


def _sampled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame if len(frame) <= _MOST_ROWS else frame.sample(_MOST_ROWS, random_state=_SEED)


def _standard_error(auc: float, positives: int, negatives: int) -> float:
    both, one = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positives - 1) * (both - auc**2) + (negatives - 1) * (one - auc**2)
    return math.sqrt(max(0.0, variance) / (positives * negatives))
