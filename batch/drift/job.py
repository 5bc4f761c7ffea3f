"""Jobs ``drift`` and ``label_drift``: how far a window's distributions are from the reference's.

``drift`` has one run per window for all features (version ``""``) and one per model version for its predictions.
Labels have runs of their own: they arrive for days, and each arrival would score all features again.
Labels outside the contract's valid range are left out on both sides; features and predictions outside theirs count
as its nearer end (winsorised), in the reference and in the window. Labels are judged when quality is, and with what
absent ones count as: a reference holds them so, and without them a label that only ever says "fraud" cannot drift.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa

from batch.ledger.finality import absent_label, all_labelled_or_late, is_settled, unsettled_reason
from batch.ledger.ledger import Candidate, Key, summed
from batch.ledger.snapshot import Snapshot
from batch.references.resolution import Resolved
from batch.references.sets import PREDICTION_PREFIX, Reference
from batch.results import DriftSpec, Outcome, RunStatus
from batch.rows.frames import Span, input_frames, label_frames, prediction_frames, to_arrow_bytes, valid_range
from batch.setting import Setting, label_range
from batch.workers.process import Answer, Task
from driftline.checks import DRIFT_METRICS, Rule
from driftline.contract.model import Contract
from driftline.windows import to_window_ms

_Work = tuple[Key, pa.Table | None, Sequence[DriftSpec]]


class DriftJob:
    """Evidently's pinned tests on features and predictions per window of ``windows.drift``."""

    name = "drift"
    algorithm_version = "3"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows with inputs, and per version those with predictions."""
        size = setting.contract.windows.drift
        found = []
        for (stream, version), tallies in snapshot.counts.items():
            specs = feature_specs(setting.contract) if stream == "inputs" else [outcome_spec(setting.contract, version)]
            if not specs:
                continue
            shared = _shared_parts(self.algorithm_version, setting, specs)
            streams = ("inputs",) if stream == "inputs" else ("inputs", "predictions")
            for start_ms, tally in summed(tallies, size).items():
                key = Key(self.name, version, size, start_ms)
                resolved = setting.resolved(key.window, version)
                parts = {**shared, **resolved.parts, "rows": [tally.n, tally.id_sum]}
                waits_for = resolved.waits_for or snapshot.lacks(key.window, *streams)
                found.append(Candidate(key, parts, tally, waits_for, last=snapshot.runs.get(key)))
        return found

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Score features and predictions of all windows."""
        features = [one for one in due if not one.key.model_version]
        answered = [one for one in due if one.key.model_version]
        work: list[_Work] = []
        if features:
            specs = feature_specs(setting.contract)
            columns = [spec.column for spec in specs]
            rows = input_frames(setting.store, setting.contract, _span(features), columns)
            work += [(one.key, rows.get(one.key.start_ms), specs) for one in features]
        if answered:
            predictions = prediction_frames(setting.store, setting.contract, _span(answered))
            for one in answered:
                spec = outcome_spec(setting.contract, one.key.model_version)
                table = predictions.get((one.key.start_ms, one.key.model_version))
                work.append((one.key, None if table is None else table.rename_columns([spec.column]), [spec]))
        return _scored(setting, work)

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge drift rules on features in the run of features, on the prediction in those of versions."""
        of_version = rule.column == "prediction"
        fits = of_version == bool(key.model_version) and rule.column != "label"
        return rule.source == "batch" and rule.metric in DRIFT_METRICS and fits


class LabelDriftJob:
    """Evidently's pinned test on the labels that have arrived for a window's inputs."""

    name = "label_drift"
    algorithm_version = "3"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows whose inputs have labels, or none that means something."""
        size, contract = setting.contract.windows.drift, setting.contract
        shared = _shared_parts(self.algorithm_version, setting, [label_spec(setting.contract)])
        shared["label_range"] = label_range(setting.contract)
        found = []
        for start_ms, tally in summed(snapshot.labelled_inputs, size).items():
            key = Key(self.name, "", size, start_ms)
            absent = absent_label(key.window, snapshot, contract)
            if not tally.n_labelled and absent is None:
                continue
            is_final = all_labelled_or_late(key.window, tally, snapshot, contract)
            settled = is_settled(key.window, tally, snapshot, contract)
            resolved = setting.resolved(key.window, with_labels=True)
            parts = {
                **shared,
                **resolved.parts,
                "rows": [tally.n, tally.id_sum],
                "labels": [tally.n_labels, tally.label_sum],
                "is_final": is_final,
                "is_settled": settled,
                "absent_means": absent,
            }
            waits_for = resolved.waits_for or snapshot.lacks(key.window, "inputs")
            found.append(Candidate(key, parts, tally, waits_for, is_final, settled, snapshot.runs.get(key)))
        return found

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Score the labels of all windows."""
        assumed = tuple(one.key.start_ms for one in due if one.parts["absent_means"] is not None)
        rows = label_frames(setting.store, setting.contract, replace(_span(due), assumed=assumed))
        spec = label_spec(setting.contract)
        work = [(one.key, rows.get(one.key.start_ms), [spec]) for one in due]
        outcomes = _scored(setting, work, with_labels=True)
        return {one.key: _labelled(one, outcomes[one.key], setting.contract) for one in due}

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge drift rules on the label."""
        return rule.source == "batch" and rule.metric in DRIFT_METRICS and rule.column == "label"


