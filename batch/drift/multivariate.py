"""Job ``multivariate``: whether a classifier can tell a window's rows from the reference's, all features together.

Opt-in (``drift.multivariate``). It finds what no column shows alone: features that no longer go together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from batch.drift.job import feature_specs
from batch.ledger.ledger import Candidate, Key, summed
from batch.ledger.snapshot import Snapshot
from batch.results import DriftSpec, Outcome, RunStatus
from batch.rows.frames import Span, input_frames, to_arrow_bytes
from batch.setting import Setting
from batch.workers.process import Answer, Task
from driftline.checks import MULTIVARIATE_METRICS, Rule
from driftline.windows import to_window_ms


class MultivariateJob:
    """The domain classifier per window of ``windows.drift``, where the contract asks for it."""

    name = "multivariate"
    algorithm_version = "1"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows with inputs; none where the contract does not ask, or no test covers a feature."""
        contract = setting.contract
        specs = feature_specs(contract)
        if not contract.drift.multivariate or not specs:
            return []
        shared = {
            "algorithm": self.algorithm_version,
            "columns": [[spec.column, spec.kind, str(spec.clip)] for spec in specs],
            "min_rows": contract.drift.min_rows,
        }
        found = []
        for start_ms, tally in summed(snapshot.counts.get(("inputs", ""), {}), contract.windows.drift).items():
            key = Key(self.name, "", contract.windows.drift, start_ms)
            resolved = setting.resolved(key.window)
            parts = {**shared, **resolved.parts, "rows": [tally.n, tally.id_sum]}
            waits_for = resolved.waits_for or snapshot.lacks(key.window, "inputs")
            found.append(Candidate(key, parts, tally, waits_for, last=snapshot.runs.get(key)))
        return found

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Let a classifier tell each window from its reference."""
        specs = feature_specs(setting.contract)
        ordered = sorted(due, key=lambda one: one.key.start_ms)
        starts = tuple(one.key.start_ms for one in ordered)
        span = Span(due[0].key.size, starts, rows=tuple(one.tally.n for one in ordered))
        frames = input_frames(setting.store, setting.contract, span, [spec.column for spec in specs])
        outcomes = {}
        for one in due:
            table, lacks = frames.get(one.key.start_ms), setting.resolved(one.key.window).lacks
            n_rows = 0 if table is None else table.num_rows
            if table is None or n_rows < setting.contract.drift.min_rows or lacks:
                status: RunStatus = "insufficient" if n_rows else "empty"
                outcomes[one.key] = Outcome(status, n_rows, withheld=lacks)
                continue
            answer = _told_apart(setting, one.key, to_arrow_bytes(table), specs)
            outcomes[one.key] = Outcome("ok", n_rows, answer.metrics, answer.failures)
        return outcomes

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge rules on the classifier's figures."""
        return rule.source == "batch" and rule.metric in MULTIVARIATE_METRICS


def _told_apart(setting: Setting, key: Key, frame: bytes, specs: Sequence[DriftSpec]) -> Answer:
    reference = setting.reference_for(key.window)
    if reference is None:
        msg = "drift needs a reference"
        raise ValueError(msg)
    task = Task("multivariate", frame, tuple(specs), reference.reference_id, {"window_ms": to_window_ms(key.size)})
    return next(iter(setting.workers.answers([task], reference.rows)))
