"""Job ``quality``: how right each version was, on the predictions whose labels have come.

Every run says what it rests on: predictions, labels, scored rows, coverage. While labels are few the figures
are there and the verdicts are withheld.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from batch.finality import all_labelled_or_late, enough_to_judge
from batch.frames import LabelCounts, Span, label_counts, scored_frames, to_arrow_bytes
from batch.ledger import Candidate, Key, Tally, summed
from batch.results import Metric, Outcome, RunStatus
from batch.setting import Setting, label_range
from batch.snapshot import Snapshot
from batch.worker_process import Answer, Task
from driftline.checks import QUALITY_METRICS, Rule
from driftline.contract.model import Contract

_NOTHING = LabelCounts(0, 0, 0, 0)


class QualityJob:
    """Evidently's regression metrics per version and window of ``windows.quality``."""

    name = "quality"
    algorithm_version = "1"

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows with predictions, once per version and size."""
        contract = setting.contract
        if contract.task != "regression":
            return []
        return [
            _candidate(Key(self.name, version, size, start_ms), tally.n, joined.get(start_ms, tally), snapshot, setting)
            for size in dict.fromkeys(contract.windows.quality)
            for (stream, version), tallies in snapshot.counts.items()
            if stream == "predictions"
            for joined in [summed(snapshot.joined.get(version, {}), size)]
            for start_ms, tally in summed(tallies, size).items()
        ]

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Score all windows and versions."""
        span = Span(due[0].key.size, tuple(sorted({one.key.start_ms for one in due})))
        counts = label_counts(setting.store, setting.contract, span)
        frames = scored_frames(setting.store, setting.contract, span)
        places = {one.key: (one.key.start_ms, one.key.model_version) for one in due}
        asked: list[tuple[Key, pa.Table]] = [(key, frames[place]) for key, place in places.items() if place in frames]
        answers = setting.workers.answers(Task("quality", to_arrow_bytes(rows)) for _, rows in asked)
        answered = {key: answer for (key, _), answer in zip(asked, answers, strict=True)}
        return {
            one.key: _outcome(one, counts.get(places[one.key], _NOTHING), answered.get(one.key, Answer()), setting)
            for one in due
        }

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on quality metrics."""
        return rule.source == "batch" and rule.metric in QUALITY_METRICS


def _candidate(key: Key, counted: int, joined: Tally, snapshot: Snapshot, setting: Setting) -> Candidate:
    contract = setting.contract
    is_final = all_labelled_or_late(key.window, joined, snapshot, contract)
    is_settled = is_final or enough_to_judge(key.window, joined, snapshot, contract)
    parts = {
        "algorithm": QualityJob.algorithm_version,
        "task": contract.task,
        "label_range": label_range(contract),
        "min_labels": contract.quality.min_labels,
        "reference": setting.reference_id if _uses_reference(contract) else "",
        "rows": [counted, joined.n, joined.id_sum],
        "labels": [joined.n_labels, joined.label_sum],
        "is_final": is_final,
        "is_settled": is_settled,
    }
    waits_for = snapshot.lacks(key.window, "predictions")
    return Candidate(key, parts, joined, waits_for, is_final, is_settled, snapshot.runs.get(key))


def _uses_reference(contract: Contract) -> bool:
    return contract.quality.max_error_ratio is not None


def _outcome(one: Candidate, counts: LabelCounts, answer: Answer, setting: Setting) -> Outcome:
    coverage = counts.n_labels / counts.n_predictions if counts.n_predictions else 0.0
    metrics = [
        Metric("", "coverage", coverage, counts.n_predictions),
        Metric("", "label_count", float(counts.n_labels), counts.n_predictions),
        Metric("", "scored_count", float(counts.n_scored), counts.n_predictions),
        Metric("", "failed_count", float(counts.n_failed), counts.n_predictions),
        *answer.metrics,
        *_error_ratio(one, answer, setting),
    ]
    few = counts.n_scored < setting.contract.quality.min_labels
    status: RunStatus = "empty" if not counts.n_scored else "insufficient" if few else "ok"
    return Outcome(
        status=status,
        n_rows=counts.n_predictions,
        metrics=tuple(metrics) if counts.n_predictions else (),
        failures=answer.failures,
        n_predictions=counts.n_predictions,
        n_labels=counts.n_labels,
        n_scored=counts.n_scored,
        withheld="" if one.is_settled else f"{coverage:.0%} of the labels have come; judged when nearly all have",
    )


def _error_ratio(one: Candidate, answer: Answer, setting: Setting) -> list[Metric]:
    """Return the error against the reference's of the same version, where the contract bounds it."""
    if not _uses_reference(setting.contract) or setting.reference is None:
        return []
    expected = setting.reference.facts.quality.get(one.key.model_version, {}).get("mae", 0.0)
    return [
        Metric("", "error_ratio", metric.value / expected, metric.n, "driftline", "mae over the reference's")
        for metric in answer.metrics
        if metric.metric == "mae" and expected > 0
    ]
