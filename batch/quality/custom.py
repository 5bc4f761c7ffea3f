"""Job ``custom``: the contract's own figures over the rows that quality rests on.

An SQL aggregate runs in the store, which the contract's grammar keeps to its row; an Evidently metric and a Python
function run in a worker. Each stands alone: one that fails is an error of that figure and of nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from batch.ledger.ledger import Candidate, Key, Tally, summed
from batch.ledger.snapshot import Snapshot
from batch.quality.job import labelled_candidates, span_of
from batch.quality.scored_inputs import scored_aggregate, scored_inputs
from batch.references.quality_tasks import quality_options
from batch.results import Failure, Metric, Outcome
from batch.rows.frames import Span, to_arrow_bytes
from batch.setting import Setting
from batch.workers.process import Answer, Task
from driftline.checks import Rule
from driftline.contract.model import Contract
from driftline.contract.parts import CustomMetric
from driftline.errors import StatementRejected
from driftline.metrics import CUSTOM_PREFIX

_Place = tuple[int, str]
_Figures = dict[_Place, list[Metric]]


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
        """Compute SQL metrics of all windows by one statement each, the others window by window."""
        span = span_of(due)
        places = {one.key: (one.key.start_ms, one.key.model_version) for one in due}
        figures, failures = _by_sql(setting, span)
        answers = _by_worker(setting, span, list(places.values()))
        found = {}
        for one in due:
            place = places[one.key]
            answer = answers.get(place, Answer())
            metrics = (*figures.get(place, ()), *answer.metrics)
            found[one.key] = Outcome(
                "ok" if metrics or answer.failures or failures else "empty",
                one.tally.n,
                metrics,
                (*failures, *answer.failures),
                n_predictions=one.tally.n,
                n_labels=one.tally.n_labelled,
                withheld="" if one.is_settled else "labels are still coming; judged when nearly all have",
            )
        return found

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on custom metrics."""
        return rule.source == "batch" and rule.metric.startswith(CUSTOM_PREFIX)


def _by_sql(setting: Setting, span: Span) -> tuple[_Figures, tuple[Failure, ...]]:
    figures: _Figures = {}
    failures: list[Failure] = []
    for metric in setting.contract.metrics:
        expression = setting.contract.metric_expression(metric)
        if expression is None:
            continue
        try:
            rows = scored_aggregate(setting.store, setting.contract, span, expression.text)
            for row in rows:
                value = _number(metric, row["value"])
                if value is not None:
                    one = Metric("", CUSTOM_PREFIX + metric.name, value, row["n"], method=expression.text[:200])
                    figures.setdefault((row["start_ms"], row["model_version"]), []).append(one)
        except (StatementRejected, TypeError) as error:
            failures.append(Failure(CUSTOM_PREFIX + metric.name, str(error)))
    return figures, tuple(failures)


def _number(metric: CustomMetric, value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, bool | int | float):
        msg = f"`{metric.sql}` must give a number; got {type(value).__name__}"
        raise TypeError(msg)
    return float(value) if math.isfinite(value) else None


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
