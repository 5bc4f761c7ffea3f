"""Job ``data``: what the inputs of a window look like, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from batch.frames import Span
from batch.ledger import Candidate, Key, summed
from batch.results import Outcome
from batch.setting import Setting, column_parts, needs_vocabularies
from batch.snapshot import Snapshot
from batch.statistics import input_statistics
from driftline.checks import DRIFT_METRICS, QUALITY_METRICS, Rule


class DataJob:
    """Rows, missing, duplicated, ranges, quantiles and unseen categories per window of ``windows.data``."""

    name = "data"
    algorithm_version = "1"

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows that have inputs."""
        contract = setting.contract
        size = contract.windows.data
        shared = {
            "algorithm": self.algorithm_version,
            "columns": column_parts(contract),
            "reference": setting.reference_id if needs_vocabularies(contract) else "",
        }
        found = []
        for start_ms, tally in summed(snapshot.counts.get(("inputs", ""), {}), size).items():
            key = Key(self.name, "", size, start_ms)
            parts = {**shared, "rows": [tally.n, tally.id_sum]}
            waits_for = snapshot.lacks(key.window, "inputs")
            found.append(Candidate(key, parts, tally, waits_for, last=snapshot.runs.get(key)))
        return found

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Compute the statistics of all windows in one statement."""
        span = Span(due[0].key.size, tuple(sorted(one.key.start_ms for one in due)))
        metrics = input_statistics(setting.store, setting.contract, span, setting.vocabularies)
        outcomes = {}
        for one in due:
            found = metrics.get(one.key.start_ms, ())
            n_rows = found[0].n if found else 0
            outcomes[one.key] = Outcome("ok" if n_rows else "empty", n_rows, found)
        return outcomes

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on statistics of inputs."""
        return rule.source == "batch" and rule.metric not in QUALITY_METRICS | DRIFT_METRICS
