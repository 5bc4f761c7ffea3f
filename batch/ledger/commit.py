"""Outcomes into the store: figures and verdicts first, ``job_runs`` last, which makes them visible.

A process that dies in between leaves rows that no view shows; the next attempt writes the same keys again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import msgspec

from batch.ledger.ledger import Candidate, Key
from batch.ledger.reasons import Vocabularies, with_reasons
from batch.results import ALL, Histogram, Metric, Outcome, WorstRow
from driftline.checks import Rule, Verdict, judge
from driftline.contract.model import Contract
from driftline.store import Store

_Row = dict[str, Any]
_MOST_COUNTED = 255  # what the column holds


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate, what its job found, and how long one window took."""

    candidate: Candidate
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True)
class Origin:
    """What all runs of one commit share."""

    contract: Contract
    rules_for: Callable[[Key], Sequence[Rule]]
    as_of: datetime
    algorithm_versions: Mapping[str, str]  # by job
    vocabularies_for: Vocabularies = lambda _: {}


def commit(store: Store, origin: Origin, judged: Sequence[Judged]) -> None:
    """Write all of ``judged``, of whatever jobs, one insert per table."""
    model = origin.contract.model
    keys = [_key_row(one, model) for one in judged]
    pairs = list(zip(keys, judged, strict=True))
    rows: dict[str, list[_Row]] = {
        "job_metrics": [{**key, **_metric_row(one)} for key, run in pairs for one in run.outcome.metrics],
        "job_histograms": [{**key, **_fields(one)} for key, run in pairs for one in run.outcome.histograms],
        "job_rows": [{**key, **_fields(one)} for key, run in pairs for one in run.outcome.worst],
        "verdicts": [
            {**key, **row}
            for key, run in pairs
            for row in verdict_rows(origin.rules_for(run.candidate.key), run.outcome)
        ],
        "job_errors": [row for key, run in pairs for row in _errors(key, run)],
    }
    outcomes = {key["run_id"]: run.outcome for key, run in pairs}
    rows["verdicts"] = with_reasons(store, origin.contract, rows["verdicts"], outcomes, origin.vocabularies_for)
    for table, found in rows.items():
        store.insert_rows(table, found)
    store.insert_rows("job_runs", [_run_row(origin, key, run) for key, run in pairs])


def verdict_rows(rules: Sequence[Rule], outcome: Outcome) -> Iterator[_Row]:
    """Yield what every rule says of the outcome."""
    found = {(one.slice, one.column, one.metric): one for one in (*outcome.metrics, *outcome.observed)}
    failed = {(failure.slice, failure.column): failure.error for failure in outcome.failures}
    for rule in rules:
        metric = found.get((rule.slice, rule.column, rule.metric))
        verdict = _verdict(rule, metric, failed, outcome)
        yield {
            "slice": rule.slice,
            "check": rule.check,
            "column": rule.column,
            "metric": rule.metric,
            "severity": rule.severity,
            "status": verdict.status,
            "value": None if metric is None else metric.value,
            "threshold": verdict.threshold,
            "n": metric.n if metric is not None else 0,
            "reason": verdict.reason,
        }


def _verdict(rule: Rule, metric: Metric | None, failed: Mapping[tuple[str, str], str], outcome: Outcome) -> Verdict:
    bound = rule.lower if rule.upper is None else rule.upper
    if metric is None:
        error = _error(rule, failed)
        if error is not None:
            return Verdict("error", bound, error)
        if outcome.withheld:
            return Verdict("insufficient", bound, outcome.withheld)
        reason = f"no {rule.metric} for this window; it takes {rule.min_rows} rows"
        return Verdict("insufficient", bound, outcome.absent.get((rule.column, rule.metric), reason))
    if outcome.withheld:
        return Verdict("insufficient", bound, outcome.withheld)
    return judge(rule, metric.value, metric.n)


def _error(rule: Rule, failed: Mapping[tuple[str, str], str]) -> str | None:
    """Return why the rule's figure is not there: what is said of its slice, of the rule that made the slice, of all."""
    slices = dict.fromkeys((rule.slice, rule.slice.partition("=")[0], ALL))
    places = ((name, column) for name in slices for column in (rule.metric, rule.column, ""))
    return next((failed[place] for place in places if place in failed), None)


def _key_row(one: Judged, model: str) -> _Row:
    candidate, key = one.candidate, one.candidate.key
    return {
        "job": key.job,
        "model": model,
        "model_version": key.model_version,
        "granularity": key.granularity,
        "window_start": key.window.start,
        "slice": "all",
        "run_id": candidate.failed_run_id(model) if one.outcome.has_failed else candidate.run_id(model),
    }


def _fields(value: Histogram | WorstRow) -> _Row:
    """Return the fields as they are; ``asdict`` would copy every bin."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _metric_row(metric: Metric) -> _Row:
    return {
        "column": metric.column,
        "metric": metric.metric,
        "value": metric.value,
        "engine": metric.engine,
        "method": metric.method,
        "threshold": metric.threshold,
        "lower": metric.lower,
        "upper": metric.upper,
        "n": metric.n,
        "slice": metric.slice,
    }


def _errors(key: _Row, one: Judged) -> Iterator[_Row]:
    named = {name: value for name, value in key.items() if name != "slice"}
    for failure in one.outcome.failures:
        attempt = min(one.candidate.attempts + 1, _MOST_COUNTED)
        column = failure.column if failure.column or failure.slice == ALL else f"slice {failure.slice}"
        yield {**named, "column": column, "attempt": attempt, "error": failure.error[:500]}


def _run_row(origin: Origin, key: _Row, one: Judged) -> _Row:
    candidate, outcome = one.candidate, one.outcome
    return {
        **key,
        "window_end": candidate.key.window.end,
        "as_of": origin.as_of,
        "fingerprint": candidate.fingerprint,
        "parts": msgspec.json.encode(candidate.parts, order="deterministic").decode(),
        "revision": candidate.revision,
        "status": "error" if outcome.has_failed else outcome.status,
        "n_rows": outcome.n_rows,
        "n_predictions": outcome.n_predictions,
        "n_labels": outcome.n_labels,
        "n_scored": outcome.n_scored,
        "coverage": outcome.coverage,
        "is_final": candidate.is_final,
        "contract_id": origin.contract.id,
        "reference_id": candidate.parts.get("reference", ""),
        "algorithm_version": origin.algorithm_versions[candidate.key.job],
        "seconds": one.seconds,
    }
