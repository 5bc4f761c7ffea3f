"""Which record ended the process: found by notes alone, from one death to the next."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from consumers.counting.rules import StreamRules
from consumers.counting.segments import PartitionState, Start
from consumers.counting.watermarks import Watermark
from consumers.decoding.decoder import Decoder
from consumers.decoding.envelopes import Reason
from consumers.reading.quarantine import Guard, quarantined_offsets
from driftline.events import Marker
from driftline.store import Store
from driftline.transport import Partition, RecordBatch
from tests.consumers.making import T0, batch_of, contract_of, input_of, nothing_stored

SOURCE = "s1"


class Died(Exception):
    """Stands for the end of the process: nothing after it is done."""


@pytest.fixture
def partition(model: str) -> Partition:
    return Partition(model, 0)


def records(partition: Partition, count: int, first: int = 0) -> RecordBatch:
    return batch_of([b"x"] * count, first, partition=partition)


def live(store: Store, batches: list[RecordBatch], absorb: Callable[[set[int]], None], flush: bool = True) -> int:
    """One life of a consumer; return how many notes it wrote while reading."""
    partition = batches[0].partition
    counting = CountingStore(store)
    guard = Guard(counting, "writer")  # type: ignore[arg-type]
    guard.open({partition: SOURCE})
    counting.inserts = 0
    known = quarantined_offsets(store, SOURCE, partition)
    for batch in batches:
        for piece in guard.pieces(batch):
            guard.before(piece)
            absorb({*piece.offsets} - known)
            guard.after(piece)
    notes = counting.inserts
    if flush:
        guard.flushed()
    guard.stop()
    return notes


class CountingStore:
    def __init__(self, store: Store) -> None:
        self.query, self._insert, self.inserts = store.query, store.insert_rows, 0

    def insert_rows(self, table: str, rows: list[dict[str, object]]) -> None:
        self.inserts += 1
        self._insert(table, rows)


def killed_by(*killers: int) -> Callable[[set[int]], None]:
    def absorb(offsets: set[int]) -> None:
        if offsets & {*killers}:
            raise Died

    return absorb


def lives_until_the_end(store: Store, batches: list[RecordBatch], *killers: int) -> int:
    for life in range(1, 20):
        try:
            live(store, batches, killed_by(*killers))
        except Died:
            continue
        return life
    return 0


def test_a_consumer_that_stops_in_order_writes_no_notes(store: Store, partition: Partition) -> None:
    batches = [records(partition, 100), records(partition, 100, 100)]

    assert [live(store, batches, lambda _: None) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("killer", [0, 1, 70, 71, 2_500, 4_999])
def test_a_record_that_kills_four_times_is_quarantined_and_no_other_is(
    store: Store, partition: Partition, killer: int
) -> None:
    batches = [records(partition, 5_000), records(partition, 10, 5_000)]

    assert lives_until_the_end(store, batches, killer) == 5
    assert quarantined_offsets(store, SOURCE, partition) == {killer}


def test_two_killers_in_one_batch_are_found_one_after_the_other(store: Store, partition: Partition) -> None:
    assert lives_until_the_end(store, [records(partition, 300)], 100, 200) > 5
    assert quarantined_offsets(store, SOURCE, partition) == {100, 200}


def test_the_killer_is_found_although_batches_are_cut_elsewhere_each_time(store: Store, partition: Partition) -> None:
    rng = random.Random(5)
    for _ in range(12):
        edges = [0, *sorted(rng.sample(range(1, 1_000), 4)), 1_000]
        batches = [records(partition, stop - first, first) for first, stop in itertools.pairwise(edges)]
        try:
            live(store, batches, killed_by(617))
        except Died:
            continue
        break

    assert quarantined_offsets(store, SOURCE, partition) == {617}


def test_deaths_at_different_places_quarantine_nothing(store: Store, partition: Partition) -> None:
    rng, batches = random.Random(7), [records(partition, 400, first) for first in range(0, 2_000, 400)]
    for _ in range(25):
        steps = rng.randrange(1, 40)

        def absorb(_: set[int], left: list[int] = [steps]) -> None:  # noqa: B006
            left[0] -= 1
            if left[0] == 0:
                raise Died

        try:
            live(store, batches, absorb, flush=False)
        except Died:
            continue

    assert quarantined_offsets(store, SOURCE, partition) == frozenset()


def test_care_ends_with_the_first_flush(store: Store, partition: Partition) -> None:
    with pytest.raises(Died):
        live(store, [records(partition, 10)], killed_by(3))
    counting = CountingStore(store)
    guard = Guard(counting, "writer")  # type: ignore[arg-type]
    guard.open({partition: SOURCE})
    for piece in guard.pieces(records(partition, 3)):
        guard.before(piece)
        guard.after(piece)
    assert counting.inserts == 3
    guard.flushed()

    for piece in guard.pieces(records(partition, 3, 3)):
        guard.before(piece)
        guard.after(piece)

    assert counting.inserts == 3


def test_a_topic_made_again_has_no_past(store: Store, partition: Partition) -> None:
    lives_until_the_end(store, [records(partition, 10)], 4)

    assert quarantined_offsets(store, "another", partition) == frozenset()


def test_pieces_are_the_batch_without_loss_or_overlap_whatever_lies_in_its_gaps(
    store: Store, partition: Partition
) -> None:
    offsets = [5, 6, 9, 30, 31, 44]
    batch = RecordBatch(partition, offsets, offsets, [b"%d" % o for o in offsets], 50, {3: (("a", b"b"),)})
    with pytest.raises(Died):
        live(store, [batch], killed_by(99, 5))
    for _ in range(2):
        with pytest.raises(Died):
            live(store, [batch], killed_by(99, 44))
    guard = Guard(store, "writer")
    guard.open({partition: SOURCE})

    pieces = list(guard.pieces(batch))

    assert [offset for piece in pieces for offset in piece.offsets] == offsets
    assert [value for piece in pieces for value in piece.values] == batch.values
    assert {piece.offsets[at]: h for piece in pieces for at, h in piece.headers.items()} == {30: (("a", b"b"),)}
    ends = [piece.next_offset for piece in pieces]
    assert ends == sorted(ends)
    assert ends[-1] == 50


def test_a_quarantined_record_is_a_dead_letter_and_is_not_decoded() -> None:
    class Deadly(Decoder):
        def _decode_one(self, value: bytes | None, append_ms: int) -> object:  # type: ignore[override]
            assert value is None or b"magic" not in value
            return super()._decode_one(value, append_ms)

    contract = contract_of()
    known = StreamRules.of(contract, "inputs")
    rules = StreamRules(contract, "inputs", Deadly(contract, "inputs"), known.bounds, known.window_ms, known.profile_ms)
    start = Start("s", 0, Watermark(), nothing_stored(), frozenset({1, 2}))
    state = PartitionState(Partition("t", 0), rules, start)

    state.absorb(batch_of([input_of("a"), input_of("magic"), Marker("m", T0 + 1), input_of("b")]))

    assert [(row.offset, row.letter.reason) for row in state.dead] == [
        (1, Reason.QUARANTINED),
        (2, Reason.QUARANTINED),
    ]
    (segment,) = state.segments
    assert (segment.ok, segment.dead, segment.markers) == (2, 2, 0)
