"""Job ``slices``: statistics and drift of inputs, and quality of each version, per slice of the contract.

One run per window of ``windows.drift`` for the inputs (version ``""``), and one per version and window of the largest
of ``windows.quality``: a slice of an hour holds too few rows to say anything. A run covers all slices of its window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import compute

from batch.drift.job import feature_specs
from batch.ledger.finality import unsettled_reason
from batch.ledger.ledger import Candidate, Key, Tally, summed
from batch.ledger.snapshot import Snapshot
from batch.quality.job import labelled_candidates, span_of
from batch.references.sets import Reference
from batch.results import ALL, Outcome, RunStatus
from batch.rows.frames import Span, scored_frames, to_arrow_bytes
from batch.setting import Setting
from batch.slices.rows import groupings, members, reference_values, slice_parts, sliced_inputs, working
from batch.workers.process import Answer, Task
from driftline.checks import COMPARISON_METRICS, QUALITY_METRICS, SLICE_METRICS, Rule
from driftline.contract.model import Contract
from driftline.store.inputs_table import column_type

_Place = tuple[int, str]


class SlicesJob:
    """Figures of every slice that the contract names."""

    name = "slices"
    algorithm_version = "2"
    judges_slices = True

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows with inputs, and per version those with predictions; none without slices."""
        if not setting.contract.slices:
            return []
        return [*self._of_inputs(snapshot, setting), *self._of_versions(snapshot, setting)]

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Judge all windows, inputs and versions."""
        span = Span(due[0].key.size, tuple(sorted({one.key.start_ms for one in due})))
        found: dict[Key, Outcome] = {}
        for part in working(setting.store, setting.contract, span):
            judged = _found(setting, part.contract, [one for one in due if one.key.start_ms in part.failures])
            for key, outcome in judged.items():
                found[key] = replace(outcome, failures=(*part.failures[key.start_ms], *outcome.failures))
        return found

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on slices: of quality in the runs of versions, of inputs in the run of inputs."""
        of_version = rule.metric in QUALITY_METRICS | SLICE_METRICS or rule.metric == "prediction_count"
        fits = of_version == bool(key.model_version) and rule.metric not in COMPARISON_METRICS
        return rule.source == "batch" and rule.slice != ALL and fits

    def _of_inputs(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        contract = setting.contract
        shared = {**self._parts(contract), "tests": [str(spec) for spec in feature_specs(contract)]}
        size, found = contract.windows.drift, []
        for start_ms, tally in summed(snapshot.counts.get(("inputs", ""), {}), size).items():
            key = Key(self.name, "", size, start_ms)
            resolved = setting.resolved(key.window)
            parts = {**shared, "rows": [tally.n, tally.id_sum], "reference": resolved.reference_id}
            waits_for = snapshot.lacks(key.window, "inputs")
            found.append(Candidate(key, parts, tally, waits_for, last=snapshot.runs.get(key)))
        return found

    def _of_versions(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        contract = setting.contract
        size = max(contract.windows.quality)
        inputs = summed(snapshot.counts.get(("inputs", ""), {}), size)
        own = {**self._parts(contract), "quality": quality_options(contract)}
        found = []
        for one in labelled_candidates(self.name, own, snapshot, setting):
            if one.key.size == size:
                seen = inputs.get(one.key.start_ms, Tally())
                reference_id = setting.resolved(one.key.window).reference_id
                parts = {**one.parts, "inputs": [seen.n, seen.id_sum], "reference": reference_id}
                waits_for = one.waits_for or snapshot.lacks(one.key.window, "inputs")
                found.append(replace(one, parts=parts, waits_for=waits_for))
        return found

    def _parts(self, contract: Contract) -> dict[str, Any]:
        types = [[name, column_type(column)] for name, column in contract.columns.items()]
        return {"algorithm": self.algorithm_version, "slices": slice_parts(contract), "columns": types}


def _found(setting: Setting, contract: Contract, due: Sequence[Candidate]) -> dict[Key, Outcome]:
    if not contract.slices:
        return {one.key: Outcome("insufficient", one.tally.n) for one in due}
    inputs = [one for one in due if not one.key.model_version]
    versions = [one for one in due if one.key.model_version]
    found = _inputs(setting, contract, inputs) if inputs else {}
    return found | (_versions(setting, contract, versions) if versions else {})


def _inputs(setting: Setting, contract: Contract, due: Sequence[Candidate]) -> dict[Key, Outcome]:
    kinds = ("number", "category", "boolean")
    columns = [name for name, column in contract.columns.items() if column.type in kinds]
    span = Span(due[0].key.size, tuple(sorted(one.key.start_ms for one in due)))
    tables = sliced_inputs(setting.store, contract, span, columns)
    outcomes = {one.key: Outcome("empty", 0) for one in due}
    for reference, values, together in _by_reference(setting, contract, due):
        options = {
            "groupings": groupings(contract, values),
            "columns": columns,
            "numbers": contract.columns_of_type("number"),
            "reference_values": values,
        }
        asked = [one.key for one in together if one.key.start_ms in tables]
        shared = (tuple(feature_specs(contract)), "" if reference is None else reference.reference_id, options)
        tasks = (Task("slice_inputs", to_arrow_bytes(tables[key.start_ms]), *shared) for key in asked)
        answers = setting.workers.answers(tasks, None if reference is None else reference.rows)
        for key, answer in zip(asked, answers, strict=True):
            outcomes[key] = Outcome(_status(answer), tables[key.start_ms].num_rows, answer.metrics, answer.failures)
    return outcomes


def _versions(setting: Setting, contract: Contract, due: Sequence[Candidate]) -> dict[Key, Outcome]:
    span = span_of(due)
    tables = members(setting.store, contract, span)
    scored = scored_frames(setting.store, contract, span)
    shared = {"task": contract.task, "quality": quality_options(contract)}
    outcomes = {one.key: Outcome("empty", 0) for one in due}
    for _, values, together in _by_reference(setting, contract, due):
        rules = groupings(contract, values)
        asked = [one for one in together if _place(one.key) in tables]
        tasks = (_quality_task(tables, scored, _place(one.key), {**shared, "groupings": rules}) for one in asked)
        for one, answer in zip(asked, setting.workers.answers(tasks), strict=True):
            outcomes[one.key] = _judged(one, tables[_place(one.key)], answer, contract)
    return outcomes


def _quality_task(
    tables: Mapping[_Place, pa.Table], scored: Mapping[_Place, pa.Table], place: _Place, options: Mapping[str, Any]
) -> Task:
    to_score = to_arrow_bytes(scored[place]) if place in scored else None
    return Task("slice_quality", to_arrow_bytes(tables[place]), options={**options, "scored": to_score})


def _place(key: Key) -> _Place:
    return key.start_ms, key.model_version


def _by_reference(
    setting: Setting, contract: Contract, due: Sequence[Candidate]
) -> Iterator[tuple[Reference | None, pd.DataFrame | None, list[Candidate]]]:
    """Yield the windows that share a reference, with it and the slice values of its rows."""
    for _, together in groupby(due, key=lambda one: setting.resolved(one.key.window).reference_id):
        windows = list(together)
        reference = setting.reference_for(windows[0].key.window)
        values = None if reference is None else reference_values(setting.store, contract, reference)
        yield reference, values, windows


def _judged(one: Candidate, table: pa.Table, answer: Answer, contract: Contract) -> Outcome:
    labelled = _count(table, "labelled")
    coverage = labelled / table.num_rows
    return Outcome(
        status=_status(answer),
        n_rows=table.num_rows,
        metrics=answer.metrics,
        failures=answer.failures,
        n_predictions=table.num_rows,
        n_labels=labelled,
        n_scored=_count(table, "scored"),
        withheld="" if one.is_settled else unsettled_reason(coverage, contract),
    )


def _count(table: pa.Table, flag: str) -> int:
    return int(compute.sum(table[flag]).as_py() or 0)


def _status(answer: Answer) -> RunStatus:
    """Say ``insufficient`` where no slice had the rows for a figure beyond counts."""
    counts = {"row_count", "prediction_count", "coverage", "label_count", "scored_count", "failed_count"}
    return "ok" if answer.failures or any(metric.metric not in counts for metric in answer.metrics) else "insufficient"


def quality_options(contract: Contract) -> dict[str, Any]:
    """Return the options of ``batch.quality``'s regression or classification for rows that are part of a window."""
    if contract.task == "regression":
        return {}
    positive = contract.positive_class if contract.task == "binary" else None
    return {"positive": positive, "min_positives": contract.quality.min_positives}
