from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.counting.rules import StreamRules
from consumers.decoding.envelopes import Reason
from driftline.events import MARKER_HEADER, Marker
from driftline.transport import Partition, RecordBatch
from tests.consumers.counting_profile import quick_profiles
from tests.consumers.making import (
    APPENDED,
    DAY,
    HOUR,
    MINUTE,
    T0,
    Record,
    batch_of,
    contract_of,
    fed,
    input_of,
    state_of,
    table_of,
)

__all__ = ["quick_profiles"]

RULES = StreamRules.of(contract_of(), "inputs")


def at(hour: float, name: str = "") -> bytes:
    return input_of(name or f"h{hour}", T0 + int(hour * HOUR))


def late_by_window(records: list[Record], rules: StreamRules = RULES) -> dict[float, int]:
    found = table_of(fed(state_of(rules), records))
    return {
        (key[0] - T0) / HOUR: figures[2]  # type: ignore[misc]
        for (_, key, column), figures in found.items()
        if key != "segment" and column == ""
    }


def mixed_log(seed: int, length: int) -> list[Record]:
    rng = random.Random(seed)
    log: list[Record] = []
    for number in range(length):
        kind = rng.random()
        if kind < 0.1:
            log.append(rng.choice([None, b"", b"nonsense", b"[]"]))
        elif kind < 0.2:
            log.append(Marker(rng.choice("AB"), T0 + rng.randint(0, 9) * HOUR, end=rng.random() < 0.2))
        else:
            log.append(input_of(str(rng.randint(0, number)), T0 + rng.randint(0, 9 * HOUR), amount=rng.random()))
    return log


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000), st.sets(st.integers(1, 59), max_size=6), st.sampled_from([7, 20, 5_000]), st.integers(0, 3)
)
def test_state_is_the_same_however_the_log_was_cut_into_polls(
    seed: int, cuts: set[int], segment_size: int, start: int
) -> None:
    log = mixed_log(seed, 60)

    whole = fed(state_of(RULES, segment_size, start), log, first=start)
    cut = fed(state_of(RULES, segment_size, start), log, cuts, first=start)

    assert table_of(cut) == table_of(whole)
    assert [(row.offset, row.letter.reason, row.raw) for row in cut.dead] == [
        (row.offset, row.letter.reason, row.raw) for row in whole.dead
    ]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 12), max_size=8))
def test_records_read_twice_are_passed_over(seed: int, rewinds: list[int]) -> None:
    log, state = mixed_log(seed, 60), state_of(RULES, 20)
    for back in rewinds:
        first = max(0, state.next_offset - back)
        state.absorb(batch_of(log[first : state.next_offset + 5], first))
    state.absorb(batch_of(log[state.next_offset :], state.next_offset))

    assert table_of(state) == table_of(fed(state_of(RULES, 20), log))


def test_every_record_is_an_event_a_duplicate_a_dead_letter_or_a_marker() -> None:
    state = fed(state_of(RULES, 8), mixed_log(3, 60))

    for segment in state.segments:
        assert segment.records == segment.ok + segment.duplicates + segment.dead + segment.markers
        assert segment.control_records == 0
    assert [segment.lo for segment in state.segments] == list(range(0, 60, 8))


def test_a_segment_that_starts_within_its_bounds_ends_at_the_next_multiple() -> None:
    state = fed(state_of(RULES, 10, start=13), mixed_log(1, 20), first=13)

    assert [(segment.lo, segment.hi) for segment in state.segments] == [(13, 20), (20, 30), (30, 33)]


def test_offsets_without_records_count_as_control_records() -> None:
    state = state_of(RULES, 10)

    state.absorb(RecordBatch(Partition("t", 0), [2, 5], [APPENDED] * 2, [at(0), at(1)], 14))

    assert [(s.lo, s.hi, s.records, s.control_records) for s in state.segments] == [(0, 10, 2, 8), (10, 14, 0, 4)]
    assert state.next_offset == 14


def test_an_event_is_late_when_its_hour_had_passed_in_its_partition() -> None:
    #  hours   0         1         2         3
    #  log     a 0.5 --> b 1.5 --> c 0.9 (its hour ended at 1.0 <= 1.5: late) --> d 1.6 --> e 3.0 --> f 1.0 (late)
    assert late_by_window([at(0.5), at(1.5), at(0.9), at(1.6), at(3), at(1)]) == {0: 1, 1: 1, 3: 0}


