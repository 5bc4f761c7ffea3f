"""Job ``schema``: columns that came, went or changed their type, as marks on the time line.

A contract that adds, removes or retypes a column is marked where it was registered; a column that loses all its
values, or has only ones of the wrong type, at the start of the window in which it does. Marks are rows of
``annotations`` of kind ``schema``, written again by every run under the same key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from batch.inputs.schema_changes import Change, Counts, contract_changes, window_changes
from batch.ledger.ledger import Candidate, Key, Tally, summed
from batch.ledger.snapshot import Snapshot
from batch.results import Metric, Outcome
from batch.setting import Setting, column_parts
from driftline.checks import SCHEMA_METRICS, Rule
from driftline.contract.model import Contract
from driftline.store import Store
from driftline.windows import to_window_ms

_ENGINE = "clickhouse"


class SchemaJob:
    """Changes of columns per window of ``windows.data``, each compared with the window before it."""

    name = "schema"
    algorithm_version = "1"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows that have inputs; the window before one is part of its fingerprint."""
        size = setting.contract.windows.data
        types = {name: parts[0] for name, parts in column_parts(setting.contract).items()}
        tallies = summed(snapshot.counts.get(("inputs", ""), {}), size)
        found = []
        for start_ms, tally in tallies.items():
            key = Key(self.name, "", size, start_ms)
            before = tallies.get(start_ms - to_window_ms(size), Tally())
            parts = {
                "algorithm": self.algorithm_version,
                "types": types,
                "rows": [tally.n, tally.id_sum],
                "before": [before.n, before.id_sum],
            }
            waits_for = snapshot.lacks(key.window, "inputs")
            found.append(Candidate(key, parts, tally, waits_for, last=snapshot.runs.get(key)))
        return found

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Compare each window with the one before it, and each contract with the one before it."""
        store, contract = setting.store, setting.contract
        marks = _contract_marks(store, contract)
        counts = _counts(store, contract, due)
        outcomes = {}
        for one in due:
            now = counts.get(one.key.start_ms, {})
            changes = list(window_changes(counts.get(one.key.start_ms - to_window_ms(one.key.size), {}), now))
            marks += [_mark(contract, one.key.window.start, change, "data") for change in changes]
            named = ", ".join(change.column for change in changes)
            metric = Metric("", "schema_change_count", float(len(changes)), one.tally.n, _ENGINE, named)
            outcomes[one.key] = Outcome("ok" if one.tally.n else "empty", one.tally.n, (metric,))
        store.insert_rows("annotations", marks)
        return outcomes

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge rules on the number of changes."""
        return rule.source == "batch" and rule.metric in SCHEMA_METRICS


def _contract_marks(store: Store, contract: Contract) -> list[dict[str, Any]]:
    rows = store.query(_CONTRACTS, {"model": contract.model})
    bodies = [msgspec.json.decode(row["body"])["columns"] for row in rows]
    return [
        _mark(contract, row["registered"], change, "contract")
        for before, after, row in zip(bodies, bodies[1:], rows[1:], strict=False)
        for change in contract_changes(before, after)
    ]


def _counts(store: Store, contract: Contract, due: Sequence[Candidate]) -> dict[int, dict[str, Counts]]:
    size_ms = to_window_ms(due[0].key.size)
    starts = [one.key.start_ms for one in due]
    bound = {"model": contract.model, "size": size_ms, "low": min(starts) - size_ms, "high": max(starts) + size_ms}
    found: dict[int, dict[str, Counts]] = {}
    for row in store.query(_COUNTS, bound):
        if row["column"] in contract.columns:
            counts = Counts(row["n"], row["missing"], row["wrong_type"])
            found.setdefault(row["start_ms"], {})[row["column"]] = counts
    return found


def _mark(contract: Contract, at: object, change: Change, origin: str) -> dict[str, Any]:
    return {
        "model": contract.model,
        "at": at,
        "until": None,
        "kind": "schema",
        "title": change.title,
        "text": "the contract changed" if origin == "contract" else "all rows of a window; see its data checks",
        "tags": [origin, change.column],
    }


_CONTRACTS = """
    SELECT registered, body FROM contracts FINAL WHERE model = {model:String} ORDER BY contract_seq, registered
"""
_COUNTS = """
    SELECT intDiv(toUnixTimestamp64Milli(window_start), {size:Int64}) * {size:Int64} AS start_ms, column,
        sum(n) AS n, sum(n_missing) AS missing, sum(n_type) AS wrong_type
    FROM window_counts
    WHERE model = {model:String} AND stream = 'inputs' AND column != ''
        AND window_start >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
        AND window_start < fromUnixTimestamp64Milli({high:Int64}, 'UTC')
    GROUP BY start_ms, column
"""
