"""Job ``custom``: the contract's own figures over the rows that quality rests on.

An SQL aggregate runs in the store, which the contract's grammar keeps to its row; an Evidently metric and a Python
function run in a worker. Each stands alone: one that fails is an error of that figure and of nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from batch.ledger.finality import unsettled_reason
from batch.ledger.ledger import Candidate, Key, Tally, summed
from batch.ledger.snapshot import Snapshot
from batch.quality.job import labelled_candidates, span_of
from batch.quality.scored_inputs import scored_aggregate, scored_inputs, shadowed
from batch.references.quality_tasks import quality_options
from batch.results import Failure, Metric, Outcome
from batch.rows.frames import Span, to_arrow_bytes
from batch.rows.halving import ask_by_halves
from batch.setting import Setting
from batch.workers.process import Answer, Task
from driftline.checks import Rule
from driftline.contract.model import Contract
from driftline.contract.parts import CustomMetric
from driftline.metrics import CUSTOM_PREFIX

_Place = tuple[int, str]


class CustomJob:
    """The contract's ``metrics`` per version and window of ``windows.quality``."""

    name = "custom"
    algorithm_version = "2"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows with predictions, where the contract has metrics of its own."""
        contract = setting.contract
        if not contract.metrics:
            return []
        own = {
            "algorithm": self.algorithm_version,
            "metrics": [metric.model_dump(mode="json") for metric in contract.metrics],
            "positive": contract.positive_class,
            "features": shadowed(contract),
            "columns": _seen_columns(contract),
            "reference": "",
        }
        inputs = snapshot.counts.get(("inputs", ""), {})
        sums = {size: summed(inputs, size) for size in contract.windows.quality}
        found = []
        for one in labelled_candidates(self.name, own, snapshot, setting):
            asked = sums[one.key.size].get(one.key.start_ms, Tally())
            waits_for = snapshot.lacks(one.key.window, "inputs", "predictions")
            found.append(replace(one, parts={**one.parts, "inputs": [asked.n, asked.id_sum]}, waits_for=waits_for))
        return found

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Compute SQL metrics of all windows by one statement each, or a few; the others window by window."""
        span = span_of(due)
        places = {one.key: (one.key.start_ms, one.key.model_version) for one in due}
        by_sql = _by_sql(setting, span, list(places.values()))
        by_worker = _by_worker(setting, span, list(places.values()))
        found = {}
        for one in due:
            answer = _together(by_sql[places[one.key]], by_worker.get(places[one.key], Answer()))
            coverage = one.tally.n_labelled / one.tally.n if one.tally.n else 0.0
            found[one.key] = Outcome(
                "ok" if answer.metrics or answer.failures else "empty",
                one.tally.n,
                answer.metrics,
                answer.failures,
                n_predictions=one.tally.n,
                n_labels=one.tally.n_labelled,
                withheld="" if one.is_settled else unsettled_reason(coverage, setting.contract),
            )
        return found

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on custom metrics."""
        return rule.source == "batch" and rule.metric.startswith(CUSTOM_PREFIX)


def _seen_columns(contract: Contract) -> list[list[str]]:
    """Return the columns that figures of a worker see, by name and type; SQL names those that it reads."""
    if all(metric.sql is not None for metric in contract.metrics):
        return []
    return [[name, column.type] for name, column in contract.columns.items()]


def _by_sql(setting: Setting, span: Span, places: Sequence[_Place]) -> dict[_Place, Answer]:
    """Return what the SQL metrics say of each window and version, and why some say nothing."""
    store, contract = setting.store, setting.contract
    answers = dict.fromkeys(places, Answer())
    for metric in contract.metrics:
        expression = contract.metric_expression(metric)
        if expression is None:
            continue
        asked = ask_by_halves(span, partial(scored_aggregate, store, contract, expression=expression.text))
        refusals = {place: asked.refused[place[0]] for place in places if place[0] in asked.refused}
        said = {place: _refused(metric, reason) for place, reason in refusals.items()}
        said |= {(row["start_ms"], row["model_version"]): _said(metric, expression.text, row) for row in asked.rows}
        answers = {place: _together(answer, said.get(place, Answer())) for place, answer in answers.items()}
    return answers


def _said(metric: CustomMetric, expression: str, row: Mapping[str, Any]) -> Answer:
    value = row["value"]
    if value is not None and not isinstance(value, bool | int | float):
        return _refused(metric, f"`{metric.sql}` must give a number; got {type(value).__name__}")
    if value is None or not math.isfinite(value):
        return Answer()
    return Answer((Metric("", CUSTOM_PREFIX + metric.name, float(value), row["n"], method=expression[:200]),))


def _refused(metric: CustomMetric, reason: str) -> Answer:
    return Answer(failures=(Failure(CUSTOM_PREFIX + metric.name, reason),))


def _together(first: Answer, second: Answer) -> Answer:
    return Answer((*first.metrics, *second.metrics), (*first.failures, *second.failures))


def _by_worker(setting: Setting, span: Span, places: Sequence[_Place]) -> dict[_Place, Answer]:
    contract = setting.contract
    asked = [metric.model_dump(mode="json") for metric in contract.metrics if metric.sql is None]
    if not asked:
        return {}
    frames = scored_inputs(setting.store, contract, span)
    known = [place for place in places if place in frames]
    options = {"metrics": asked, **_definition(contract)}
    tasks = (Task("custom", to_arrow_bytes(frames[place]), options=options) for place in known)
    return dict(zip(known, setting.workers.answers(tasks), strict=True))


def _definition(contract: Contract) -> dict[str, Any]:
    """Return what Evidently has to know of the columns."""
    return {
        "task": contract.task,
        "threshold": contract.decision_threshold,
        "positive": quality_options(contract).get("positive"),
        "numbers": list(contract.columns_of_type("number")),
        "categories": list(contract.columns_of_type("category", "boolean")),
    }
