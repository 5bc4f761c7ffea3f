"""What every job works with, and what a job is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from batch.ledger.ledger import Candidate, Key
from batch.ledger.snapshot import Snapshot
from batch.references.past import Past
from batch.references.resolution import Resolved, Resolver, versions_of
from batch.references.sets import Reference, ReferenceFacts, list_references, load_reference
from batch.results import Outcome
from batch.rows.frames import valid_range
from batch.workers.pool import Workers
from driftline.checks import Rule
from driftline.contract.model import Contract
from driftline.store import Store
from driftline.windows import Window


class Setting:
    """The store, the contract, the workers, and what windows are compared with at the moment of the snapshot.

    ``reference`` is the set promoted last. What a window is compared with may be its own past: ask ``resolved`` for
    the id that its fingerprint holds, and ``reference_for`` for the rows when the job runs.
    """

    def __init__(self, store: Store, contract: Contract, workers: Workers, snapshot: Snapshot) -> None:
        self.store = store
        self.contract = contract
        self.workers = workers
        promoted = next((info for info in list_references(store, contract.model) if info.is_current), None)
        self.reference_id = promoted.reference_id if promoted else ""
        self._resolver = Resolver(contract, snapshot, self.reference_id, promoted.n_rows if promoted else 0)
        self._past = Past(store, contract, workers, versions_of(snapshot))

    @cached_property
    def reference(self) -> Reference | None:
        """The promoted set with its rows, read once."""
        return load_reference(self.store, self.contract.model, self.reference_id) if self.reference_id else None

    def resolved(self, window: Window, version: str = "", *, with_labels: bool = False) -> Resolved:
        """Return the id of what ``window`` is compared with, or why it is compared with nothing.

        ``version`` asks for predictions of it, ``with_labels`` for labels: a past that is still to get most of its
        labels makes the window wait.
        """
        return self._resolver.resolved(window, version, with_labels=with_labels)

    def reference_for(self, window: Window, version: str = "", *, with_labels: bool = False) -> Reference | None:
        """Return what ``window`` is compared with, None where ``resolved`` says it is nothing."""
        found = self.resolved(window, version, with_labels=with_labels)
        if not found.is_there:
            return None
        return self.reference if found.period is None else self._past.reference(found)

    def facts_for(self, window: Window, version: str = "", *, with_labels: bool = False) -> ReferenceFacts | None:
        """Return the facts of what ``window`` is compared with; of a past they are kept, and its rows not read."""
        found = self.resolved(window, version, with_labels=with_labels)
        if not found.is_there:
            return None
        if found.period is not None:
            return self._past.facts(found)
        return self.reference.facts if self.reference else None

    def vocabulary_of(self, window: Window) -> Resolved:
        """Return the id of what the values of categories are learned from for ``window``."""
        return self._resolver.vocabulary(window)

    def vocabularies_for(self, window: Window) -> Mapping[str, Sequence[str]]:
        """Return the known values of each category: the contract's, else the reference's; absent if nobody knows."""
        found = self.vocabulary_of(window)
        learned: Mapping[str, Sequence[str]] = {}
        if needs_vocabularies(self.contract) and found.reference_id:
            if found.period is not None:
                learned = self._past.vocabularies(found.period)
            elif self.reference is not None:
                learned = self.reference.facts.vocabularies
        declared = {name: column.values for name, column in self.contract.columns.items() if column.values is not None}
        return {**learned, **declared}


class Job(Protocol):
    """One kind of judgement over completed windows."""

    name: str
    algorithm_version: str
    judges_slices: bool

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return every window that has data for this job, also those not complete yet."""
        ...

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Judge windows of one size."""
        ...

    def judges(self, rule: Rule, key: Key) -> bool:
        """Return whether ``rule``, whose granularity is the key's, is judged in this job's runs."""
        ...


def vocabulary_parts(setting: Setting, window: Window) -> Mapping[str, Any]:
    """Return what a fingerprint holds of the values that categories of ``window`` are compared with."""
    return setting.vocabulary_of(window).parts if needs_vocabularies(setting.contract) else {"reference": ""}


def by_vocabularies(
    setting: Setting, due: Sequence[Candidate]
) -> Iterator[tuple[Mapping[str, Sequence[str]], list[Candidate]]]:
    """Yield ``due`` in groups that know the same values of categories."""
    groups: dict[str, list[Candidate]] = {}
    for one in due:
        groups.setdefault(setting.vocabulary_of(one.key.window).reference_id, []).append(one)
    for group in groups.values():
        yield setting.vocabularies_for(group[0].key.window), group


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