def test_allowed_lateness_gives_an_event_more_time() -> None:
    rules = StreamRules.of(contract_of(extra="windows: {allowed_lateness: 30m}"), "inputs")

    #  hours   0         1    1.4  1.5
    #  log     b 1.4 --> c 0.9 (complete at 1.5: not late) --> d 1.5 --> e 0.8 (late)
    assert late_by_window([at(1.4), at(0.9), at(1.5), at(0.8)], rules) == {0: 1, 1: 0}


def test_a_marker_makes_later_events_late_and_an_end_marker_does_not() -> None:
    #  log     M 2 --> a 1.5 (late) --> b 2.5 --> M 90! --> c 2.6 (not late)
    records: list[Record] = [
        Marker("A", T0 + 2 * HOUR),
        at(1.5),
        at(2.5),
        Marker("A", T0 + 90 * HOUR, end=True),
        at(2.6),
    ]

    assert late_by_window(records) == {1: 1, 2: 0}


def test_an_event_from_the_future_is_dead_and_moves_no_watermark() -> None:
    state = fed(state_of(RULES), [at(1), input_of("f", APPENDED + DAY), at(0.5)])

    assert [row.letter.reason for row in state.dead] == [Reason.IN_FUTURE]
    assert state.watermark.watermark_ms == T0 + HOUR


def test_a_marker_that_cannot_be_read_is_a_dead_letter() -> None:
    for header in (b"{", b"\xff", b'{"producer":"A","up_to":1e999}', b'{"producer":"A","up_to":%d,"end":true}' % 2**62):
        state = state_of(RULES)
        state.absorb(RecordBatch(Partition("t", 0), [0], [APPENDED], [b""], 1, {0: ((MARKER_HEADER, header),)}))

        assert [row.letter.reason for row in state.dead] == [Reason.MARKER]
        assert state.segments[0].markers == 0


def test_other_headers_make_no_marker() -> None:
    state = state_of(RULES)

    state.absorb(RecordBatch(Partition("t", 0), [0], [APPENDED], [at(1)], 1, {0: (("traceparent", b"\xff"),)}))

    assert (state.segments[0].ok, state.dead) == (1, [])


def test_rows_hold_the_first_of_equal_events_with_its_offset() -> None:
    state = fed(state_of(RULES), [at(1, "a"), at(2, "b"), at(1, "a"), at(3, "a")], cuts=[2])

    rows = [row for table in state.raw for row in table.to_pylist()]
    assert [(row["id"], row["o"], row["p"]) for row in rows] == [("a", 0, 0), ("b", 1, 0), ("a", 3, 0)]


def test_rows_keep_missing_values_missing() -> None:
    state = fed(state_of(RULES), [input_of("a", amount=float("nan"), colour=1.5, paid=1, note=[], since="x")])

    (row,) = state.raw[0].to_pylist()
    assert [row[name] for name in ("amount", "colour", "paid", "note", "since")] == [None] * 5


def test_after_it_was_stored_a_state_keeps_only_its_open_segment() -> None:
    state = fed(state_of(RULES, 10), [at(number / 10, str(number)) for number in range(25)])

    state.hand_over()

    assert [(segment.lo, segment.hi) for segment in state.segments] == [(20, 25)]
    assert state.pending_rows == 0


def test_after_a_full_segment_was_stored_the_next_one_opens_with_its_watermark() -> None:
    state = fed(state_of(RULES, 10), [at(number / 10, str(number)) for number in range(10)])
    before = state.watermark

    state.hand_over()

    assert [(segment.lo, segment.hi, segment.watermark) for segment in state.segments] == [(10, 10, before)]


def test_an_hour_spans_several_stream_windows_when_they_are_shorter() -> None:
    rules = StreamRules.of(contract_of(extra="windows: {stream: 15m, profile: 30m}"), "inputs")

    state = fed(state_of(rules), [input_of(str(n), T0 + n * 10 * MINUTE) for n in range(6)])

    counts = state.segments[0].counts
    assert {(key[0] - T0) // MINUTE: int(counts.events[counts.row(key)]) for key in counts.dirty} == {
        0: 2, 15: 1, 30: 2, 45: 1,
    }  # fmt: skip
    assert {(key[0] - T0) // MINUTE: n for key, n in state.segments[0].profiles.rows.items()} == {0: 3, 30: 3}


@pytest.mark.parametrize("stream", ["inputs", "predictions", "labels"])
def test_nothing_in_a_batch_is_nothing_counted(stream: str) -> None:
    state = state_of(StreamRules.of(contract_of(), stream))  # type: ignore[arg-type]

    state.absorb(batch_of([]))

    assert (state.next_offset, state.pending_rows, state.raw) == (0, 0, [])
    assert np.all(state.segments[0].counts.events == 0)
