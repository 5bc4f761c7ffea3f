"""Job ``quality``: how right each version was, on the predictions whose labels have come.

Every run says what it rests on: predictions, labels, scored rows, coverage. While labels are few the figures
are there and the verdicts are withheld.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from batch.ledger.finality import absent_label, all_labelled_or_late, is_settled, unsettled_reason
from batch.ledger.ledger import Candidate, Key, Tally, summed
from batch.ledger.snapshot import Snapshot
from batch.references.quality_tasks import quality_task
from batch.references.sets import ReferenceFacts
from batch.results import Metric, Outcome, RunStatus
from batch.rows.frames import LabelCounts, Span, label_counts, scored_frames
from batch.rows.outcomes import outcome_parts
from batch.setting import Setting, label_range
from batch.workers.process import Answer
from driftline.checks import QUALITY_METRICS, Rule
from driftline.contract.model import Contract

_NOTHING = LabelCounts(0, 0, 0, 0)
_ENGINE = "driftline"


class QualityJob:
    """Figures of regression or classification per version and window of ``windows.quality``."""

    name = "quality"
    algorithm_version = "3"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows with predictions, once per version and size."""
        contract = setting.contract
        rules = [contract.quality.min_labels, contract.quality.min_positives if contract.task != "regression" else None]
        own = {"algorithm": self.algorithm_version, "quality": rules}
        return [
            replace(one, parts={**one.parts, **_reference_parts(one.key, setting)})
            for one in labelled_candidates(self.name, own, snapshot, setting)
        ]

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Score all windows and versions."""
        span = span_of(due)
        counts = label_counts(setting.store, setting.contract, span)
        frames = scored_frames(setting.store, setting.contract, span)
        places = {one.key: (one.key.start_ms, one.key.model_version) for one in due}
        facts = {key: _facts(key, setting) for key, place in places.items() if place in frames}
        asked = (quality_task(setting.contract, frames[places[key]], key.model_version, facts[key]) for key in facts)
        answered = dict(zip(facts, setting.workers.answers(asked), strict=True))
        return {
            one.key: _outcome(
                one,
                counts.get(places[one.key], _NOTHING),
                answered.get(one.key, Answer()),
                facts.get(one.key),
                setting.contract,
            )
            for one in due
        }

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on quality metrics."""
        return rule.source == "batch" and rule.metric in QUALITY_METRICS


def labelled_candidates(job: str, own: Mapping[str, Any], snapshot: Snapshot, setting: Setting) -> list[Candidate]:
    """Return the windows of ``windows.quality`` with predictions, once per version, due again when labels change.

    ``own`` are further parts of their fingerprints.
    """
    return [
        _candidate(Key(job, version, size, start_ms), own, tally.n, joined.get(start_ms, tally), snapshot, setting)
        for size in dict.fromkeys(setting.contract.windows.quality)
        for (stream, version), tallies in snapshot.counts.items()
        if stream == "predictions"
        for joined in [summed(snapshot.joined.get(version, {}), size)]
        for start_ms, tally in summed(tallies, size).items()
    ]


def span_of(due: Sequence[Candidate]) -> Span:
    """Return the windows of ``due``, which are of one size, with those in which a label that never came counts."""
    starts = tuple(sorted({one.key.start_ms for one in due}))
    assumed = tuple(sorted({one.key.start_ms for one in due if one.parts["absent_means"] is not None}))
    return Span(due[0].key.size, starts, assumed)


def _candidate(
    key: Key, own: Mapping[str, Any], counted: int, joined: Tally, snapshot: Snapshot, setting: Setting
) -> Candidate:
    contract = setting.contract
    is_final = all_labelled_or_late(key.window, joined, snapshot, contract)
    settled = is_settled(key.window, joined, snapshot, contract)
    parts = {
        **own,
        **outcome_parts(contract),
        "label_range": label_range(contract),
        "rows": [counted, joined.n, joined.id_sum],
        "labels": [joined.n_labels, joined.label_sum],
        "is_final": is_final,
        "is_settled": settled,
        "absent_means": absent_label(key.window, snapshot, contract),
    }
    waits_for = snapshot.lacks(key.window, "predictions")
    return Candidate(key, parts, joined, waits_for, is_final, settled, snapshot.runs.get(key))


