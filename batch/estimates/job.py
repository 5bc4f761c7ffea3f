"""Jobs ``estimate`` and ``correction``: the error before labels, and what the labels that come make of it.

``estimate`` runs once a window's inputs and predictions are complete and needs no label. ``correction`` runs when
labels come: the gap between realised and expected error on the same rows (concept drift), the error with the missing
labels' share filled in, and how good earlier estimates were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from batch.estimates.frames import error_frames, error_spec
from batch.estimates.history import Honesty, Past
from batch.ledger.finality import absent_label, all_labelled_or_late, is_settled, unsettled_reason
from batch.ledger.ledger import Candidate, Key, Tally, summed
from batch.ledger.snapshot import Snapshot
from batch.references.resolution import Resolved
from batch.results import Failure, Metric, Outcome, RunStatus
from batch.rows.frames import Span, to_arrow_bytes
from batch.setting import Setting, label_range
from batch.workers.process import Task
from driftline.checks import CORRECTION_METRICS, ESTIMATE_METRICS, Rule
from driftline.contract.model import Contract

TASKS = ("regression", "binary")
_Found = tuple[tuple[Metric, ...], tuple[Failure, ...]]
_NOTHING: _Found = ((), ())


@dataclass(frozen=True, slots=True)
class _Place:
    """A window of a version: what was counted, what labels were joined to, and the inputs beside it."""

    key: Key
    counted: Tally
    joined: Tally
    inputs: Tally

    @property
    def rows(self) -> list[int]:
        return [self.counted.n, self.counted.id_sum, self.inputs.n, self.inputs.id_sum]


class EstimateJob:
    """The expected error of each version per window of ``windows.quality``, and which columns moved it."""

    name = "estimate"
    algorithm_version = "2"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows with predictions, once per version and size."""
        shared = _shared_parts(self.algorithm_version, setting.contract)
        found = []
        for place in chain.from_iterable(_series(self.name, snapshot, setting.contract)):
            key = place.key
            resolved = setting.resolved(key.window, key.model_version, with_labels=True)
            parts = {**shared, **resolved.parts, "rows": place.rows}
            waits_for = resolved.waits_for or snapshot.lacks(key.window, "inputs", "predictions")
            found.append(Candidate(key, parts, place.counted, waits_for, last=snapshot.runs.get(key)))
        return found

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Estimate all windows and versions."""
        largest = due[0].key.size == max(setting.contract.windows.quality)
        found = _answered(setting, due, with_labels=False, with_causes=largest)
        return {one.key: _outcome(one, found.get(one.key, _NOTHING), setting) for one in due}

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on estimates."""
        return rule.source == "batch" and rule.metric in ESTIMATE_METRICS


class CorrectionJob:
    """The gap between realised and expected error, and the error corrected for labels that have not come."""

    name = "correction"
    algorithm_version = "2"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows whose predictions have labels, once per version and size."""
        shared = _shared_parts(self.algorithm_version, setting.contract)
        found = []
        for series in _series(self.name, snapshot, setting.contract):
            past = Past()
            found += [
                _correction(place, shared, past, snapshot, setting)
                for place in series
                if place.joined.n_labelled or absent_label(place.key.window, snapshot, setting.contract)
            ]
        return found

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Compare expected with realised errors in all windows and versions."""
        found = _answered(setting, due, with_labels=True, with_causes=False)
        honesty = Honesty(setting.store, setting.contract, due)
        outcomes = {}
        for one in sorted(due, key=lambda one: one.key.start_ms):
            metrics, failures = found.get(one.key, _NOTHING)
            metrics += tuple(honesty.figures(one)) if one.is_final else ()
            outcomes[one.key] = _outcome(one, (metrics, failures), setting)
            honesty.learn(one, outcomes[one.key])
        return outcomes

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on gaps and corrected errors."""
        return rule.source == "batch" and rule.metric in CORRECTION_METRICS


def _series(job: str, snapshot: Snapshot, contract: Contract) -> Iterator[list[_Place]]:
    """Yield every version's windows of one size, oldest first."""
    if contract.task not in TASKS:
        return
    for size in dict.fromkeys(contract.windows.quality):
        inputs = summed(snapshot.counts.get(("inputs", ""), {}), size)
        for (stream, version), tallies in snapshot.counts.items():
            if stream == "predictions":
                joined = summed(snapshot.joined.get(version, {}), size)
                yield [
                    _Place(Key(job, version, size, at), tally, joined.get(at, Tally()), inputs.get(at, Tally()))
                    for at, tally in summed(tallies, size).items()
                ]


