"""The ladder: when a due window is worth running now."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from batch.ledger.ledger import Candidate, Failed, Key, LastRun, Tally
from batch.ledger.snapshot import Snapshot
from batch.ledger.triggers import Ladder
from driftline.clock import ManualClock, to_ms

START = datetime(2023, 2, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def labels_at(age: timedelta) -> Snapshot:
    """The label stream is complete to ``age`` past the window's end."""
    return Snapshot(START, {"labels": START + HOUR + age}, {}, {}, {}, {})


def at(now: datetime) -> Snapshot:
    """The store's clock says ``now``; all labels have come."""
    return Snapshot(now, {"labels": START + timedelta(days=30)}, {}, {}, {}, {})


def quality(labelled: int, rows: int = 1000, *, is_final: bool = False, last: LastRun | None = None) -> Candidate:
    key = Key("quality", "champion", HOUR, to_ms(START))
    parts = {"labels": [labelled, labelled], "min_labels": 50}
    return Candidate(key, parts, Tally(rows, 0, labelled, labelled, labelled), is_final=is_final, last=last)


def ran_with(labelled: int, rows: int = 1000, *, is_final: bool = False, min_labels: int = 50) -> LastRun:
    parts = json.dumps({"labels": [labelled, labelled], "min_labels": min_labels})
    return LastRun(-1, START, rows, labelled, is_final, {-1: 1}, parts)


def failing(times: int, *, as_of: datetime = START) -> Candidate:
    candidate = quality(1000, is_final=True)
    return replace(candidate, failed=Failed({candidate.fingerprint: times}, as_of))


@pytest.mark.parametrize(
    ("labelled", "age", "wanted"),
    [
        (0, timedelta(0), False),
        (199, timedelta(0), False),
        (200, timedelta(0), True),
        (0, timedelta(minutes=59), False),
        (0, HOUR, True),
    ],
)
def test_the_first_run_waits_for_a_fifth_of_the_labels_or_an_hour(labelled: int, age: timedelta, wanted: bool) -> None:
    assert Ladder(ManualClock(START)).wants(quality(labelled), labels_at(age)) is wanted


def test_a_fifth_of_a_small_window_is_not_enough_labels() -> None:
    ladder = Ladder(ManualClock(START))
    assert not ladder.wants(quality(49, 200), labels_at(timedelta(0)))
    assert ladder.wants(quality(50, 200), labels_at(timedelta(0)))


@pytest.mark.parametrize(
    ("before", "now", "wanted"),
    [(200, 299, False), (200, 499, True), (800, 850, False), (800, 900, True), (990, 1000, True)],
)
def test_it_runs_again_at_the_next_step_or_at_many_new_labels(before: int, now: int, wanted: bool) -> None:
    candidate = quality(now, last=ran_with(before))
    assert Ladder(ManualClock(START)).wants(candidate, labels_at(timedelta(0))) is wanted


def test_an_age_step_counts_once() -> None:
    clock = ManualClock(START)
    ladder = Ladder(clock)
    first = quality(10)
    assert ladder.wants(first, labels_at(HOUR))
    ladder.ran((first.key,))
    clock.advance(HOUR)
    second = quality(20, last=ran_with(10))
    assert not ladder.wants(second, labels_at(2 * HOUR))
    assert ladder.wants(second, labels_at(6 * HOUR))


def test_a_window_rests_five_minutes_between_runs_unless_it_becomes_final() -> None:
    clock = ManualClock(START)
    ladder = Ladder(clock)
    ladder.ran((quality(0).key,))
    clock.advance(timedelta(minutes=5) - timedelta(seconds=1))
    candidate = quality(600, last=ran_with(200))
    assert not ladder.wants(candidate, labels_at(timedelta(0)))
    assert ladder.wants(replace(candidate, is_final=True), labels_at(timedelta(0)))
    clock.advance(timedelta(seconds=1))
    assert ladder.wants(candidate, labels_at(timedelta(0)))


def test_a_correction_after_the_end_runs_again() -> None:
    candidate = quality(1000, is_final=True, last=ran_with(1000, is_final=True))
    assert Ladder(ManualClock(START)).wants(candidate, labels_at(timedelta(days=8)))


def test_a_window_without_labels_to_wait_for_runs_at_once() -> None:
    candidate = replace(quality(0), key=Key("data", "", HOUR, to_ms(START)), parts={})
    assert Ladder(ManualClock(START)).wants(candidate, labels_at(timedelta(0)))


def test_corrections_known_at_the_last_run_are_not_new_labels() -> None:
    corrected_before = json.dumps({"labels": [1200, 7], "min_labels": 50})
    last = replace(ran_with(900), parts=corrected_before)
    one_more = replace(quality(900, last=last), parts={"labels": [1201, 8], "min_labels": 50})
    many_more = replace(one_more, tally=Tally(1000, 0, 900, 1300, 9))
    ladder = Ladder(ManualClock(START))
    assert not ladder.wants(replace(one_more, tally=Tally(1000, 0, 900, 1201, 8)), labels_at(timedelta(0)))
    assert ladder.wants(many_more, labels_at(timedelta(0)))


def test_a_changed_part_of_the_contract_runs_a_window_without_new_labels() -> None:
    candidate = quality(600, last=ran_with(600, min_labels=10))
    assert Ladder(ManualClock(START)).wants(candidate, labels_at(timedelta(0)))


@pytest.mark.parametrize(("failures", "minutes"), [(1, 1), (2, 5), (3, 30)])
def test_a_failed_window_is_tried_again_after_a_pause_that_grows(failures: int, minutes: int) -> None:
    ladder, failed = Ladder(ManualClock(START)), failing(failures)
    early = timedelta(minutes=minutes) - timedelta(milliseconds=1)
    assert not ladder.wants(failed, at(START + early))
    assert ladder.wants(failed, at(START + timedelta(minutes=minutes)))


def test_a_window_that_failed_four_times_is_left_alone_until_its_inputs_change() -> None:
    ladder, failed = Ladder(ManualClock(START)), failing(4)
    later = at(START + timedelta(days=9))
    assert not ladder.wants(failed, later)
    assert ladder.wants(replace(failed, parts={"labels": [1001, 0]}), later)


def test_what_is_not_due_is_never_wanted() -> None:
    candidate = quality(1000, is_final=True)
    judged = replace(candidate, last=replace(ran_with(1000), fingerprint=candidate.fingerprint))
    assert not Ladder(ManualClock(START)).wants(judged, labels_at(timedelta(days=8)))
    assert not Ladder(ManualClock(START)).wants(replace(candidate, waits_for="labels"), labels_at(timedelta(days=8)))
