"""Job ``age``: how old the model version and the reference were at a window's end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from batch.ledger.history import first_seen
from batch.ledger.ledger import Candidate, Key, summed
from batch.ledger.snapshot import Snapshot
from batch.references.sets import list_references
from batch.results import Metric, Outcome
from batch.setting import Setting
from driftline.checks import AGE_METRICS, Rule
from driftline.clock import from_ms, to_ms

_DAY = timedelta(days=1)


class AgeJob:
    """Ages per window of ``windows.data``: of each version that answered in it, and of the reference."""

    name = "age"
    algorithm_version = "1"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows with predictions, and those with inputs once there is a set; a past is never old."""
        size = setting.contract.windows.data
        found = []
        for (stream, version), tallies in snapshot.counts.items():
            of_version = stream == "predictions"
            is_compared = bool(setting.reference_id) and setting.contract.reference.kind == "fixed"
            if not tallies or not (of_version or is_compared):
                continue
            since = first_seen(tallies)
            parts: dict[str, object] = {"algorithm": self.algorithm_version}
            parts |= {"first_seen_ms": since, "reference": ""} if of_version else {"reference": setting.reference_id}
            for start_ms, tally in summed(tallies, size).items():
                key = Key(self.name, version, size, start_ms)
                if to_ms(key.window.end) <= since:
                    continue
                waits_for = snapshot.lacks(key.window, stream)
                found.append(Candidate(key, parts, tally, waits_for, last=snapshot.runs.get(key)))
        return found

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Subtract."""
        references = list_references(setting.store, setting.contract.model)
        ended = {info.reference_id: info.window_end for info in references}
        outcomes = {}
        for one in due:
            name = "model_age_days" if one.key.model_version else "reference_age_days"
            since = from_ms(one.parts["first_seen_ms"]) if one.key.model_version else ended[setting.reference_id]
            age = (one.key.window.end - since) / _DAY
            outcomes[one.key] = Outcome("ok", one.tally.n, (Metric("", name, age, one.tally.n, "driftline"),))
        return outcomes

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge rules on ages, of models in the runs of versions."""
        of_version = rule.metric == "model_age_days"
        return rule.source == "batch" and rule.metric in AGE_METRICS and of_version == bool(key.model_version)
