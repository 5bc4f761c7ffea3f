"""Job ``data``: what the inputs of a window look like, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from batch.inputs.statistics import MOST_EXACT_ROWS, input_statistics
from batch.ledger.ledger import Candidate, Key, summed
from batch.ledger.snapshot import Snapshot
from batch.results import Outcome
from batch.rows.frames import Span
from batch.setting import Setting, by_vocabularies, column_parts, vocabulary_parts
from driftline.checks import Rule, is_statistic


class DataJob:
    """Rows, missing, duplicated, ranges, quantiles and unseen categories per window of ``windows.data``."""

    name = "data"
    algorithm_version = "1"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows that have inputs."""
        contract = setting.contract
        size = contract.windows.data
        shared = {
            "algorithm": self.algorithm_version,
            "columns": column_parts(contract),
        }
        found = []
        for start_ms, tally in summed(snapshot.counts.get(("inputs", ""), {}), size).items():
            key = Key(self.name, "", size, start_ms)
            parts = {**shared, **vocabulary_parts(setting, key.window), "rows": [tally.n, tally.id_sum]}
            waits_for = snapshot.lacks(key.window, "inputs")
            found.append(Candidate(key, parts, tally, waits_for, last=snapshot.runs.get(key)))
        return found

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Compute the statistics of windows with the same vocabularies in one statement, of great ones each alone."""
        outcomes = {}
        great = [[one] for one in due if one.tally.n > MOST_EXACT_ROWS]
        others = [one for one in due if one.tally.n <= MOST_EXACT_ROWS]
        work = [pair for part in [others, *great] if part for pair in by_vocabularies(setting, part)]
        for vocabularies, group in work:
            ordered = sorted(group, key=lambda one: one.key.start_ms)
            starts, rows = tuple(one.key.start_ms for one in ordered), tuple(one.tally.n for one in ordered)
            span = Span(due[0].key.size, starts, rows=rows)
            metrics = input_statistics(setting.store, setting.contract, span, vocabularies)
            for one in group:
                found = metrics.get(one.key.start_ms, ())
                n_rows = found[0].n if found else 0
                outcomes[one.key] = Outcome("ok" if n_rows else "empty", n_rows, found)
        return outcomes

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on statistics of inputs."""
        return rule.source == "batch" and is_statistic(rule.metric)
