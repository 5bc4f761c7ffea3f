"""Random schedules against the real segment code: whatever dies, pauses or repeats, the store ends up true.

Several workers read the same partitions at once and flush when they like. A flush may be torn (some rows of
an insert written, some not), cut off by a crash between two inserts, repeated, or paused and finished long
after others have moved on. Workers rewind and lose their memory. In the end one worker reads what is left.
The truth is computed in one plain pass over the log.

The mutants break one rule of the algorithm each: some seed must then end wrong, or this check proves nothing.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from xxhash import xxh64_intdigest

from consumers.counting.rules import StreamRules
from consumers.counting.segments import PartitionState
from consumers.reading import recovery
from consumers.reading.recovery import HourReader, Kept, start_of
from consumers.writing.flushing import Flush, Flusher, Writer
from driftline.clock import ManualClock, to_ms
from driftline.events import Marker
from driftline.store import Store
from driftline.store.inputs_table import ensure_inputs_table
from driftline.transport import Partition
from tests.consumers.counting_profile import quick_profiles
from tests.consumers.making import APPENDED, HOUR, T0, Record, batch_of, contract_of, input_of
from tests.consumers.simulated_store import SimulatedStore

PARTITIONS, RECORDS, SEGMENT, STEPS = 2, 90, 16, 60
SEEDS = range(200)
PARTITIONED = {
    "inputs_checked",
    "segment_counts",
    "segment_profiles",
}  # the engine writes other blocks whole or not at all
CONTRACT = contract_of("checked", columns="\n  amount: {type: number}")
RULES = StreamRules.of(CONTRACT, "inputs")
__all__ = ["quick_profiles"]
Insert = tuple[str, list[dict[str, Any]]]


class Recorder:
    """Takes a flush's inserts down instead of writing them, so that the schedule decides what becomes of them."""

    def __init__(self) -> None:
        self.inserts: list[Insert] = []

    def insert(self, table: str, columns: pa.Table) -> None:
        self.insert_rows(table, columns.to_pylist())

    def insert_rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            self.inserts.append((table, [dict(row) for row in rows]))


class EngineStore:
    """The real engine behind the same two methods, for a few seeds."""

    def __init__(self, store: Store, topic_suffix: str) -> None:
        self.store, self.topic = store, f"checked{topic_suffix}"

    def insert_rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if table.startswith("inputs_"):
            types = {
                "event_time": pa.timestamp("ms", "UTC"),
                "append_time": pa.timestamp("ms", "UTC"),
                "p": pa.uint16(),
            }
            types |= {"id_hash": pa.uint64(), "o": pa.uint64()}
            columns = {name: pa.array([row[name] for row in rows], types.get(name)) for name in rows[0]}
            self.store.insert(table, pa.table(columns))
        else:
            self.store.insert_rows(table, rows)

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self.store.query(sql, parameters)

    def rows(self, table: str) -> list[dict[str, Any]]:
        column = "source_id" if table.startswith("inputs_") else "topic"
        return self.store.query(
            f"SELECT * FROM {table} FINAL WHERE {column} = {{topic:String}}",
            {"topic": self.topic},
        )


