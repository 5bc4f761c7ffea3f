"""The audit beside a running consumer: each minute and when windows close, over what has moved and a part of the rest.

The segments' leg always covers all; of the windows those are compared that were written to since the last run, those
that differed then, and so many of the others, in turn, that all have been looked at within an hour. What is found is
healed where it can be, and every run leaves a row per topic in ``audit_results``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import structlog

from consumers.auditing.audit import Examined, TopicAudit, examine
from consumers.auditing.healing import Healer
from consumers.auditing.rereading import Rereader
from consumers.auditing.windows import Difference, Key, StreamRows
from driftline.clock import Clock, from_ms
from driftline.contract import Contract
from driftline.errors import ContractError
from driftline.events import STREAMS, Stream
from driftline.store import Store
from driftline.transport import Transport

_log = structlog.get_logger(__name__)

EVERY_SECONDS = 60.0
ALL_WITHIN_SECONDS = 3_600.0
_REST_SECONDS = 10.0  # between two audits, however many windows close
# Of two copies at the same offset the one written last stands: reading one again makes the other give way.
_ROUNDS = 3
_OVERLAP = timedelta(seconds=30)  # a row's time is that of its insert's start, and clocks of servers differ


@dataclass(frozen=True, slots=True)
class AuditRun:
    """What one run found, after healing."""

    accounts: tuple[TopicAudit, ...]

    @property
    def mismatches(self) -> int:
        """How many comparisons disagreed."""
        return sum(len(account.mismatches) for account in self.accounts)


@dataclass(slots=True)
class _Rounds:
    """Which windows of a stream to look at: where the round of all stands, when it was last asked, what differed."""

    cursor_ms: int = -1
    since: datetime | None = None
    differing: frozenset[int] = frozenset()


@dataclass(slots=True)
class ContinuousAudit:
    """Audits the topics of one contract again and again. Belongs to one thread; opens a consumer per topic and run."""

    store: Store
    transport: Transport
    contract: Contract
    clock: Clock
    every_seconds: float = EVERY_SECONDS
    all_within_seconds: float = ALL_WITHIN_SECONDS
    _ran_at: float | None = None
    _closed: bool = False
    _rounds: dict[Stream, _Rounds] = field(default_factory=dict)
    _healer: Healer | None = None

    def window_closed(self) -> None:
        """Take note that a window has closed: an audit is due as soon as the last one is ten seconds ago."""
        self._closed = True

    def due(self) -> bool:
        """Return whether it is time to run; the first time is one period after the first call."""
        now = self.clock.monotonic()
        if self._ran_at is None:
            self._ran_at = now
        return now - self._ran_at >= (min(_REST_SECONDS, self.every_seconds) if self._closed else self.every_seconds)

    def run(self) -> AuditRun:
        """Audit all topics, heal what can be healed, store the results and return them.

        Raises:
            StoreUnavailable: nothing is lost; the next run looks at the same windows.
            TransportUnavailable: likewise.
        """
        self._ran_at, self._closed = self.clock.monotonic(), False
        healer = self._healing()
        accounts = tuple(self._run_topic(stream, healer) for stream in STREAMS)
        run = AuditRun(accounts)
        if run.mismatches:
            _log.warning("audit_mismatches", mismatches=[text for one in accounts for text in one.mismatches][:10])
        return run

    def _healing(self) -> Healer | None:
        if self._healer is None:
            rereader = Rereader.of(self.store, self.transport, self.contract, self.clock)
            self._healer = Healer(rereader) if rereader else None
        return self._healer

    def _run_topic(self, stream: Stream, healer: Healer | None) -> TopicAudit:
        rounds = self._rounds.setdefault(stream, _Rounds())
        rows = StreamRows(self.store, self.contract, stream)
        now: datetime = self.store.scalar("SELECT now64(6, 'UTC')")
        begun = self.clock.monotonic()
        rest = _next_windows(rows, rounds.cursor_ms, self.every_seconds / self.all_within_seconds)
        starts = _touched(rows, rounds.since) | rounds.differing | set(rest)
        found = audit_and_heal(self.store, self.transport, self.contract, stream, healer, starts)
        record(found, "recent", self.clock.monotonic() - begun)
        rounds.cursor_ms, rounds.since = rest[-1] if rest else -1, now - _OVERLAP
        unsettled = {key.start_ms for key in found.comparison.unsettled}
        rounds.differing = frozenset({one.key.start_ms for one in found.comparison.differing} | unsettled)
        return found.account


def audit_and_heal_all(store: Store, transport: Transport, contract: Contract, clock: Clock) -> list[TopicAudit]:
    """Audit all topics and windows once, heal what can be healed at any cost, store the results and return them.

    Raises:
        ContractError: ``contract`` is not the one in force; its consumer has to run first.
    """
    rereader = Rereader.of(store, transport, contract, clock)
    if rereader is None:
        msg = f"the contract of {contract.model} differs from the one in force; run `driftline consume` with it first"
        raise ContractError(msg)
    healer, accounts = Healer(rereader, budget=sys.maxsize), []
    for stream in STREAMS:
        begun = clock.monotonic()
        found = audit_and_heal(store, transport, contract, stream, healer)
        record(found, "all", clock.monotonic() - begun)
        accounts.append(found.account)
    return accounts


def audit_and_heal(
    store: Store,
    transport: Transport,
    contract: Contract,
    stream: Stream,
    healer: Healer | None,
    starts: set[int] | None = None,
) -> Examined:
    """Audit one topic's windows (``starts`` in epoch ms, or all), heal, and return how it stands then."""
    found = examine(store, transport, contract, stream, starts)
    for _ in range(_ROUNDS if healer else 0):
        if not (healer and found.account.mismatches and healer.heal(found)):
            break
        found = examine(store, transport, contract, stream, starts)
    return found


