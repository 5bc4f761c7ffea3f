from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.counting.identity import SeenIds, identity_hashes
from consumers.decoding.decoder import Decoder
from driftline.store import Store
from tests.consumers.making import APPENDED, HOUR, T0, contract_of, input_of, label_of, prediction_of

CONTRACT = contract_of()
NAMES = [
    "",
    "a",
    "trip-1",
    "zürich",
    "😀",
    "a\0b",
    "x" * 1_000,
    "'; DROP TABLE inputs; --",
    "0" * 31,
    "0" * 32,
    "0" * 33,
]


def hashes_of(stream: str, values: Sequence[bytes], contract: object = CONTRACT) -> list[int]:
    decoder = Decoder(contract, stream)  # type: ignore[arg-type]
    events = decoder.decode(values, [APPENDED] * len(values), set())
    assert not events.dead
    return [int(value) for value in identity_hashes(stream, events)]  # type: ignore[arg-type]


def test_the_identity_of_an_input_is_the_engines_hash_of_its_id(store: Store) -> None:
    names = NAMES[1:]
    rows = store.query("SELECT xxHash64(arrayJoin({names:Array(String)})) AS hash", {"names": names})

    assert hashes_of("inputs", [input_of(name) for name in names]) == [row["hash"] for row in rows]


def test_the_identity_of_a_prediction_is_the_engines_hash_of_id_and_version(store: Store) -> None:
    names = [name for name in NAMES if "\0" not in name and name]
    sql = "SELECT xxHash64(concat(arrayJoin({names:Array(String)}), '\\0', 'v1')) AS hash"

    rows = store.query(sql, {"names": names})

    assert hashes_of("predictions", [prediction_of(name) for name in names]) == [row["hash"] for row in rows]


def test_two_versions_of_one_request_are_two_predictions() -> None:
    one, other = hashes_of("predictions", [prediction_of("a", version="v1"), prediction_of("a", version="v2")])

    assert one != other


def test_a_correction_is_a_label_of_its_own_and_a_repeated_label_is_not() -> None:
    labels = [label_of("a", T0, 1.0), label_of("a", T0, 1.0), label_of("a", T0, 2.0), label_of("a", T0 + 1, 1.0)]

    first, repeated, corrected, later = hashes_of("labels", labels)

    assert first == repeated
    assert len({first, corrected, later}) == 3


def test_no_label_and_an_empty_class_are_one_as_they_are_in_the_raw_table() -> None:
    contract = contract_of(extra="task: multiclass")

    one, other, third = hashes_of(
        "labels", [label_of("a", T0, None), label_of("a", T0, ""), label_of("a", T0, "x")], contract
    )

    assert one == other != third


class RawTable:
    """What a raw table holds: (hour, hash, offset); answers as the engine does, and keeps the questions."""

    def __init__(self, rows: list[tuple[int, int, int]]) -> None:
        self.rows = rows
        self.asked: list[tuple[tuple[int, ...], int]] = []

    def __call__(self, hours: Sequence[int], below: int) -> dict[int, list[int]]:
        self.asked.append((tuple(hours), below))
        return {hour: [h for at, h, o in self.rows if at == hour and o < below] for hour in hours}


def mark(seen: SeenIds, *events: tuple[int, int]) -> list[bool]:
    times, hashes = zip(*events, strict=True)
    return [bool(d) for d in seen.mark(np.array(times, dtype=np.int64), np.array(hashes, dtype=np.uint64))]


def test_the_second_of_two_equal_events_is_the_duplicate_in_one_batch_or_in_two() -> None:
    seen = SeenIds([], RawTable([]), 0)

    assert mark(seen, (T0, 1), (T0, 2), (T0 + 1, 1)) == [False, False, True]
    assert mark(seen, (T0 + 2, 2)) == [True]


def test_an_id_of_another_hour_is_another_event() -> None:
    seen = SeenIds([], RawTable([]), 0)

    assert mark(seen, (T0, 1), (T0 + HOUR, 1), (T0 + HOUR - 1, 1)) == [False, False, True]


def test_after_a_restart_the_ids_of_earlier_offsets_are_known() -> None:
    seen = SeenIds([T0], RawTable([(T0, 1, 3)]), below=5)

    assert mark(seen, (T0, 1), (T0, 2)) == [True, False]


def test_rows_that_a_dead_process_left_at_later_offsets_prove_nothing() -> None:
    seen = SeenIds([T0], RawTable([(T0, 1, 3), (T0, 2, 7)]), below=5)

    assert mark(seen, (T0, 1), (T0, 2)) == [True, False]


def test_hours_never_stored_are_not_asked_for() -> None:
    raw = RawTable([])

    mark(SeenIds([T0], raw, below=5), (T0, 1), (T0 + HOUR, 1))

    assert raw.asked == [((T0,), 5)]


def test_the_hours_forgotten_are_those_not_touched_for_longest_and_they_come_back_from_the_store() -> None:
    raw = RawTable([(T0, 1, 0), (T0 + HOUR, 2, 1), (T0 + 2 * HOUR, 3, 2)])
    seen = SeenIds([], raw, 0, capacity=2)
    mark(seen, (T0, 1), (T0 + HOUR, 2))
    mark(seen, (T0, 1), (T0 + 2 * HOUR, 3))
    seen.handed_over()
    seen.written(3)

    assert mark(seen, (T0, 1), (T0 + HOUR, 2), (T0 + 2 * HOUR, 3)) == [True, True, True]
    assert raw.asked == [((T0 + HOUR,), 3)]


def test_nothing_is_forgotten_before_it_is_stored() -> None:
    raw = RawTable([])
    seen = SeenIds([], raw, 0, capacity=1)
    mark(seen, *((T0 + hour * HOUR, hour) for hour in range(20)))

    assert all(mark(seen, *((T0 + hour * HOUR, hour) for hour in range(20))))
    assert raw.asked == []


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=40), st.sets(st.integers(0, 40)))
def test_duplicates_do_not_depend_on_how_the_log_was_cut(events: list[tuple[int, int]], cuts: set[int]) -> None:
    known: set[tuple[int, int]] = set()
    expected = [event in known or known.add(event) is not None for event in events]

    seen, found = SeenIds([], RawTable([]), 0), []
    edges = [0, *sorted(cut for cut in cuts if cut < len(events)), len(events)]
    for begin, end in itertools.pairwise(edges):
        if begin < end:
            found += mark(seen, *((T0 + hour * HOUR, identity) for hour, identity in events[begin:end]))

    assert found == expected