def make_log(rng: random.Random, uid: str) -> list[Record]:
    """Times drift forward with jitter; some records are duplicates of any age, poison, or markers."""
    log: list[Record] = []
    sent: list[bytes] = []
    for offset in range(RECORDS):
        dice = rng.random()
        now = T0 + offset * HOUR // 12
        if dice < 0.05:
            log.append(rng.choice([b"{", b"", b'{"id":1}', b"\xff"]))
        elif dice < 0.08:
            log.append(Marker(rng.choice("ab"), now - HOUR // 2))
        elif dice < 0.25 and sent:
            log.append(rng.choice(sent))
        else:
            sent.append(input_of(f"{uid}{offset}", now - rng.randint(0, 3 * HOUR), amount=rng.choice([1, 2.5, None])))
            log.append(sent[-1])
    return log


def truth_of(logs: list[list[Record]]) -> dict[str, Any]:
    """One pass in plain Python: the rules as the design states them."""
    truth: dict[str, Any] = {"n": Counter(), "duplicate": Counter(), "late": Counter(), "id_sum": Counter()}
    truth |= {"dead": set(), "raw": {}, "watermark": {}}
    for p, log in enumerate(logs):
        seen: set[tuple[str, int]] = set()
        watermark = 0
        for offset, record in enumerate(log):
            if isinstance(record, Marker):
                watermark = max(watermark, record.up_to)
                continue
            try:
                event = json.loads(record or b"")
                name, time = event["id"], event["event_time"]
            except (ValueError, KeyError):
                truth["dead"].add((p, offset))
                continue
            window = time // HOUR * HOUR
            if (name, window) in seen:
                truth["duplicate"][window] += 1
            else:
                truth["n"][window] += 1
                truth["late"][window] += window + HOUR <= watermark
                truth["id_sum"][window] = (truth["id_sum"][window] + xxh64_intdigest(name.encode())) % 2**64
                truth["raw"][name] = (p, offset)
            seen.add((name, window))
            watermark = max(watermark, time)
        truth["watermark"][p] = watermark
    return {name: +value if isinstance(value, Counter) else value for name, value in truth.items()}


def found_in(store: Any) -> dict[str, Any]:
    """What a reader of the tables sees: counts under the contract of each segment's winning commit record."""
    found: dict[str, Any] = {"n": Counter(), "duplicate": Counter(), "late": Counter(), "id_sum": Counter()}
    winners = {(row["p"], row["lo"]): row["contract_id"] for row in store.rows("segments")}
    for row in store.rows("segment_counts"):
        if row["column"] == "" and winners.get((row["p"], row["lo"])) == row["contract_id"]:
            window = to_ms(row["window_start"])
            found["n"][window] += row["n"]
            found["duplicate"][window] += row["n_duplicate"]
            found["late"][window] += row["n_late"]
            found["id_sum"][window] = (found["id_sum"][window] + row["id_sum"]) % 2**64
    found["dead"] = {(row["p"], row["o"]) for row in store.rows("dead_letters")}
    found["raw"] = {row["id"]: (row["p"], row["o"]) for row in store.rows(CONTRACT.raw_inputs_table)}
    reached: dict[int, int] = defaultdict(int)
    for row in store.rows("segments"):
        reached[row["p"]] = max(reached[row["p"]], to_ms(row["watermark"]))
    found["watermark"] = dict(reached)
    return {name: +value if isinstance(value, Counter) else value for name, value in found.items()}


@dataclass
class Worker:
    """A process: its states in memory; ``paused`` are inserts of a flush that it has not finished yet."""

    states: dict[int, PartitionState] = field(default_factory=dict)
    flusher: Flusher = field(default_factory=lambda: _flusher())
    paused: list[Insert] = field(default_factory=list)


def _flusher() -> Flusher:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    return Flusher(Writer("w", CONTRACT, 1), clock)


@dataclass
class Schedule:
    """One seed's run."""

    rng: random.Random
    store: Any
    logs: list[list[Record]]
    topic: str = "checked"
    workers: list[Worker] = field(default_factory=lambda: [Worker() for _ in range(3)])

    def run(self) -> None:
        for _ in range(STEPS):
            self._act(self.rng.choice(self.workers))
        last = Worker()
        if self.rng.random() < 0.5:
            self._resume_all()
        for p, log in enumerate(self.logs):
            self._read(last, p, len(log))
        self._write(self._inserts(last))
        self._resume_all()

    def _act(self, worker: Worker) -> None:
        if worker.paused:
            if self.rng.random() < 0.3:
                self._write(worker.paused)
                worker.paused = []
            return
        dice, p = self.rng.random(), self.rng.randrange(PARTITIONS)
        if dice < 0.55:
            self._read(worker, p, self.rng.randint(1, 14))
        elif dice < 0.92:
            self._flush(worker)
        else:
            worker.states.pop(p, None)

    def _read(self, worker: Worker, p: int, count: int) -> None:
        if p not in worker.states:
            worker.states[p] = self._opened(p)
        state = worker.states[p]
        first = max(state.start.offset, state.next_offset - self.rng.choice([0, 0, 3]))  # now and then a rewind
        end = min(len(self.logs[p]), state.next_offset + count)
        if first < end:
            appended = [APPENDED + offset for offset in range(first, end)]
            state.absorb(batch_of(self.logs[p][first:end], first, appended, state.partition))

    def _opened(self, p: int) -> PartitionState:
        partition = Partition(self.topic, p)
        start = recovery.start_of(self.store, RULES, self.topic, partition, Kept(0, len(self.logs[p])))
        start.seen._capacity = 5  # so that hours are forgotten and loaded again
        return PartitionState(partition, RULES, start, SEGMENT)

    def _inserts(self, worker: Worker) -> list[Insert]:
        recorder, flush = Recorder(), worker.flusher.prepare(worker.states.values())
        if flush is not None:
            flush.write(recorder)  # type: ignore[arg-type]
            flush.take_note()
        return recorder.inserts

    def _flush(self, worker: Worker) -> None:
        inserts, dice = self._inserts(worker), self.rng.random()
        cut = self.rng.randint(0, len(inserts))
        if dice < 0.25:  # killed between two inserts, or within one
            self._write(inserts[:cut])
            if cut < len(inserts):
                table, rows = inserts[cut]
                torn = table in PARTITIONED
                self._write([(table, [row for row in rows if torn and self.rng.random() < 0.5])])
            worker.states.clear()
        elif dice < 0.45:  # stopped; goes on much later, as if nothing had happened
            self._write(inserts[:cut])
            worker.paused = inserts[cut:]
        elif dice < 0.6:  # written, answer lost, written again
            self._write(inserts[:cut])
            self._write(inserts)
        else:
            self._write(inserts)

    def _write(self, inserts: Iterable[Insert]) -> None:
        for table, rows in inserts:
            if rows:
                self.store.insert_rows(table, rows)

    def _resume_all(self) -> None:
        for worker in self.workers:
            self._write(worker.paused)
            worker.paused = []


def ends_true(seed: int, make_store: Callable[[], Any] = SimulatedStore) -> bool:
    rng = random.Random(seed)
    logs = [make_log(rng, f"s{seed}p{p}o") for p in range(PARTITIONS)]
    store = make_store()
    Schedule(rng, store, logs, getattr(store, "topic", "checked")).run()
    return found_in(store) == truth_of(logs)


def some_seed_goes_wrong() -> bool:
    return any(not ends_true(seed) for seed in SEEDS)


def test_every_schedule_of_crashes_zombies_and_rewinds_ends_with_the_truth() -> None:
    wrong = [seed for seed in SEEDS if not ends_true(seed)]

    assert wrong == []


@pytest.mark.parametrize("seed", range(2))
def test_the_same_schedules_end_with_the_truth_on_the_real_engine(seed: int, store: Store) -> None:
    ensure_inputs_table(store, CONTRACT)

    assert ends_true(seed, lambda: EngineStore(store, f"-{seed}"))


def test_a_version_that_is_not_the_offset_reached_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Writer, "version_of", lambda self, _segment: self.contract_seq)

    assert some_seed_goes_wrong()


def test_a_restart_at_the_offset_reached_instead_of_the_segments_start_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start_at_reached(store: Any, rules: StreamRules, source: str, partition: Partition, kept: Kept) -> Any:
        start = start_of(store, rules, source, partition, kept)
        segments = recovery._segments(store, source, partition)
        return replace(start, offset=max((row["hi"] for row in segments), default=0))

    monkeypatch.setattr(recovery, "start_of", start_at_reached)

    assert some_seed_goes_wrong()


def test_a_commit_record_written_first_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = Flusher.prepare

    def commit_first(self: Flusher, states: Iterable[PartitionState], *, final: bool = False) -> Flush | None:
        flush = prepare(self, states, final=final)
        order = sorted(flush.inserts, key=lambda insert: insert[0] != "segments") if flush else []
        return replace(flush, inserts=tuple(order)) if flush else None

    monkeypatch.setattr(Flusher, "prepare", commit_first)

    assert some_seed_goes_wrong()


def test_duplicates_decided_without_the_earlier_offsets_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HourReader, "__call__", lambda _self, _hours, _below: {})

    assert some_seed_goes_wrong()


def test_duplicates_decided_by_rows_of_later_offsets_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    read = HourReader.__call__
    monkeypatch.setattr(HourReader, "__call__", lambda self, hours, _below: read(self, hours, 2**40))

    assert some_seed_goes_wrong()


def test_a_segment_that_forgets_the_watermark_of_earlier_ones_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    newest = recovery._watermark_after
    monkeypatch.setattr(recovery, "_watermark_after", lambda segments: replace(newest(segments), watermark_ms=0))

    assert some_seed_goes_wrong()
