"""One look at the store for the ledger: progress, counts, labels joined to their windows, profiles, last runs.

A handful of statements serve all windows and jobs; tallies are per window of ``windows.stream`` and add up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batch.ledger.ledger import Failed, Key, LastRun, Tally
from driftline.clock import from_ms, to_ms
from driftline.contract.model import Contract
from driftline.store import Store
from driftline.windows import Window, to_window_ms

_BEGINNING = from_ms(0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The store's state at ``as_of`` (its own clock): progress by stream, tallies by stream-sized window, last runs.

    ``joined`` holds predictions by (version, start) with the labels that found them; ``labelled_inputs`` inputs by
    start likewise; ``orphans`` labels whose id no prediction has, by the start of the window of their label time.
    ``runs`` are those that could judge their window, ``failed`` those that could not.
    """

    as_of: datetime
    progress: Mapping[str, datetime]
    counts: Mapping[tuple[str, str], Mapping[int, Tally]]
    joined: Mapping[str, Mapping[int, Tally]]
    labelled_inputs: Mapping[int, Tally]
    profiles: Mapping[str, Mapping[int, Tally]]
    runs: Mapping[Key, LastRun] = field(default_factory=dict)
    failed: Mapping[Key, Failed] = field(default_factory=dict)
    orphans: Mapping[int, Tally] = field(default_factory=dict)

    def complete_to(self, stream: str) -> datetime:
        """Return the moment up to which ``stream`` is complete."""
        return self.progress.get(stream, _BEGINNING)

    def lacks(self, window: Window, *streams: str) -> str:
        """Return which of ``streams`` has not passed the window's end and where it is, ``""`` when all have."""
        for stream in streams:
            reached = self.complete_to(stream)
            if reached < window.end:
                return f"{stream} to be complete to {window.end:%Y-%m-%dT%H:%MZ}; they are to {reached:%Y-%m-%dT%H:%MZ}"
        return ""


def take_snapshot(store: Store, contract: Contract) -> Snapshot:
    """Read all that the ledger needs. ``as_of`` is read first: rows that arrive meanwhile make the next one differ."""
    as_of: datetime = store.scalar("SELECT now64(6, 'UTC')")
    topics = contract.topics
    streams = {topics.inputs: "inputs", topics.predictions: "predictions", topics.labels: "labels"}
    progress = store.query(
        "SELECT topic, complete_to FROM topic_progress WHERE has({topics:Array(String)}, topic)",
        {"topics": list(streams)},
    )
    bound = {
        "model": contract.model,
        "inputs": contract.raw_inputs_table,
        "size": to_window_ms(contract.windows.stream),
    }
    counts: dict[tuple[str, str], dict[int, Tally]] = {}
    for row in store.query(_COUNTS, bound):
        tally = Tally(row["n"], row["id_sum"])
        counts.setdefault((row["stream"], row["model_version"]), {})[row["start_ms"]] = tally
    runs, failed = _past_runs(store, contract)
    return Snapshot(
        as_of=as_of,
        progress={streams[row["topic"]]: row["complete_to"] for row in progress},
        counts=counts,
        joined=_by_version(store.query(_JOINED_LABELS, bound)),
        labelled_inputs=_by_version(store.query(_INPUT_LABELS, bound)).get("", {}),
        profiles=_by_version(store.query(_PROFILES, bound)),
        runs=runs,
        failed=failed,
        orphans=_by_version(store.query(_ORPHANS, bound)).get("", {}),
    )


def _by_version(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[int, Tally]]:
    found: dict[str, dict[int, Tally]] = {}
    for row in rows:
        tally = Tally(row["n"], row["id_sum"], row["n_labelled"], row["n_labels"], row["label_sum"])
        found.setdefault(row["model_version"], {})[row["start_ms"]] = tally
    return found


def _past_runs(store: Store, contract: Contract) -> tuple[dict[Key, LastRun], dict[Key, Failed]]:
    runs: dict[Key, LastRun] = {}
    failed: dict[Key, Failed] = {}
    for row in store.query(_RUNS, {"model": contract.model}):
        start, end = row["window_start"], row["end"]
        key = Key(row["job"], row["model_version"], end - start, to_ms(start))
        if row["failed"]:
            failed[key] = Failed(Counter(row["failed"]), row["failed_as_of"])
        if row["fingerprints"]:
            runs[key] = LastRun(
                fingerprint=row["fingerprint"],
                as_of=row["newest"],
                n_predictions=row["predictions"],
                n_labels=row["labels"],
                is_final=row["final"],
                fingerprints=Counter(row["fingerprints"]),
                parts=row["latest_parts"],
                contract_id=row["contract"],
            )
    return runs, failed