def record(found: Examined, scope: Literal["all", "recent"], seconds: float) -> None:
    """Store the account, and for each window that differs, or no longer does, by how many events."""
    rows, account = found.rows, found.account
    at: datetime = rows.store.scalar("SELECT now64(6, 'UTC')")
    owner = {"model": rows.contract.model, "topic": rows.topic, "stream": rows.stream, "at": at}
    row = {
        **owner,
        "scope": scope,
        "produced": max(0, account.produced),
        **{name: getattr(account, name) for name in ("ok", "duplicate", "dead", "pending", "lost", "windows")},
        "unsettled": account.unsettled,
        "healed": len(account.healed),
        "mismatches": len(account.mismatches),
        "findings": list(account.mismatches[:100]),
        "seconds": seconds,
    }
    rows.store.insert_rows("audit_results", [row])
    rows.store.insert_rows("audit_windows", [{**owner, **window} for window in _changed_windows(found)])


def _changed_windows(found: Examined) -> list[dict[str, Any]]:
    rows, differing = found.rows, {one.key: one for one in found.comparison.differing}
    noted = rows.store.query(
        "SELECT toUnixTimestamp64Milli(window_start) AS start_ms, model_version AS version FROM audit_windows FINAL "
        "WHERE model = {model:String} AND topic = {topic:String} AND difference > 0",
        rows.parameters(),
    )
    before = {Key(row["start_ms"], row["version"]) for row in noted}
    mended = before & found.comparison.compared - found.comparison.unsettled - differing.keys()
    return [
        *(_window(key, one) for key, one in differing.items()),
        *(_window(key, None) for key in sorted(mended)),
    ]


def _window(key: Key, one: Difference | None) -> dict[str, Any]:
    return {
        "window_start": from_ms(key.start_ms),
        "model_version": key.version,
        "n": one.counted.n if one else 0,
        "raw_n": one.raw.n if one else 0,
        "difference": one.size if one else 0,
    }


def _touched(rows: StreamRows, since: datetime | None) -> set[int]:
    """Return the windows of the segments that were written since then; none the first time, when all are to come."""
    if since is None:
        return set()
    found = rows.store.query(
        "SELECT DISTINCT toUnixTimestamp64Milli(window_start) AS start_ms FROM segment_counts "
        "WHERE model = {model:String} AND topic = {topic:String} AND column = '' AND (source_id, p, lo) IN ("
        "SELECT source_id, p, lo FROM segments "
        "WHERE topic = {topic:String} AND written >= {since:DateTime64(6, 'UTC')})",
        rows.parameters(since=since),
    )
    return {row["start_ms"] for row in found}


def _next_windows(rows: StreamRows, after_ms: int, share: float) -> list[int]:
    """Return the next windows in the round of all: this share of them, at least one, from the first after the last."""
    found = rows.store.query(
        "SELECT toUnixTimestamp64Milli(window_start) AS start_ms FROM segment_counts "
        "WHERE model = {model:String} AND topic = {topic:String} AND column = '' GROUP BY start_ms ORDER BY start_ms",
        rows.parameters(),
    )
    starts = [row["start_ms"] for row in found]
    count = max(1, -(-len(starts) * share // 1)) if starts else 0
    return [start for start in starts if start > after_ms][: int(count)]
