"""The thread that writes flushes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from consumers.writing.background import BackgroundWriter
from consumers.writing.flushing import Flush
from driftline.clock import SystemClock
from driftline.errors import StatementRejected, StoreUnavailable


@dataclass
class Recorded:
    """Takes rows down, and in which thread; fails as often as told."""

    failures: list[Exception] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def insert_rows(self, _table: str, rows: Any) -> None:
        self.threads.add(threading.get_ident())
        if self.failures:
            raise self.failures.pop()
        self.rows.extend(rows)


def flush_of(*rows: int) -> Flush:
    return Flush((("t", [{"x": row} for row in rows]),), len(rows), {}, ())


def writer_on(store: Recorded, away: list[StoreUnavailable]) -> BackgroundWriter:
    return BackgroundWriter(store, SystemClock(), away.append)  # type: ignore[arg-type]


def test_flushes_are_written_in_order_by_one_thread_that_is_not_the_callers() -> None:
    store = Recorded()
    writer = writer_on(store, [])
    for number in range(5):
        writer.submit(flush_of(number))
        assert writer.wait(30)
        assert writer.collect() is not None
    writer.close()

    assert [row["x"] for row in store.rows] == [0, 1, 2, 3, 4]
    assert len(store.threads) == 1
    assert threading.get_ident() not in store.threads


def test_a_store_that_is_away_is_asked_again() -> None:
    away: list[StoreUnavailable] = []
    writer = writer_on(store := Recorded([StoreUnavailable("away")]), away)
    writer.submit(flush_of(1))
    assert writer.wait(30)
    assert writer.collect() is not None
    writer.close()

    assert (store.rows, [str(error) for error in away]) == ([{"x": 1}], ["away"])


def test_a_refusal_reaches_whoever_collects() -> None:
    writer = writer_on(Recorded([StatementRejected("never")]), [])
    writer.submit(flush_of(1))
    assert writer.wait(30)
    with pytest.raises(StatementRejected, match="never"):
        writer.collect()
    writer.close()

    assert not writer.busy


def test_a_write_given_up_says_why_it_failed() -> None:
    away: list[StoreUnavailable] = []
    writer = writer_on(Recorded([StoreUnavailable("away") for _ in range(1_000)]), away)
    writer.submit(flush_of(1))
    while not away:
        assert not writer.wait(0.01)
    writer.abandon()
    assert writer.wait(30)
    with pytest.raises(StoreUnavailable, match="away"):
        writer.collect()
    writer.close()
