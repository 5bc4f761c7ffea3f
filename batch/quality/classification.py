"""How wrong classes are: a window's figures for binary and multiclass models, their intervals, the worst rows.

Runs inside a worker. Figures are scikit-learn's. Precision, recall, F1 and the areas under curves rest on positives:
with fewer than ``min_positives`` of them (precision: also of positive answers) they are absent, so that no check
can pass on them. Rows without probabilities count for the confusion and not for the figures of scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
)

from batch.quality import intervals
from batch.quality.class_scores import ENGINE, Scores, Texts, figures_of_scores, known_classes, scores_of
from batch.quality.error_shapes import error_histogram, shape_of_shares
from batch.quality.intervals import Floats
from batch.quality.regression import worst_places
from batch.results import Failure, Histogram, Metric, WorstRow
from batch.workers.process import Answer, Calculator, Task

if TYPE_CHECKING:
    import pandas as pd

_MOST_CLASSES = 50
_RESAMPLES = 500
_SEED = 20230201
_WILSON = "Wilson's interval"
_ON_POSITIVES = ("precision", "recall", "f1", "roc_auc", "pr_auc")

Counts = npt.NDArray[np.int64]


def answer(task: Task, rows: pd.DataFrame, _: Calculator) -> Answer:
    """Score ``prediction``, ``label`` and ``score.CLASS``, at least one row; with ``id`` also the worst rows.

    Options: ``positive`` (None for multiclass), ``min_positives``, ``shares`` (of the classes among the reference's
    labels, empty without one) and ``errors`` (the reference's, as for regression).
    """
    options = task.options
    positive, scores = options.get("positive"), scores_of(rows, options.get("positive"))
    misnamed = misnamed_positive(rows, positive)
    if misnamed:
        return Answer(failures=(Failure("", misnamed),))
    label, prediction = (known_classes(rows[name], positive) for name in ("label", "prediction"))
    metrics, failures = figures(label, prediction, positive, options["min_positives"])
    shares = options.get("shares") or {}
    metrics += figures_of_scores(label[scores.present], scores, positive, options["min_positives"], shares)
    error = errors(label, prediction, scores)
    absent = lacking(label, prediction, positive, options["min_positives"])
    if options.get("shape"):
        return Answer(tuple(metrics), failures, values={"errors": shape_of_shares(error)})
    if "id" not in rows:
        return Answer(tuple(metrics), failures, absent=absent)
    shapes = (error_histogram("error", error, options.get("errors"), shares=True), _confusion_histogram(rows))
    worst = tuple(_worst_rows(rows, prediction, scores, error))
    return Answer(tuple(metrics), failures, shapes, worst, absent=absent)


def figures(
    label: Texts, prediction: Texts, positive: str | None, min_positives: int
) -> tuple[list[Metric], tuple[Failure, ...]]:
    """Return the figures of the classes themselves, and why some are absent."""
    n, right = len(label), int((label == prediction).sum())
    # Numbers, because scikit-learn takes fifty times longer to compare texts.
    classes = sorted({*label, *prediction})
    place = {name: index for index, name in enumerate(classes)}
    truth, said = (np.fromiter(map(place.__getitem__, side), dtype=np.int64, count=n) for side in (label, prediction))
    value = float(accuracy_score(truth, said))
    accuracy = Metric("", "accuracy", value, n, ENGINE, _WILSON, None, *intervals.of_share(right, n))
    if positive is not None:
        wanted = np.array(classes) == positive
        return [accuracy, *_binary(wanted[truth], wanted[said], min_positives)], ()
    if len(classes) > _MOST_CLASSES:
        msg = f"{len(classes)} classes in this window; figures by class are computed for at most {_MOST_CLASSES}"
        return [accuracy], (Failure("", msg),)
    return [accuracy, *_many(truth, said, classes, min_positives)], ()


def misnamed_positive(rows: pd.DataFrame, positive: str | None) -> str:
    """Return what is wrong where two other classes occur and the positive one does not, so that all would be right."""
    if positive is None:
        return ""
    found = {*rows["label"].unique(), *rows["prediction"].unique()} - {f"not {positive}"}
    if positive in found or len(found) < 2:
        return ""
    names = ", ".join(sorted(map(str, found))[:5])
    return f"`positive_class` {positive} is none of the classes of this window, {names}; correct it in the contract"


def lacking(label: Texts, prediction: Texts, positive: str | None, min_positives: int) -> dict[tuple[str, str], str]:
    """Return why figures (column, metric) that rest on positives are absent."""
    found: dict[tuple[str, str], str] = {}
    names = sorted({*label, *prediction}) if positive is None else [positive]
    for name in names:
        positives, answers = int((label == name).sum()), int((prediction == name).sum())
        columns = [""] if positive is not None else [f"class={name}", ""]
        for column in columns:
            if positives < min_positives:
                reason = f"{positives} rows of class {name}; judged from {min_positives}"
                found |= {(column, metric): reason for metric in _ON_POSITIVES}
            elif answers < min_positives:
                found[column, "precision"] = f"{answers} answers of class {name}; judged from {min_positives}"
    return found


def errors(label: Texts, prediction: Texts, scores: Scores) -> Floats:
    """Return 1 minus the probability that the true class was given; 0 or 1 for rows without probabilities."""
    found: Floats = (label != prediction).astype("float64")
    found[scores.present] = (1 - scores.given_to(label[scores.present])).clip(0.0, 1.0)
    return found


def _binary(label: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_], min_positives: int) -> Iterator[Metric]:
    matrix = confusion_matrix(label, prediction, labels=[True, False])
    n, positives, answers = len(label), int(label.sum()), int(prediction.sum())
    hits = int(matrix[0, 0])
    yield from _counts("", matrix, 0)
    for name, count in (("positive_share", positives), ("predicted_positive_share", answers)):
        yield Metric("", name, count / n, n, ENGINE, _WILSON, None, *intervals.of_share(count, n))
    if positives < min_positives:
        return
    recall = float(recall_score(label, prediction))
    yield Metric("", "recall", recall, positives, ENGINE, _WILSON, None, *intervals.of_share(hits, positives))
    f1 = float(f1_score(label, prediction, zero_division=0))
    ends = intervals.of_draws(f1, _f1(_redrawn(matrix))[:, 0])
    yield Metric("", "f1", f1, positives, ENGINE, "bootstrap", None, *ends)
    if answers >= min_positives:
        precision = float(precision_score(label, prediction))
        yield Metric("", "precision", precision, answers, ENGINE, _WILSON, None, *intervals.of_share(hits, answers))


def _many(label: Counts, prediction: Counts, classes: list[str], min_positives: int) -> Iterator[Metric]:
    # At least two, because scikit-learn warns of a matrix of one.
    matrix = confusion_matrix(label, prediction, labels=range(max(2, len(classes))))[: len(classes), : len(classes)]
    positives, answers, n = matrix.sum(axis=1), matrix.sum(axis=0), len(label)
    drawn = _redrawn(matrix)
    places = range(len(classes))
    found = precision_recall_fscore_support(label, prediction, labels=places, average=None, zero_division=0.0)
    for index, name in enumerate(classes):
        column, hits = f"class={name}", int(matrix[index, index])
        precision, recall, f1 = (float(values[index]) for values in found[:3])
        rows, said = int(positives[index]), int(answers[index])
        yield from _counts(column, matrix, index)
        if rows < min_positives:
            continue
        yield Metric(column, "recall", recall, rows, ENGINE, _WILSON, None, *intervals.of_share(hits, rows))
        yield Metric(column, "f1", f1, rows, ENGINE, "bootstrap", None, *intervals.of_draws(f1, _f1(drawn)[:, index]))
        if said >= min_positives:
            yield Metric(column, "precision", precision, said, ENGINE, _WILSON, None, *intervals.of_share(hits, said))
    if positives.min() >= min_positives:
        yield _macro("recall", float(recall_score(label, prediction, average="macro")), _recall(drawn), n)
        yield _macro("f1", float(f1_score(label, prediction, average="macro", zero_division=0)), _f1(drawn), n)
        if answers.min() >= min_positives:
            yield _macro("precision", float(precision_score(label, prediction, average="macro")), _precision(drawn), n)


def _macro(name: str, value: float, drawn: Floats, n: int) -> Metric:
    ends = intervals.of_draws(value, drawn.mean(axis=1))
    return Metric("", name, value, n, ENGINE, "mean over classes, bootstrap", None, *ends)


def _counts(column: str, matrix: Counts, index: int) -> Iterator[Metric]:
    """Yield the four counts of one class against the rest."""
    n, hits = int(matrix.sum()), int(matrix[index, index])
    missed, false = int(matrix[index].sum()) - hits, int(matrix[:, index].sum()) - hits
    counts = {"true_positive": hits, "false_positive": false, "false_negative": missed}
    for name, count in {**counts, "true_negative": n - hits - missed - false}.items():
        yield Metric(column, f"{name}_count", float(count), n, ENGINE)


def _redrawn(matrix: Counts) -> Counts:
    """Return ``_RESAMPLES`` confusion matrices of as many rows, drawn with the shares of this one."""
    n = int(matrix.sum())
    drawn = np.random.default_rng(_SEED).multinomial(n, matrix.ravel() / n, size=_RESAMPLES)
    return drawn.reshape(_RESAMPLES, *matrix.shape)


def _hits(drawn: Counts) -> Counts:
    found: Counts = np.diagonal(drawn, axis1=1, axis2=2)
    return found


def _shares(part: Counts, whole: Counts) -> Floats:
    found: Floats = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return found


def _recall(drawn: Counts) -> Floats:
    return _shares(_hits(drawn), drawn.sum(axis=2))


def _precision(drawn: Counts) -> Floats:
    return _shares(_hits(drawn), drawn.sum(axis=1))


def _f1(drawn: Counts) -> Floats:
    return _shares(2 * _hits(drawn), drawn.sum(axis=1) + drawn.sum(axis=2))


def _confusion_histogram(rows: pd.DataFrame) -> Histogram:
    """Return how often each label got each answer, as the pairs ``label → answer`` that occur."""
    pairs = (rows["label"].astype(str) + " → " + rows["prediction"].astype(str)).value_counts().sort_index()
    counts = tuple(int(count) for count in pairs)
    return Histogram("confusion", (), tuple(pairs.index), counts, (0,) * len(counts))


def _worst_rows(rows: pd.DataFrame, prediction: Texts, scores: Scores, error: Floats) -> Iterator[WorstRow]:
    """Yield the rows with the greatest error; an answer comes with the probability it was given, where there is one."""
    given: Floats = np.full(len(rows), np.nan)
    given[scores.present] = scores.given_to(prediction[scores.present])
    for place, at in enumerate(worst_places(rows["id"], error), 1):
        row, share = rows.iloc[at], float(given[at])
        answer_text = str(row["prediction"]) if math.isnan(share) else f"{row['prediction']} ({share:.3f})"
        yield WorstRow(place, str(row["id"]), answer_text, str(row["label"]), float(error[at]))
