"""References out of the store's own past: the rows of a resolved period as a set, made when a job needs it.

The rows are always to be had again, so only the facts are kept in the store; a few sets are kept in memory, since
the windows of one day share them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import pandas as pd

from batch.ledger.history import Period
from batch.ledger.snapshot import take_snapshot
from batch.references.building import facts_of, reference_parquet
from batch.references.production import count_rows, learned_values, production_rows, with_absent_labels
from batch.references.resolution import Resolved, Resolver, versions_of
from batch.references.sets import Reference, ReferenceFacts
from batch.workers.pool import Workers
from driftline.contract.model import Contract
from driftline.errors import InputDataError
from driftline.store import Store

# A set of 200,000 rows is about 10 MB.
_MOST_SETS = 4


class PastInfo(msgspec.Struct, frozen=True):
    """A past that windows were compared with."""

    reference_id: str
    period: Period
    with_labels: bool
    n_rows: int
    contract_id: str
    created: datetime
    facts: ReferenceFacts


class Past:
    """Reads and keeps the pasts of one survey."""

    def __init__(self, store: Store, contract: Contract, workers: Workers, versions: tuple[str, ...]) -> None:
        self._store = store
        self._contract = contract
        self._workers = workers
        self._versions = versions
        self._sets: OrderedDict[str, Reference] = OrderedDict()
        self._facts: dict[str, ReferenceFacts] = {}
        self._values: dict[Period, Mapping[str, Sequence[str]]] = {}

    def reference(self, resolved: Resolved) -> Reference:
        """Return the set of a resolved period."""
        found = self._sets.get(resolved.reference_id)
        if found is None:
            found = self._sets[resolved.reference_id] = self._read(resolved)
            while len(self._sets) > _MOST_SETS:
                self._sets.popitem(last=False)
        self._sets.move_to_end(resolved.reference_id)
        return found

    def facts(self, resolved: Resolved) -> ReferenceFacts:
        """Return what is known of a resolved period; its rows are read if nobody has asked before."""
        reference_id = resolved.reference_id
        if reference_id not in self._facts:
            kept = load_past(self._store, self._contract.model, reference_id)
            self._facts[reference_id] = kept.facts if kept else self.reference(resolved).facts
        return self._facts[reference_id]

    def vocabularies(self, period: Period) -> Mapping[str, Sequence[str]]:
        """Return the values that each category had in ``period``."""
        if period not in self._values:
            self._values[period] = learned_values(self._store, self._contract, period)
        return self._values[period]

    def _read(self, resolved: Resolved) -> Reference:
        reference_id, period = resolved.reference_id, resolved.period
        if period is None:
            msg = f"{reference_id} is a set of its own, not a past"
            raise ValueError(msg)
        rows = production_rows(self._store, self._contract, period, self._versions)
        # A past is resolved with labels once no more are expected of it.
        frame = with_absent_labels(rows, self._contract) if resolved.with_labels else rows.drop(columns=["label"])
        frame = frame.drop(columns=["id", "labelled"])
        kept = load_past(self._store, self._contract.model, reference_id)
        facts = kept.facts if kept else self._facts_of(frame, period)
        if kept is None:
            self._keep(resolved, period, facts)
        self._facts[reference_id] = facts
        return Reference(reference_id, facts, reference_parquet(frame))

    def _facts_of(self, frame: pd.DataFrame, period: Period) -> ReferenceFacts:
        vocabularies = self.vocabularies(period)
        return facts_of(frame, len(frame), self._contract, self._versions, self._workers, vocabularies)

    def _keep(self, resolved: Resolved, period: Period, facts: ReferenceFacts) -> None:
        row = {
            "model": self._contract.model,
            "reference_id": resolved.reference_id,
            "window_start": period.start,
            "window_end": period.end,
            "seasons": list(period.seasons),
            "with_labels": resolved.with_labels,
            "n_rows": count_rows(self._store, self._contract, period),
            "contract_id": self._contract.id,
            "facts": msgspec.json.encode(facts).decode(),
        }
        self._store.insert_rows("window_references", [row])


def reread_past(store: Store, contract: Contract, workers: Workers, info: PastInfo) -> Reference:
    """Return the rows of a past that windows were compared with.

    Raises:
        InputDataError: the store no longer holds them as they were.
    """
    snapshot = take_snapshot(store, contract)
    now = Resolver(contract, snapshot, "", 0).of_past(info.period, with_labels=info.with_labels)
    if now.reference_id != info.reference_id:
        span = f"{info.period.start:%Y-%m-%d} to {info.period.end:%Y-%m-%d}"
        what = f"the rows of reference {info.reference_id} ({span}) are not what they were"
        remedy = "name a newer one, see `driftline jobs ls --json`"
        msg = f"{what}: late events, labels, expiry or another contract; {remedy}"
        raise InputDataError(msg)
    return Past(store, contract, workers, versions_of(snapshot)).reference(now)


def load_past(store: Store, model: str, reference_id: str) -> PastInfo | None:
    """Return what is known of a past, None where no window was compared with it."""
    rows = store.query(
        "SELECT reference_id, window_start, window_end, seasons, with_labels, n_rows, contract_id, facts, created "
        "FROM window_references FINAL WHERE model = {model:String} AND reference_id = {id:String}",
        {"model": model, "id": reference_id},
    )
    if not rows:
        return None
    row = rows[0]
    period = Period(row.pop("window_start"), row.pop("window_end"), tuple(row.pop("seasons")))
    facts = msgspec.json.decode(row.pop("facts"), type=ReferenceFacts)
    return PastInfo(period=period, facts=facts, **row)
