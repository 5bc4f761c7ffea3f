"""The end of a drill: every window, every raw row, every dead letter and the audit, against the truth."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from consumers.auditing.audit import audit
from consumers.drill.load import Tally, Truth
from consumers.writing.flushing import raw_table
from driftline.clock import from_ms, to_ms
from driftline.contract import Contract
from driftline.events import STREAMS, Stream
from driftline.store import Store
from driftline.transport import Transport

Window = tuple[Stream, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a drill left behind: how many windows there are, and a sentence for each that is not what it must be.

    ``findings`` are sentences about everything else: dead letters, profiles, the audit.
    """

    windows: int
    wrong: tuple[str, ...]
    findings: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not self.wrong and not self.findings


def compare(store: Store, transport: Transport, contract: Contract, truth: Truth) -> Verdict:
    """Return how the store differs from ``truth``; all of the log must have been consumed."""
    counted, raw = _counted(store, contract), _raw(store, contract)
    wrong = [
        f"{stream} {from_ms(start):%Y-%m-%dT%H:%MZ}: {'; '.join(differences)}"
        for stream, start in sorted(truth.windows.keys() | counted.keys() | raw.keys())
        if (differences := list(_differences((stream, start), truth, counted, raw)))
    ]
    findings = [*_dead(store, truth), *_profiled(store, contract, truth), *_audited(store, transport, contract, truth)]
    return Verdict(len(truth.windows), tuple(wrong), tuple(findings))


def _differences(window: Window, truth: Truth, counted: dict[Window, Tally], raw: dict[Window, Tally]) -> Iterator[str]:
    wanted = truth.windows.get(window, Tally())
    found, rows = counted.get(window, Tally()), raw.get(window, Tally())
    for what, is_now, must_be in (
        ("events", found.n, wanted.n),
        ("duplicates", found.duplicates, wanted.duplicates),
        ("late events", found.late, wanted.late),
        ("identities", found.identity_sum, wanted.identity_sum),
        ("raw rows", rows.n, wanted.n),
        ("ids of raw rows", rows.id_sum, wanted.id_sum),
    ):
        if is_now != must_be:
            yield f"{is_now} {what} instead of {must_be}"


def _counted(store: Store, contract: Contract) -> dict[Window, Tally]:
    rows = store.query(
        "SELECT stream, window_start, sum(n) AS n, sum(n_duplicate) AS duplicates, sum(n_late) AS late, "
        "sum(id_sum) AS identities FROM window_counts WHERE model = {model:String} AND column = '' GROUP BY ALL",
        {"model": contract.model},
    )
    return {
        (row["stream"], to_ms(row["window_start"])): Tally(row["n"], row["duplicates"], row["late"], row["identities"])
        for row in rows
    }


def _raw(store: Store, contract: Contract) -> dict[Window, Tally]:
    return {
        (stream, to_ms(row["hour"])): Tally(n=row["n"], id_sum=row["ids"])
        for stream in STREAMS
        for row in _hours(store, raw_table(contract, stream), "label_time" if stream == "labels" else "event_time")
    }


def _hours(store: Store, table: str, moment: str) -> list[dict[str, Any]]:
    return store.query(
        f"SELECT toStartOfHour({moment}) AS hour, count() AS n, sum(xxHash64(id)) AS ids "  # noqa: S608 - our names
        f"FROM {table} FINAL GROUP BY hour"
    )


def _dead(store: Store, truth: Truth) -> Iterator[str]:
    rows = store.query("SELECT topic, raw_sha256, count() AS n FROM counted_dead_letters GROUP BY ALL")
    found: Counter[tuple[Any, str]] = Counter(
        {(row["topic"].rpartition(".")[2], row["raw_sha256"]): row["n"] for row in rows}
    )
    if lacking := truth.dead - found:
        yield f"{lacking.total()} dead letters are missing"
    if surplus := found - truth.dead:
        yield f"{surplus.total()} dead letters are too many"


def _profiled(store: Store, contract: Contract, truth: Truth) -> Iterator[str]:
    wanted: defaultdict[str, int] = defaultdict(int)
    for (stream, _start), tally in truth.windows.items():
        wanted[stream] += tally.n
    rows = store.query(
        "SELECT stream, sum(n) AS n FROM segment_profiles FINAL WHERE model = {model:String} GROUP BY stream",
        {"model": contract.model},
    )
    found = {row["stream"]: row["n"] for row in rows}
    for name, n in wanted.items():
        if found.get(name, 0) != n:
            yield f"profiles of {name} hold {found.get(name, 0)} events instead of {n}"


def _audited(store: Store, transport: Transport, contract: Contract, truth: Truth) -> Iterator[str]:
    accounts = audit(store, transport, contract)
    for account in accounts:
        yield from account.mismatches
        if account.pending or account.unsettled:
            yield f"{account.topic}: {account.pending} records pending, {account.unsettled} windows unsettled"
    if (produced := sum(account.produced for account in accounts)) != truth.records:
        yield f"the log took {produced} records instead of {truth.records}"
