"""How good earlier estimates were: the honesty figures that stand beside a window's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch.ledger.ledger import Candidate, Tally, digest
from batch.results import Metric, Outcome
from driftline.clock import to_ms
from driftline.contract.model import Contract
from driftline.store import Store

# A month of days; of hours a day and a bit, of which more would say nothing new.
MOST_WINDOWS = 30
FEWEST_WINDOWS = 3


@dataclass(slots=True)
class Past:
    """The final windows of one series so far: a fingerprint of the honesty figures, which rest on them."""

    _held: deque[tuple[int, int, int, int]] = field(default_factory=lambda: deque(maxlen=MOST_WINDOWS))

    def add(self, start_ms: int, joined: Tally) -> None:
        """Take note of a final window; they come oldest first."""
        self._held.append((start_ms, joined.n, joined.id_sum, joined.label_sum))

    @property
    def digest(self) -> list[Any]:
        """The number of windows, and a hash over their predictions and labels."""
        return [len(self._held), f"{digest(list(self._held)):016x}"]


class Honesty:
    """The gaps of the final windows so far, of every version and window size; those of this commit are added."""

    def __init__(self, store: Store, contract: Contract, due: Sequence[Candidate]) -> None:
        self._fewest = contract.quality.min_labels
        self._gaps: dict[str, dict[int, tuple[float, int]]] = {}
        rows = store.query(_GAPS, {"model": contract.model, "granularity": due[0].key.granularity})
        for row in rows:
            self._gaps.setdefault(row["model_version"], {})[to_ms(row["window_start"])] = (row["value"], row["n"])

    def figures(self, one: Candidate) -> Iterator[Metric]:
        """Yield how far the estimates of the final windows before ``one`` were off, on average, where there are some.

        ``estimate_error`` is the mean size of their gaps, ``estimate_bias`` the mean of estimated minus realised.
        """
        known = self._gaps.get(one.key.model_version, {})
        before = sorted(start for start in known if start < one.key.start_ms)[-MOST_WINDOWS:]
        gaps = [known[start][0] for start in before if known[start][1] >= self._fewest]
        if len(gaps) >= FEWEST_WINDOWS:
            yield Metric("", "estimate_error", sum(map(abs, gaps)) / len(gaps), len(gaps), "driftline", _METHOD)
            yield Metric("", "estimate_bias", -sum(gaps) / len(gaps), len(gaps), "driftline", _METHOD)

    def learn(self, one: Candidate, outcome: Outcome) -> None:
        """Take note of a window of this commit; the windows of a commit are told oldest first."""
        known = self._gaps.setdefault(one.key.model_version, {})
        known.pop(one.key.start_ms, None)
        for metric in outcome.metrics:
            if metric.metric == "estimate_gap" and one.is_final:
                known[one.key.start_ms] = (metric.value, metric.n)


_METHOD = "gaps of earlier final windows"
_GAPS = """
    SELECT m.model_version AS model_version, m.window_start AS window_start, m.value AS value, m.n AS n
    FROM (
        SELECT * FROM job_metrics FINAL
        WHERE model = {model:String} AND job = 'correction' AND granularity = {granularity:String}
            AND metric = 'estimate_gap' AND slice = 'all') AS m
    INNER JOIN (
        SELECT model_version, window_start, run_id FROM latest_runs
        WHERE model = {model:String} AND job = 'correction' AND granularity = {granularity:String} AND is_final) AS r
        ON m.model_version = r.model_version AND m.window_start = r.window_start AND m.run_id = r.run_id
"""
