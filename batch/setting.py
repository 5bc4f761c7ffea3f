"""What every job works with, and what a job is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from batch.frames import valid_range
from batch.ledger import Candidate, Key
from batch.reference import Reference, current_reference_id, load_reference
from batch.results import Outcome
from batch.snapshot import Snapshot
from batch.worker import Workers
from driftline.checks import Rule
from driftline.contract.model import Contract
from driftline.store import Store


class Setting:
    """The store, the contract, the workers, and the reference that is current when this is made."""

    def __init__(self, store: Store, contract: Contract, workers: Workers) -> None:
        self.store = store
        self.contract = contract
        self.workers = workers
        self.reference_id = current_reference_id(store, contract.model)

    @cached_property
    def reference(self) -> Reference | None:
        """The current reference with its rows, read once."""
        return load_reference(self.store, self.contract.model, self.reference_id) if self.reference_id else None

    @cached_property
    def vocabularies(self) -> Mapping[str, Sequence[str]]:
        """The known values of each category: the contract's, else the reference's; absent where nobody knows."""
        learned = self.reference.facts.vocabularies if self.reference and needs_vocabularies(self.contract) else {}
        declared = {name: column.values for name, column in self.contract.columns.items() if column.values is not None}
        return {**learned, **declared}


class Job(Protocol):
    """One kind of judgement over completed windows."""

    name: str
    algorithm_version: str

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return every window that has data for this job, also those not complete yet."""
        ...

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Judge windows of one size."""
        ...

    def judges(self, rule: Rule, key: Key) -> bool:
        """Return whether ``rule``, whose granularity is the key's, is judged in this job's runs."""
        ...


def needs_vocabularies(contract: Contract) -> bool:
    """Return whether a category's known values must come from a reference."""
    return any(contract.columns[name].values is None for name in contract.columns_of_type("category"))


def column_parts(contract: Contract) -> dict[str, Any]:
    """Return what statistics of columns depend on; bounds of checks are not part of it."""
    return {
        name: [column.type, column.range and [column.range.low, column.range.high], column.values]
        for name, column in contract.columns.items()
    }


def label_range(contract: Contract) -> list[str]:
    """Return the label's valid range as text, which JSON needs for infinite ends."""
    return [str(end) for end in valid_range(contract)]
