"""Job ``profile``: the closed stream windows' sketches merged into figures, and the stream checks' verdicts.

Counters are exact and stay the authority: a merged profile whose row numbers differ from them is an error of
that column, and its figures are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from batch.inputs.profiles import Blob, merge_blobs, read_blobs
from batch.inputs.statistics import unseen_shares
from batch.ledger.ledger import Candidate, Key, Tally, summed
from batch.ledger.snapshot import Snapshot
from batch.results import Failure, Metric, Outcome
from batch.rows.frames import Span
from batch.setting import Setting, by_vocabularies, column_parts, vocabulary_parts
from driftline.checks import Rule
from driftline.clock import to_ms
from driftline.contract.model import Contract
from driftline.errors import StoreError
from driftline.store import Store
from driftline.windows import granularity

_Place = tuple[int, str]


class ProfileJob:
    """Quantiles, distinct counts and type counts per window of ``windows.profile``; verdicts per stream window."""

    name = "profile"
    algorithm_version = "1"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows with inputs, and per version those with predictions."""
        windows = setting.contract.windows
        return [
            candidate
            for size in dict.fromkeys((windows.stream, windows.profile))
            for (stream, version), tallies in snapshot.counts.items()
            for candidate in self._of_stream(stream, version, size, tallies, snapshot, setting)
        ]

    def _of_stream(
        self,
        stream: str,
        version: str,
        size: timedelta,
        tallies: Mapping[int, Tally],
        snapshot: Snapshot,
        setting: Setting,
    ) -> Iterator[Candidate]:
        contract = setting.contract
        profiles = summed(snapshot.profiles.get(version, {}), size)
        shared = {
            "algorithm": self.algorithm_version,
            "columns": column_parts(contract),
        }
        for start_ms, tally in summed(tallies, size).items():
            key = Key(self.name, version, size, start_ms)
            profile = profiles.get(start_ms, Tally())
            learned = vocabulary_parts(setting, key.window) if stream == "inputs" else {"reference": ""}
            parts = {**shared, **learned, "rows": [tally.n, tally.id_sum], "profile": [profile.n, profile.id_sum]}
            yield Candidate(key, parts, tally, snapshot.lacks(key.window, stream), last=snapshot.runs.get(key))

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Merge and judge all windows."""
        contract, size = setting.contract, due[0].key.size
        span = Span(size, tuple(sorted({one.key.start_ms for one in due})))
        observed = _observed(setting.store, contract, span)
        unseen: dict[int, tuple[Metric, ...]] = {}
        for vocabularies, group in by_vocabularies(setting, due):
            undeclared = {name: values for name, values in vocabularies.items() if _learned(contract, name)}
            starts = tuple(sorted({one.key.start_ms for one in group}))
            unseen |= unseen_shares(setting.store, contract, Span(size, starts), undeclared)
        blobs = read_blobs(setting.store, contract, span) if size == contract.windows.profile else {}
        outcomes = {}
        for one in due:
            place = (one.key.start_ms, one.key.model_version)
            metrics, failures = _figures(blobs.get(place, []), one.tally.n)
            learned = () if one.key.model_version else unseen.get(one.key.start_ms, ())
            outcomes[one.key] = Outcome(
                "ok", one.tally.n, (*metrics, *learned), tuple(failures), tuple(observed.get(place, []))
            )
        return outcomes

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge stream rules: on predictions in the runs of versions, all but labels' in those of inputs."""
        of_version = rule.column == "prediction" or rule.metric.startswith("prediction_")
        of_labels = rule.column == "label" or rule.metric.startswith("label_")
        return rule.source == "stream" and of_version == bool(key.model_version) and not of_labels


def _learned(contract: Contract, name: str) -> bool:
    return contract.columns[name].values is None


def _observed(store: Store, contract: Contract, span: Span) -> dict[_Place, list[Metric]]:
    """Return the stream's own metrics of the windows, which other tables hold."""
    parameters = {**span.parameters(contract), "granularity": granularity(span.size)}
    found: dict[_Place, list[Metric]] = {}
    for row in store.query(_STREAM_METRICS, parameters):
        metric = Metric(row["column"], row["metric"], row["value"], row["n"])
        found.setdefault((to_ms(row["window_start"]), row["model_version"]), []).append(metric)
    return found


def _figures(blobs: Sequence[Blob], n: int) -> tuple[list[Metric], list[Failure]]:
    """Return the merged profile's figures; columns whose row number is not ``n`` are failures."""
    if not blobs:
        return [], []
    try:
        profile = merge_blobs(blobs)
    except StoreError as error:
        return [], [Failure("", f"{error}; figures of this window come from the counters alone")]
    rows, library = profile.rows(), blobs[0].library
    metrics = [
        Metric(column, metric, value, n, library, "sketch")
        for column, figures in profile.summary().items()
        if rows[column] == n
        for metric, value in figures.items()
    ]
    failures = [
        Failure(column, f"profile has {found} rows of {column}, the counters {n}; its figures are left out")
        for column, found in rows.items()
        if found != n
    ]
    return metrics, failures


_STREAM_METRICS = """
    SELECT model_version, window_start, column, metric, value, n FROM stream_metrics
    WHERE model = {model:String} AND granularity = {granularity:String}
        AND has({starts:Array(Int64)}, toUnixTimestamp64Milli(window_start))
"""