def _uses_reference(contract: Contract) -> bool:
    """Return whether figures are compared with a reference: a window's own past only where the contract bounds it.

    Every label that comes changes a past, and all windows that it is the past of would be judged again.
    """
    return contract.reference.kind == "fixed" or contract.quality.max_error_ratio is not None


def _reference_parts(key: Key, setting: Setting) -> Mapping[str, Any]:
    if not _uses_reference(setting.contract):
        return {"reference": ""}
    return setting.resolved(key.window, key.model_version, with_labels=True).parts


def _facts(key: Key, setting: Setting) -> ReferenceFacts | None:
    return (
        setting.facts_for(key.window, key.model_version, with_labels=True)
        if _uses_reference(setting.contract)
        else None
    )


def _outcome(
    one: Candidate, counts: LabelCounts, answer: Answer, facts: ReferenceFacts | None, contract: Contract
) -> Outcome:
    coverage = counts.n_labels / counts.n_predictions if counts.n_predictions else 0.0
    metrics = [
        Metric("", "coverage", coverage, counts.n_predictions),
        Metric("", "label_count", float(counts.n_labels), counts.n_predictions),
        Metric("", "scored_count", float(counts.n_scored), counts.n_predictions),
        Metric("", "failed_count", float(counts.n_failed), counts.n_predictions),
        *_assumed_count(one, counts),
        *answer.metrics,
        *_error_ratio(answer, {} if facts is None else facts.quality.get(one.key.model_version, {})),
    ]
    few = counts.n_scored < contract.quality.min_labels
    status: RunStatus = "empty" if not counts.n_scored else "insufficient" if few else "ok"
    return Outcome(
        status=status,
        n_rows=counts.n_predictions,
        metrics=tuple(metrics) if counts.n_predictions else (),
        failures=answer.failures,
        histograms=answer.histograms,
        worst=answer.worst,
        absent=answer.absent,
        n_predictions=counts.n_predictions,
        n_labels=counts.n_labels,
        n_scored=counts.n_scored,
        withheld="" if one.is_settled else unsettled_reason(coverage, contract),
    )


def _assumed_count(one: Candidate, counts: LabelCounts) -> list[Metric]:
    if one.parts["absent_means"] is None:
        return []
    return [Metric("", "assumed_count", float(counts.n_assumed), counts.n_scored)]


def _error_ratio(answer: Answer, expected: Mapping[str, float]) -> list[Metric]:
    """Return the error against the reference's of the same version: of mae, or of the share of wrong answers."""
    found = {metric.metric: metric for metric in answer.metrics if not metric.column}
    if "mae" in found and expected.get("mae", 0.0) > 0:
        ends = (found["mae"].lower, found["mae"].upper)
        return [_ratio(found["mae"].value, ends, expected["mae"], found["mae"].n, "mae over the reference's")]
    if "accuracy" in found and expected.get("accuracy", 1.0) < 1:
        right = found["accuracy"]
        wrong = tuple(None if end is None else 1 - end for end in (right.upper, right.lower))
        method = "share of wrong answers over the reference's"
        return [_ratio(1 - right.value, wrong, 1 - expected["accuracy"], right.n, method)]
    return []


def _ratio(error: float, ends: tuple[float | None, ...], expected: float, n: int, method: str) -> Metric:
    """Return ``error`` over ``expected``, which is taken as certain, with the error's own interval."""
    lower, upper = (None if end is None else end / expected for end in ends)
    return Metric("", "error_ratio", error / expected, n, _ENGINE, method, None, lower, upper)