_COUNTS = """
    SELECT stream, model_version, intDiv(toUnixTimestamp64Milli(window_start), {size:Int64}) * {size:Int64} AS start_ms,
        sum(n) AS n, sum(id_sum) AS id_sum
    FROM window_counts WHERE model = {model:String} AND column = '' AND stream IN ('inputs', 'predictions')
    GROUP BY stream, model_version, start_ms
"""
_LABEL_IDENTITY = """
    cityHash64(id, toUnixTimestamp64Milli(label_time), ifNull(toString(label), ifNull(label_class, '')))
"""
_LABELS_BY_ID = f"""
    SELECT id, count() AS k, sum({_LABEL_IDENTITY}) AS label_sum
    FROM labels FINAL WHERE model = {{model:String}} GROUP BY id
"""  # noqa: S608
_TALLIED = """
    count() AS n, sum(id_hash) AS id_sum, countIf(l.k > 0) AS n_labelled, sum(l.k) AS n_labels,
    sum(l.label_sum) AS label_sum
"""
_START = "intDiv(toUnixTimestamp64Milli(event_time), {size:Int64}) * {size:Int64} AS start_ms"
_JOINED_LABELS = f"""
    SELECT model_version, start_ms, {_TALLIED}
    FROM (SELECT id, id_hash, model_version, {_START} FROM predictions FINAL WHERE model = {{model:String}}) AS p
    LEFT JOIN ({_LABELS_BY_ID}) AS l ON p.id = l.id GROUP BY model_version, start_ms
"""  # noqa: S608  # all parts are constants of this module
_INPUT_LABELS = f"""
    SELECT '' AS model_version, start_ms, {_TALLIED}
    FROM (SELECT id, id_hash, {_START} FROM {{inputs:Identifier}} FINAL) AS i
    LEFT JOIN ({_LABELS_BY_ID}) AS l ON i.id = l.id GROUP BY start_ms
"""  # noqa: S608
_ORPHANS = f"""
    SELECT '' AS model_version, intDiv(toUnixTimestamp64Milli(label_time), {{size:Int64}}) * {{size:Int64}} AS start_ms,
        count() AS n, 0 AS id_sum, 0 AS n_labelled, count() AS n_labels, sum({_LABEL_IDENTITY}) AS label_sum
    FROM labels FINAL
    WHERE model = {{model:String}} AND id NOT IN (SELECT id FROM predictions WHERE model = {{model:String}})
    GROUP BY start_ms
"""  # noqa: S608
# A segment's profile is written over and over; it has changed when it has seen another number of rows.
_PROFILES = """
    SELECT model_version, start_ms, sum(rows) AS n, sum(place) AS id_sum, 0 AS n_labelled, 0 AS n_labels,
        0 AS label_sum
    FROM (
        SELECT b.model_version AS model_version, b.n AS rows,
            sipHash64(b.topic, b.source_id, b.p, b.lo, b.contract_id, b.n) AS place,
            intDiv(toUnixTimestamp64Milli(b.window_start), {size:Int64}) * {size:Int64} AS start_ms
        FROM (SELECT * FROM segment_profiles FINAL WHERE model = {model:String} AND stream != 'labels') AS b
        INNER JOIN (SELECT topic, source_id, p, lo, contract_id FROM segments FINAL) AS s
            ON b.topic = s.topic AND b.source_id = s.source_id AND b.p = s.p AND b.lo = s.lo
            AND b.contract_id = s.contract_id)
    GROUP BY model_version, start_ms
"""
_RUNS = """
    SELECT job, model_version, window_start, any(window_end) AS end,
        maxIf(as_of, status != 'error') AS newest,
        argMaxIf(job_runs.fingerprint, (as_of, run_id), status != 'error') AS fingerprint,
        argMaxIf(n_predictions, (as_of, run_id), status != 'error') AS predictions,
        argMaxIf(n_labels, (as_of, run_id), status != 'error') AS labels,
        argMaxIf(is_final, (as_of, run_id), status != 'error') AS final,
        argMaxIf(contract_id, (as_of, run_id), status != 'error') AS contract,
        argMaxIf(if(JSONHas(parts, 'labels'), parts, ''), (as_of, run_id), status != 'error') AS latest_parts,
        groupArrayIf(job_runs.fingerprint, status != 'error') AS fingerprints,
        groupArrayIf(job_runs.fingerprint, status = 'error') AS failed,
        maxIf(as_of, status = 'error') AS failed_as_of
    FROM job_runs FINAL WHERE model = {model:String} AND slice = 'all'
    GROUP BY job, model_version, granularity, window_start
"""
