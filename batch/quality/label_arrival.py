"""Job ``labels``: how the labels of a window's predictions come, and which labels came for nothing.

Delays are in the labels' own time: first label time minus event time. An id that several versions predicted counts
once. Orphans are labels whose id no prediction has; they belong to the window of their label time. Early windows
see short delays only, so these figures, too, are revised until the window is final.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batch.ledger.finality import all_labelled_or_late, enough_to_judge
from batch.ledger.ledger import Candidate, Key, Tally, summed
from batch.ledger.snapshot import Snapshot
from batch.results import Metric, Outcome
from batch.rows.frames import Span
from batch.setting import Setting
from driftline.checks import LABEL_METRICS, Rule


class LabelsJob:
    """Delay, coverage, corrections and orphans per window of ``windows.data``."""

    name = "labels"
    algorithm_version = "1"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows that have predictions, or labels without any."""
        size = setting.contract.windows.data
        joined, orphans = summed(_over_versions(snapshot), size), summed(snapshot.orphans, size)
        return [
            self._candidate(start_ms, joined.get(start_ms, Tally()), orphans.get(start_ms, Tally()), snapshot, setting)
            for start_ms in sorted({*joined, *orphans})
        ]

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Compute all windows in two statements."""
        span = Span(due[0].key.size, tuple(sorted(one.key.start_ms for one in due)))
        parameters = span.parameters(setting.contract)
        arrivals = {row["start_ms"]: Arrival(**row) for row in setting.store.query(_ARRIVALS, parameters)}
        orphans = {row["start_ms"]: row for row in setting.store.query(_ORPHANS, parameters)}
        return {
            one.key: _outcome(one, arrivals.get(one.key.start_ms), orphans.get(one.key.start_ms), setting)
            for one in due
        }

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on how labels come."""
        return rule.source == "batch" and rule.metric in LABEL_METRICS

    def _candidate(
        self, start_ms: int, joined: Tally, orphans: Tally, snapshot: Snapshot, setting: Setting
    ) -> Candidate:
        contract = setting.contract
        key = Key(self.name, "", contract.windows.data, start_ms)
        is_final = all_labelled_or_late(key.window, joined, snapshot, contract)
        is_settled = is_final or enough_to_judge(key.window, joined, snapshot, contract)
        parts = {
            "algorithm": self.algorithm_version,
            "expected_share": contract.label.expected_share,
            "rows": [joined.n, joined.id_sum],
            "labels": [joined.n_labels, joined.label_sum],
            "orphans": [orphans.n, orphans.label_sum],
            "is_final": is_final,
            "is_settled": is_settled,
        }
        waits_for = snapshot.lacks(key.window, "predictions")
        return Candidate(key, parts, joined, waits_for, is_final, is_settled, snapshot.runs.get(key))


@dataclass(frozen=True, slots=True)
class Arrival:
    """Ids predicted in one window, those with a label, those with several, and quantiles of the delay in seconds."""

    start_ms: int
    n: int
    n_labels: int
    n_corrected: int
    delay_50: float
    delay_95: float


def _over_versions(snapshot: Snapshot) -> dict[int, Tally]:
    total: dict[int, Tally] = {}
    for tallies in snapshot.joined.values():
        for start_ms, tally in tallies.items():
            total[start_ms] = total.get(start_ms, Tally()) + tally
    return total


def _outcome(one: Candidate, arrival: Arrival | None, orphans: Mapping[str, Any] | None, setting: Setting) -> Outcome:
    n, n_labels = (arrival.n, arrival.n_labels) if arrival is not None else (0, 0)
    labels = orphans["n_labels"] if orphans is not None else 0
    metrics = [Metric("", "orphan_label_count", float(orphans["n_orphans"] if orphans else 0), labels)]
    if arrival is not None:
        metrics += _figures(arrival, setting.contract.label.expected_share)
    return Outcome(
        status="ok" if n_labels or labels else "empty",
        n_rows=n,
        metrics=tuple(metrics),
        n_predictions=n,
        n_labels=n_labels,
        n_scored=n_labels,
        withheld="" if one.is_settled else f"{n_labels / n if n else 0:.0%} of the labels have come; too early to say",
    )


def _figures(found: Arrival, expected_share: float | None) -> Iterator[Metric]:
    share = found.n_labels / found.n
    yield Metric("", "labelled_share", share, found.n)
    if expected_share:
        yield Metric("", "expected_coverage", share / expected_share, found.n)
    if found.n_labels:
        yield Metric("", "corrected_label_count", float(found.n_corrected), found.n_labels)
        yield Metric("", "label_delay_quantile_50", found.delay_50, found.n_labels)
        yield Metric("", "label_delay_quantile_95", found.delay_95, found.n_labels)


_START = "intDiv(toUnixTimestamp64Milli(event_time), {size:Int64}) * {size:Int64} AS start_ms"
_IN_SPAN = """
    event_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
    AND event_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC') AND has({starts:Array(Int64)}, start_ms)
"""
_ARRIVALS = f"""
    SELECT start_ms, count() AS n, countIf(k > 0) AS n_labels, countIf(k > 1) AS n_corrected,
        quantileExactInclusiveIf(0.5)(delay, k > 0) AS delay_50,
        quantileExactInclusiveIf(0.95)(delay, k > 0) AS delay_95
    FROM (
        SELECT p.start_ms AS start_ms, l.k AS k, (l.first_ms - p.event_ms) / 1000 AS delay
        FROM (
            SELECT start_ms, id, min(toUnixTimestamp64Milli(event_time)) AS event_ms
            FROM (SELECT {_START}, id, event_time FROM predictions FINAL WHERE model = {{model:String}} AND {_IN_SPAN})
            GROUP BY start_ms, id
        ) AS p
        LEFT JOIN (
            SELECT id, count() AS k, min(toUnixTimestamp64Milli(label_time)) AS first_ms
            FROM labels FINAL WHERE model = {{model:String}} GROUP BY id
        ) AS l ON p.id = l.id
    )
    GROUP BY start_ms
"""  # noqa: S608  # all parts are constants of this module
_ORPHANS = """
    SELECT intDiv(toUnixTimestamp64Milli(label_time), {size:Int64}) * {size:Int64} AS start_ms, count() AS n_labels,
        countIf(id NOT IN (SELECT id FROM predictions WHERE model = {model:String})) AS n_orphans
    FROM labels FINAL
    WHERE model = {model:String} AND label_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
        AND label_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC') AND has({starts:Array(Int64)}, start_ms)
    GROUP BY start_ms
"""
