"""Job ``comparison``: each challenger against the champion, on the requests of one window that both answered.

One run per challenger and window of the largest of ``windows.quality``. Where traffic was split, so that few requests
are common, the versions are compared on their own requests instead; ``method`` says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from batch.ledger.finality import unsettled_reason
from batch.ledger.ledger import Candidate, Key, Tally, summed
from batch.ledger.snapshot import Snapshot
from batch.quality.job import labelled_candidates, span_of
from batch.results import Failure, Outcome
from batch.rows.frames import REQUEST, scored_frames, to_arrow_bytes
from batch.setting import Setting
from batch.slices.grouping import VALUE_PREFIX, Grouping
from batch.slices.job import quality_options
from batch.slices.rows import Working, groupings, members, slice_parts, working
from batch.workers.process import Answer, Task
from driftline.checks import COMPARISON_METRICS, Rule
from driftline.contract.model import Contract


class ComparisonJob:
    """Difference in error of every version from the champion, with its interval and the probability of being better."""

    name = "comparison"
    algorithm_version = "2"
    judges_slices = True

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows in which both the champion and another version have predictions."""
        contract = setting.contract
        size, champion = max(contract.windows.quality), contract.versions.champion
        own = {"algorithm": self.algorithm_version, "min_labels": contract.quality.min_labels}
        found = [one for one in labelled_candidates(self.name, own, snapshot, setting) if one.key.size == size]
        theirs = {one.key.start_ms: one for one in found if one.key.model_version == champion}
        inputs = summed(snapshot.counts.get(("inputs", ""), {}), size) if contract.slices else {}
        return [
            _against(theirs[one.key.start_ms], one, inputs.get(one.key.start_ms, Tally()), snapshot, contract)
            for one in found
            if one.key.model_version != champion and one.key.start_ms in theirs
        ]

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Compare all windows and challengers."""
        outcomes: dict[Key, Outcome] = {}
        for part in working(setting.store, setting.contract, span_of(due)):
            outcomes |= _compared(setting, part, [one for one in due if one.key.start_ms in part.failures])
        return outcomes

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on differences between versions."""
        return rule.source == "batch" and rule.metric in COMPARISON_METRICS


def _against(champion: Candidate, one: Candidate, seen: Tally, snapshot: Snapshot, contract: Contract) -> Candidate:
    """Return the window of a challenger, settled when both are."""
    parts = {
        **one.parts,
        "champion": [contract.versions.champion, champion.parts["rows"], champion.parts["labels"]],
        "slices": slice_parts(contract),
        "inputs": [seen.n, seen.id_sum],
        "is_final": one.is_final and champion.is_final,
        "is_settled": one.is_settled and champion.is_settled,
    }
    waits_for = one.waits_for or (snapshot.lacks(one.key.window, "inputs") if contract.slices else "")
    return replace(one, parts=parts, waits_for=waits_for, is_final=parts["is_final"], is_settled=parts["is_settled"])


def _shared_options(contract: Contract) -> dict[str, Any]:
    rules: tuple[Grouping, ...] = groupings(contract, None)
    positive = quality_options(contract).get("positive")
    return {
        "groupings": rules,
        "task": contract.task,
        "positive": positive,
        "min_rows": contract.quality.min_labels,
    }


def _compared(setting: Setting, part: Working, due: Sequence[Candidate]) -> dict[Key, Outcome]:
    """Compare all windows and challengers of ``due``, by the slice rules that work on them."""
    contract, span = part.contract, span_of(due)
    scored = scored_frames(setting.store, contract, span)
    values = members(setting.store, contract, span) if contract.slices else {}
    champion = contract.versions.champion
    outcomes: dict[Key, Outcome] = {}
    asked: list[tuple[Candidate, Task]] = []
    for one in due:
        start_ms, sides = one.key.start_ms, (champion, one.key.model_version)
        if any((start_ms, version) not in scored for version in sides):
            outcomes[one.key] = Outcome("empty", one.tally.n)
            continue
        options = {
            **_shared_options(contract),
            "champion": to_arrow_bytes(scored[start_ms, champion]),
            "values": to_arrow_bytes(_of_both(values, start_ms, sides)),
        }
        asked.append((one, Task("comparison", to_arrow_bytes(scored[start_ms, sides[1]]), options=options)))
    answers = setting.workers.answers(task for _, task in asked)
    for (one, _), answer in zip(asked, answers, strict=True):
        outcomes[one.key] = _outcome(one, answer, part.failures[one.key.start_ms], contract)
    return outcomes


def _of_both(values: Mapping[tuple[int, str], pa.Table], start_ms: int, versions: Sequence[str]) -> pa.Table:
    """Return ``id``, ``hour`` and the slice values of the requests that either version answered, each once."""
    found = [values[start_ms, version] for version in versions if (start_ms, version) in values]
    if not found:
        return pa.table({"id": pa.array([], pa.string()), "hour": pa.array([], pa.int64())})
    names = [*REQUEST, *(name for name in found[0].column_names if name.startswith(VALUE_PREFIX))]
    together = pa.concat_tables(table.select(names) for table in found).to_pandas().drop_duplicates(REQUEST)
    return pa.Table.from_pandas(together, found[0].select(names).schema, preserve_index=False)


def _outcome(one: Candidate, answer: Answer, broken: tuple[Failure, ...], contract: Contract) -> Outcome:
    tally = one.tally
    coverage = tally.n_labelled / tally.n if tally.n else 0.0
    return Outcome(
        status="ok" if len(answer.metrics) > 1 or answer.failures else "insufficient",
        n_rows=tally.n,
        metrics=answer.metrics,
        failures=(*broken, *answer.failures),
        n_predictions=tally.n,
        n_labels=tally.n_labelled,
        n_scored=next((int(metric.value) for metric in answer.metrics if metric.metric == "pair_count"), 0),
        withheld="" if one.is_settled else unsettled_reason(coverage, contract),
    )