def _correction(
    place: _Place, shared: Mapping[str, Any], past: Past, snapshot: Snapshot, setting: Setting
) -> Candidate:
    key, joined, contract = place.key, place.joined, setting.contract
    is_final = all_labelled_or_late(key.window, joined, snapshot, contract)
    settled = is_settled(key.window, joined, snapshot, contract)
    resolved = setting.resolved(key.window, key.model_version, with_labels=True)
    parts = {
        **shared,
        **resolved.parts,
        "rows": [*place.rows, joined.n, joined.id_sum],
        "labels": [joined.n_labels, joined.label_sum],
        "is_final": is_final,
        "is_settled": settled,
        "absent_means": absent_label(key.window, snapshot, contract),
    }
    if is_final:
        parts["past"] = past.digest
        past.add(key.start_ms, joined)
    waits_for = resolved.waits_for or snapshot.lacks(key.window, "inputs", "predictions")
    return Candidate(key, parts, joined, waits_for, is_final, settled, snapshot.runs.get(key))


def _shared_parts(algorithm_version: str, contract: Contract) -> dict[str, Any]:
    spec = error_spec(contract, "")
    return {
        "algorithm": algorithm_version,
        "columns": [list(spec.numbers), list(spec.categories)],
        "task": [spec.task, spec.positive, spec.threshold if spec.task == "binary" else 0],
        "label_range": label_range(contract),
        "timezone": spec.timezone,
        "min_labels": contract.quality.min_labels,
    }


def _answered(setting: Setting, due: Sequence[Candidate], *, with_labels: bool, with_causes: bool) -> dict[Key, _Found]:
    """Ask a worker once per version and reference for all their windows."""
    groups: dict[tuple[Resolved, str], list[Key]] = {}
    for one in due:
        resolved = setting.resolved(one.key.window, one.key.model_version, with_labels=True)
        if resolved.is_there:
            groups.setdefault((resolved, one.key.model_version), []).append(one.key)
    span = Span(due[0].key.size, tuple(sorted({one.key.start_ms for one in due})))
    frames = error_frames(setting.store, setting.contract, span) if groups else {}
    absent = {one.key: one.parts.get("absent_means") for one in due}
    found: dict[Key, _Found] = {}
    for (resolved, version), keys in groups.items():
        reference = setting.reference_for(keys[0].window, version, with_labels=True)
        if reference is None or version not in frames:
            continue
        options = {
            "spec": error_spec(setting.contract, version),
            "labels": with_labels,
            "causes": with_causes,
            "absent": {str(key.start_ms): absent[key] for key in keys},
        }
        rows = to_arrow_bytes(_of_windows(frames[version], keys))
        task = Task("estimate", rows, reference_id=resolved.reference_id, options=options)
        (answer,) = setting.workers.answers([task], reference.rows)
        found |= {key: (tuple(answer.values.get(str(key.start_ms), ())), answer.failures) for key in keys}
    return found


def _of_windows(rows: pa.Table, keys: Sequence[Key]) -> pa.Table:
    starts = pa.array([key.start_ms for key in keys], type=rows.schema.field("start_ms").type)
    return rows.filter(pc.is_in(rows["start_ms"], value_set=starts))


def _outcome(one: Candidate, found: _Found, setting: Setting) -> Outcome:
    metrics, failures = found
    n = {metric.metric: metric.n for metric in metrics if not metric.column}
    n_estimated = n.get("estimated_mae", n.get("estimated_accuracy", 0))
    n_scored = n.get("estimate_gap", 0)
    enough = max(n_estimated, n_scored) >= setting.contract.quality.min_labels
    status: RunStatus = "ok" if enough else "insufficient" if one.tally.n else "empty"
    outcome = Outcome(status, one.tally.n, metrics, failures, withheld=_withheld(one, found, setting))
    if one.key.job != CorrectionJob.name:
        return outcome
    return replace(outcome, n_predictions=one.tally.n, n_labels=one.tally.n_labelled, n_scored=n_scored)


def _withheld(one: Candidate, found: _Found, setting: Setting) -> str:
    resolved = setting.resolved(one.key.window, one.key.model_version, with_labels=True)
    if resolved.lacks:
        return resolved.lacks
    if found == _NOTHING:
        return "no answered prediction with its inputs, or too few labelled ones of this version in the reference"
    if not one.is_settled and one.tally.n:
        return unsettled_reason(one.tally.n_labelled / one.tally.n, setting.contract)
    return ""