def feature_specs(contract: Contract) -> list[DriftSpec]:
    """Return the test of each number, category and boolean."""
    return [
        _spec(contract, name, is_number=contract.columns[name].type == "number")
        for name in contract.columns_of_type("number", "category", "boolean")
    ]


def outcome_spec(contract: Contract, version: str) -> DriftSpec:
    """Return the test of a version's predictions; its column is the reference's."""
    return _spec(contract, PREDICTION_PREFIX + version, is_number=contract.task == "regression")


def label_spec(contract: Contract) -> DriftSpec:
    """Return the test of the label; numbers outside the valid range are left out."""
    spec = _spec(contract, "label", is_number=contract.task == "regression")
    return replace(spec, valid=valid_range(contract)) if spec.kind == "number" else spec


def _spec(contract: Contract, column: str, *, is_number: bool) -> DriftSpec:
    rule, known = contract.drift, contract.columns.get(column)
    own = known.drift_threshold if known is not None else None
    importance = None if known is None else known.importance
    if not is_number:
        threshold = own or rule.category_threshold
        return DriftSpec(column, "category", rule.category_method, threshold, rule.min_rows, importance=importance)
    threshold, clip = own or rule.number_threshold, _clip(contract, column)
    return DriftSpec(column, "number", rule.number_method, threshold, rule.min_rows, clip=clip, importance=importance)


def _clip(contract: Contract, column: str) -> tuple[float, float] | None:
    """Return the contract's range of a number, None where it sets none; labels outside theirs are left out instead."""
    if column.startswith(PREDICTION_PREFIX):
        range_ = contract.prediction.range
    else:
        range_ = contract.columns[column].range if column in contract.columns else None
    if range_ is None:
        return None
    low = -math.inf if range_.low is None else range_.low
    return low, math.inf if range_.high is None else range_.high


def _shared_parts(algorithm_version: str, setting: Setting, specs: Iterable[DriftSpec]) -> dict[str, object]:
    return {
        "algorithm": algorithm_version,
        "tests": [
            [spec.column, spec.kind, spec.method, spec.threshold, spec.min_rows, spec.importance, str(spec.clip)]
            for spec in specs
        ],
    }


def _span(due: Sequence[Candidate]) -> Span:
    size: timedelta = due[0].key.size
    rows: dict[int, int] = {}
    for one in due:
        rows[one.key.start_ms] = min(one.tally.n, rows.get(one.key.start_ms, one.tally.n))
    starts = tuple(sorted(rows))
    return Span(size, starts, rows=tuple(rows[start] for start in starts))


def _scored(setting: Setting, work: Sequence[_Work], *, with_labels: bool = False) -> dict[Key, Outcome]:
    """Score each window against its own reference, all windows that share one together."""
    by_reference: dict[Resolved, list[_Work]] = {}
    for one in work:
        resolved = setting.resolved(one[0].window, one[0].model_version, with_labels=with_labels)
        by_reference.setdefault(resolved, []).append(one)
    outcomes: dict[Key, Outcome] = {}
    for resolved, group in by_reference.items():
        if resolved.lacks:
            outcomes |= {key: replace(_outcome(table, Answer()), withheld=resolved.lacks) for key, table, _ in group}
        else:
            key = group[0][0]
            outcomes |= _compared(
                setting, group, setting.reference_for(key.window, key.model_version, with_labels=with_labels)
            )
    return outcomes


def _compared(setting: Setting, work: Sequence[_Work], reference: Reference | None) -> dict[Key, Outcome]:
    if reference is None:
        msg = "drift needs a reference"
        raise ValueError(msg)
    asked = [(key, table, specs) for key, table, specs in work if table is not None and _enough(table, specs)]
    tasks = (
        Task(
            "drift",
            to_arrow_bytes(table),
            tuple(specs),
            reference.reference_id,
            {"window_ms": to_window_ms(key.size)},
        )
        for key, table, specs in asked
    )
    answers = setting.workers.answers(tasks, reference.rows)
    answered = {key: answer for (key, _, _), answer in zip(asked, answers, strict=True)}
    return {key: _outcome(table, answered.get(key, Answer())) for key, table, _ in work}


def _enough(table: pa.Table, specs: Sequence[DriftSpec]) -> bool:
    rows: int = table.num_rows
    return rows >= min(spec.min_rows for spec in specs)


def _outcome(table: pa.Table | None, answer: Answer) -> Outcome:
    n_rows = 0 if table is None else table.num_rows
    status: RunStatus = "empty" if n_rows == 0 else "ok" if answer.metrics or answer.failures else "insufficient"
    metrics = tuple(replace(metric, column=_shown(metric.column)) for metric in answer.metrics)
    failures = tuple(replace(failure, column=_shown(failure.column)) for failure in answer.failures)
    histograms = tuple(replace(one, column=_shown(one.column)) for one in answer.histograms)
    return Outcome(status, n_rows, metrics, failures, histograms=histograms)


def _labelled(one: Candidate, outcome: Outcome, contract: Contract) -> Outcome:
    """Return ``outcome`` with the labels that it rests on, and without verdicts while these are no fair sample."""
    n, n_labels = one.tally.n, one.tally.n_labelled
    waits = "" if one.is_settled else unsettled_reason(n_labels / n, contract)
    return replace(outcome, n_predictions=n, n_labels=n_labels, withheld=outcome.withheld or waits)


def _shown(column: str) -> str:
    return "prediction" if column.startswith(PREDICTION_PREFIX) else column
