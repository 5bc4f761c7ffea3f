"""When a stream begins: strays of other years, rollouts and replays."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from batch.ledger.history import first_seen
from batch.ledger.ledger import Tally
from driftline.clock import from_ms, to_ms
from tests.batch.conftest import Monitored, day, trips


def began(*counted: tuple[datetime, int]) -> datetime:
    return from_ms(first_seen({to_ms(at): Tally(n) for at, n in counted}))


def hourly(number: int, n: int) -> list[tuple[datetime, int]]:
    """``n`` rows in each hour of a day."""
    return [(day(number) + timedelta(hours=hour), n) for hour in range(24)]


def test_a_stream_begins_with_its_first_window() -> None:
    assert began((day(3), 1)) == day(3)
    assert began(*hourly(3, 5)[7:], *hourly(4, 5)) == day(3) + timedelta(hours=7)


@pytest.mark.parametrize("strays", [1, 2, 9])
def test_strays_on_more_days_than_the_others_are_still_strays(strays: int) -> None:
    """A replay of taxi trips has a few of 2009, of 2003, of every New Year's Eve."""
    assert began(*((day(-400 * number), 1) for number in range(1, strays + 1)), *hourly(0, 20)) == day(0)


def test_a_stray_beside_windows_of_few_rows_is_told_by_its_day() -> None:
    """An hour of the night has no more rows than a stray has."""
    nights = [(day(0) + timedelta(hours=hour), 1 if hour < 6 else 40) for hour in range(24)]
    assert began((day(-5000), 1), *nights) == day(0)


def test_a_rollout_to_a_twentieth_of_the_traffic_is_a_beginning() -> None:
    assert began(*hourly(0, 2), *hourly(1, 2), *hourly(2, 40), *hourly(3, 40)) == day(0)


def test_a_replay_in_one_hour_makes_no_strays_of_the_days_before() -> None:
    days = [one for number in range(30) for one in hourly(number, 10)]
    assert began(*days, (day(30), 6_000)) == day(0)


def test_a_stray_event_makes_no_past_complete(monitoring) -> None:
    monitored = monitoring("reference: {kind: trailing, days: 3}")
    monitored.add(trips(1, 21, start=day(-5000), days=1))
    monitored.add(trips(900, 22, days=3))
    monitored.log.complete()
    monitored.run("drift")
    status = {run["window_start"]: run["status"] for run in monitored.runs("drift") if run["n_rows"] > 1}
    assert status == dict.fromkeys([day(0), day(1), day(2)], "insufficient")
    [reason] = monitored.store.query(
        "SELECT DISTINCT reason FROM checks WHERE model = {m:String} AND check = 'drift' "
        "AND window_start = {t:DateTime64(3, 'UTC')}",
        {"m": monitored.contract.model, "t": day(2)},
    )
    assert reason == {"reason": "its reference takes 3 days before 2023-02-03; 2 have been recorded"}


def test_an_event_of_another_year_is_not_compared_with_the_reference(monitored: Monitored) -> None:
    monitored.build_reference(trips(300, 23))
    monitored.log.add_inputs(trips(1, 24, start=day(-5000), days=1))
    monitored.log.add_inputs(trips(300, 25, start=day(3), days=1))
    monitored.log.complete()
    monitored.run("age")
    ages = monitored.metrics("reference_age_days")
    assert {key[0] for key in ages} == {day(3)}
