"""Two references side by side: how far each column of one is from the other's, and how good the versions are on both.

Scores come from the tests that the contract pins for windows, so that a number here means what it means there.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow.parquet as pq

from batch.drift.job import feature_specs, label_spec, outcome_spec
from batch.references.sets import Reference
from batch.results import DriftSpec
from batch.rows.frames import to_arrow_bytes
from batch.workers.pool import Workers
from batch.workers.process import Answer, Task
from driftline.contract.model import Contract


@dataclass(frozen=True, slots=True)
class ColumnComparison:
    """One column; ``score`` is None where ``reason`` says why. Values are those of a category that one side lacks."""

    column: str
    method: str
    threshold: float
    score: float | None
    drifted: bool | None
    reason: str
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """``quality`` maps version and metric to the figures of both, None where one has none."""

    first: str
    second: str
    columns: tuple[ColumnComparison, ...]
    quality: Mapping[str, Mapping[str, tuple[float | None, float | None]]]


def compare_references(contract: Contract, workers: Workers, first: Reference, second: Reference) -> Comparison:
    """Return how ``second`` differs from ``first``, in the columns and versions of ``contract``."""
    predictions = [outcome_spec(contract, version) for version in contract.versions.all]
    specs = [*feature_specs(contract), *predictions, label_spec(contract)]
    held = [set(pq.read_schema(io.BytesIO(one.parquet)).names) for one in (first, second)]
    shared = [spec for spec in specs if all(spec.column in names for names in held)]
    rows = pq.read_table(io.BytesIO(second.parquet), columns=[spec.column for spec in shared])
    task = Task("drift", to_arrow_bytes(rows), tuple(shared), first.reference_id)
    answer = next(iter(workers.answers([task], first.rows)))
    columns = tuple(_compared(spec, answer, first, second, held) for spec in specs)
    return Comparison(first.reference_id, second.reference_id, columns, _quality(first, second))


def _compared(
    spec: DriftSpec, answer: Answer, first: Reference, second: Reference, held: list[set[str]]
) -> ColumnComparison:
    figures = {one.metric: one.value for one in answer.metrics if one.column == spec.column}
    score, drifted = figures.get("drift_score"), figures.get("drift_detected")
    known = [set(one.facts.vocabularies.get(spec.column, ())) for one in (first, second)]
    both = all(known)
    return ColumnComparison(
        column=spec.column,
        method=spec.method,
        threshold=spec.threshold,
        score=score,
        drifted=None if drifted is None else bool(drifted),
        reason="" if score is not None else _reason(spec, answer, (first, second), held),
        appeared=tuple(sorted(known[1] - known[0])) if both else (),
        vanished=tuple(sorted(known[0] - known[1])) if both else (),
    )


def _reason(spec: DriftSpec, answer: Answer, both: tuple[Reference, Reference], held: list[set[str]]) -> str:
    absent = [one.reference_id for one, names in zip(both, held, strict=True) if spec.column not in names]
    if absent:
        return f"not in {' and '.join(absent)}"
    failed = [failure.error for failure in answer.failures if failure.column in (spec.column, "")]
    return failed[0] if failed else f"fewer than {spec.min_rows} values"


def _quality(first: Reference, second: Reference) -> dict[str, dict[str, tuple[float | None, float | None]]]:
    def metrics(version: str) -> Iterator[tuple[str, tuple[float | None, float | None]]]:
        past, now = (one.facts.quality.get(version, {}) for one in (first, second))
        for name in dict.fromkeys((*past, *now)):
            yield name, (past.get(name), now.get(name))

    versions = dict.fromkeys((*first.facts.quality, *second.facts.quality))
    return {version: dict(metrics(version)) for version in versions}
