"""The audit on a real log and store: what it names, what it tells apart from a mismatch."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from consumers.auditing.continuous import ContinuousAudit
from consumers.auditing.segments import Place, uncovered
from consumers.loop import Pace
from driftline.store import Store
from driftline.transport import Partition
from tests.consumers.making import HOUR, T0, contract_of, input_of
from tests.consumers.running import FailingStore, Pipeline


@pytest.fixture
def pipeline(store: Store, model: str, tmp_path: Path) -> Pipeline:
    return Pipeline(store, contract_of(model), tmp_path / "log", partitions=2)


def inputs(count: int, first: int = 0) -> list[bytes]:
    return [input_of(f"e{n}", T0 + n * 60_000, amount=n % 150, colour="red") for n in range(first, first + count)]


def continuous(pipeline: Pipeline) -> ContinuousAudit:
    return ContinuousAudit(pipeline.store, pipeline.transport, pipeline.contract, pipeline.clock)


def test_counts_ahead_of_their_commit_record_are_unsettled_and_no_mismatch(pipeline: Pipeline) -> None:
    pipeline.send(inputs(60))
    pipeline.consume()
    pipeline.send(inputs(30, first=60))
    columns = pipeline.store.query(
        "SELECT * FROM segment_counts FINAL WHERE topic = {topic:String}", {"topic": pipeline.topic("inputs")}
    )
    ahead = [{**row, "n": row["n"] + 30, "seg_version": 90 << 16 | 1} for row in columns if row["column"] == ""]
    pipeline.store.insert_rows("segment_counts", ahead)  # what a process leaves that dies before its commit record

    crashed = pipeline.audit()
    pipeline.consume()
    recovered = pipeline.audit()

    assert (crashed.mismatches, crashed.unsettled, crashed.pending, crashed.ok) == ((), 2, 30, 60)
    assert (recovered.mismatches, recovered.unsettled, recovered.pending, recovered.ok) == ((), 0, 0, 90)


@pytest.mark.parametrize("fail_at", [2, 3, 4, 5])
def test_a_consumer_that_died_within_a_flush_leaves_no_mismatch(pipeline: Pipeline, fail_at: int) -> None:
    pipeline.send(inputs(60))
    pipeline.consume()
    pipeline.send(inputs(60, first=60), partition=1)
    pipeline.send(inputs(30, first=120))
    torn = Torn(pipeline.store, fail_at)
    with pytest.raises(KeyboardInterrupt):
        pipeline.consume(torn)

    assert (pipeline.audit().mismatches, pipeline.audit().pending, pipeline.audit().ok) == ((), 90, 60)


class Torn(FailingStore):
    """Ends the process, as far as a test can, at its n-th insert into tables of counts."""

    def __init__(self, store: Store, fail_at: int) -> None:
        super().__init__(store, fail_at)

    def _insert(self, write: object) -> None:
        self.inserts += 1
        if self.inserts >= self.fail_at:
            raise KeyboardInterrupt
        write()  # type: ignore[operator]


def test_the_audit_holds_between_any_two_flushes_of_a_running_consumer(pipeline: Pipeline) -> None:
    pipeline.send(inputs(120))
    pipeline.send(inputs(120, first=120), partition=1)
    seen = []
    with pipeline.consumer(pace=Pace(poll_records=25)) as loop:
        for _ in range(6):
            loop.step()
            loop.flush()
            seen.append(pipeline.audit())

    assert [account.mismatches for account in seen] == [()] * 6
    assert {account.ok + account.pending for account in seen} == {240}


def test_records_that_left_the_log_uncounted_are_named_until_a_consumer_notes_them(pipeline: Pipeline) -> None:
    topic = pipeline.topic("inputs")
    pipeline.send(inputs(40))
    pipeline.consume()
    pipeline.send(inputs(40, first=40))
    pipeline.transport.delete_records(Partition(topic, 0), 70)

    before = pipeline.audit()
    pipeline.consume()
    after = pipeline.audit()

    assert before.mismatches == (
        "80 records produced, 50 accounted for",
        "partition 0: offsets 40 to 70 have left the log and were never counted",
    )
    assert (after.mismatches, after.lost, after.produced, after.ok) == ((), 30, 50, 50)


def test_a_commit_record_lost_below_what_the_log_keeps_is_named_with_its_range(pipeline: Pipeline) -> None:
    topic = pipeline.topic("inputs")
    pipeline.send(inputs(5_100))
    pipeline.consume()
    pipeline.store.execute(
        "DELETE FROM segments WHERE topic = {topic:String} AND lo = 0", {"topic": pipeline.topic("inputs")}
    )
    pipeline.transport.delete_records(Partition(topic, 0), 5_050)

    found = pipeline.audit().mismatches

    assert "partition 0: offsets 0 to 5000 are in no segment" in found


def test_lost_counts_of_one_column_are_found(pipeline: Pipeline) -> None:
    pipeline.send(inputs(60))
    pipeline.consume()
    pipeline.store.execute(
        "DELETE FROM segment_counts WHERE topic = {topic:String} AND column = 'amount'",
        {"topic": pipeline.topic("inputs")},
    )
    pipeline.send(inputs(60), stream="inputs", partition=1)

    assert pipeline.audit().mismatches == ("partition 0, segment 0: counts of some columns are lost",)


def test_parts_of_a_stretch_that_no_gap_covers() -> None:
    gaps = [
        {"source_id": "a", "p": 0, "from_o": 10, "to_o": 20},
        {"source_id": "a", "p": 0, "from_o": 30, "to_o": 40},
        {"source_id": "a", "p": 1, "from_o": 0, "to_o": 100},
    ]

    assert list(uncovered(5, 45, Place("a", 0), gaps)) == [(5, 10), (20, 30), (40, 45)]
    assert list(uncovered(12, 18, Place("a", 0), gaps)) == []
    assert list(uncovered(0, 0, Place("a", 0), gaps)) == []


def test_a_continuous_audit_is_due_each_minute_and_sooner_when_a_window_closes(pipeline: Pipeline) -> None:
    auditing = continuous(pipeline)
    due = [auditing.due()]
    pipeline.clock.advance(timedelta(seconds=59))
    due.append(auditing.due())
    pipeline.clock.advance(timedelta(seconds=1))
    due.append(auditing.due())
    auditing.run()
    auditing.window_closed()
    pipeline.clock.advance(timedelta(seconds=9))
    due.append(auditing.due())
    pipeline.clock.advance(timedelta(seconds=1))
    due.append(auditing.due())

    assert due == [False, False, True, False, True]


def test_a_continuous_audit_looks_at_what_moved_and_at_everything_within_the_hour(pipeline: Pipeline) -> None:
    pipeline.send([input_of(f"e{n}", T0 + n * HOUR, amount=1) for n in range(120)])
    pipeline.consume()
    auditing = continuous(pipeline)
    looked = [auditing.run().accounts[0].windows for _ in range(3)]
    pipeline.store.execute("DELETE FROM inputs_" + pipeline.contract.model + " WHERE id = 'e100'")
    found = [auditing.run() for _ in range(60)]
    rows = pipeline.rows("SELECT scope, count() AS k FROM audit_results WHERE topic = {topic:String} GROUP BY scope")

    assert looked[0] == 2  # one sixtieth of all
    assert sum(run.accounts[0].windows for run in found) >= 120
    assert rows == [{"scope": "recent", "k": 63}]
