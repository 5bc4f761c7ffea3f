"""Trailing and seasonal references: the store's own rows before each window, and nothing where there are too few."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from batch.jobs import survey
from batch.ledger.history import Period, period_before, season_of, seasons_of
from batch.ledger.ledger import Tally
from batch.references.past import load_past
from driftline.windows import Window
from tests.batch.conftest import VERSIONS, Monitored, day, meaning, trips

UTC_ZONE, NEW_YORK = ZoneInfo("UTC"), ZoneInfo("America/New_York")
TRAILING = "reference: {kind: trailing, days: 3}\nwindows: {quality: [1d]}"
Monitoring = Callable[..., Monitored]


def window(start: datetime, hours: float) -> Window:
    return Window(start, start + timedelta(hours=hours))


def rows_of(frame: pd.DataFrame, first: int, end: int) -> pd.DataFrame:
    return frame[(frame["event_time"] >= day(first)) & (frame["event_time"] < day(end))]


def normed_distance(past: pd.Series, now: pd.Series) -> float:
    past, now = past.dropna(), now.dropna()
    return float(wasserstein_distance(past, now) / np.std(past))


def test_a_past_is_the_whole_days_before_the_day_of_the_window() -> None:
    found = period_before(window(day(9) + timedelta(hours=14), 1), 3, "trailing", UTC_ZONE)
    assert found == Period(day(6), day(9))
    assert period_before(window(day(9), 24), 3, "trailing", UTC_ZONE) == found
    assert period_before(window(day(9), 168), 3, "trailing", UTC_ZONE) == found


def test_seasons_are_hours_of_weekdays_saturdays_and_sundays_in_the_contracts_zone() -> None:
    friday, saturday, sunday = (datetime(2023, 2, number, tzinfo=UTC) for number in (3, 4, 5))
    assert seasons_of(window(friday + timedelta(hours=14), 1), UTC_ZONE) == (14,)
    assert seasons_of(window(friday + timedelta(hours=14), 1), NEW_YORK) == (9,)
    assert seasons_of(window(saturday, 1), NEW_YORK) == (19,)
    assert seasons_of(window(sunday + timedelta(minutes=90), 1), UTC_ZONE) == (49, 50)
    assert seasons_of(window(saturday, 24), UTC_ZONE) == tuple(range(24, 48))
    assert seasons_of(window(friday, 7 * 24), UTC_ZONE) == ()


def test_the_stores_seasons_are_ours(monitored: Monitored) -> None:
    for zone in (UTC_ZONE, NEW_YORK):
        moments = [datetime(2023, 3, 10, tzinfo=UTC) + timedelta(minutes=47 * step) for step in range(200)]
        found = monitored.store.query(
            "SELECT 24 * greatest(0, toDayOfWeek(t, 0, {zone:String}) - 5) + toHour(t, {zone:String}) AS season "
            "FROM (SELECT fromUnixTimestamp(arrayJoin({moments:Array(Int64)})) AS t)",
            {"zone": zone.key, "moments": [int(moment.timestamp()) for moment in moments]},
        )
        assert [row["season"] for row in found] == [season_of(moment.astimezone(zone)) for moment in moments]


def test_a_window_is_compared_with_the_days_before_it(monitoring: Monitoring) -> None:
    monitored, frame = monitoring(TRAILING), trips(1000, 1, days=5)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")
    found = monitored.metrics("drift_score")
    for number in (3, 4):
        past, now = rows_of(frame, number - 3, number), rows_of(frame, number, number + 1)
        assert found[(day(number), "", "fare")] == pytest.approx(normed_distance(past["fare"], now["fare"]), abs=1e-12)
        for version in VERSIONS:
            column = f"prediction.{version}"
            expected = normed_distance(past[column], now[column])
            assert found[(day(number), version, "prediction")] == pytest.approx(expected, abs=1e-12)


def test_without_enough_days_a_window_is_insufficient_and_says_why(monitoring: Monitoring) -> None:
    monitored = monitoring(TRAILING)
    monitored.add(trips(800, 2, days=4))
    monitored.log.complete()
    monitored.run("drift")
    status = {run["window_start"]: run["status"] for run in monitored.runs("drift")}
    assert status == {day(0): "insufficient", day(1): "insufficient", day(2): "insufficient", day(3): "ok"}
    assert {key[0] for key in monitored.metrics("drift_score")} == {day(3)}
    reasons = monitored.store.query(
        "SELECT DISTINCT toString(status) AS status, reason FROM checks WHERE model = {m:String} "
        "AND check = 'drift' AND window_start = {t:DateTime64(3, 'UTC')}",
        {"m": monitored.contract.model, "t": day(2)},
    )
    reason = "its reference takes 3 days before 2023-02-03; 2 have been recorded"
    assert reasons == [{"status": "insufficient", "reason": reason}]


def test_nothing_runs_again_while_the_past_stays_as_it_is(monitoring: Monitoring) -> None:
    monitored = monitoring(TRAILING)
    monitored.add(trips(800, 3, days=4))
    monitored.log.complete()
    assert monitored.run("drift", "label_drift", "data", "quality").runs > 0
    assert monitored.run("drift", "label_drift", "data", "quality").runs == 0


def test_a_late_row_judges_again_the_windows_whose_past_holds_it_and_no_others(monitoring: Monitoring) -> None:
    monitored = monitoring(TRAILING)
    monitored.add(trips(1200, 4, days=6))
    monitored.log.complete()
    monitored.run("drift")
    before = {run["window_start"]: run["reference_id"] for run in monitored.runs("drift")}
    monitored.log.add_inputs(trips(1, 5, days=1).assign(id="late"))
    ran = monitored.run("drift")
    assert {key.window.start for key in ran.keys} == {day(0), day(3)}
    after = {run["window_start"]: run["reference_id"] for run in monitored.runs("drift")}
    assert after[day(3)] != before[day(3)]
    assert after[day(4)] == before[day(4)]
    kept = monitored.store.scalar(
        "SELECT count() FROM job_runs FINAL WHERE model = {m:String} AND reference_id = {r:String}",
        {"m": monitored.contract.model, "r": before[day(3)]},
    )
    assert kept == 3


def test_labels_are_compared_once_those_of_the_past_have_settled(monitoring: Monitoring) -> None:
    monitored, frame = monitoring(TRAILING), trips(800, 6, days=4)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(pd.concat([rows_of(frame, 0, 2), rows_of(frame, 3, 4)]))
    monitored.log.complete("inputs", "predictions")
    assert monitored.run("label_drift").waiting == 1
    monitored.log.add_labels(rows_of(frame, 2, 3))
    assert {key.window.start for key in monitored.run("label_drift").keys} == {day(2), day(3)}
    valid = frame[frame["label"].between(1, 60)]
    expected = normed_distance(rows_of(valid, 0, 3)["label"], rows_of(valid, 3, 4)["label"])
    assert monitored.metrics("drift_score")[(day(3), "", "label")] == pytest.approx(expected, abs=1e-12)
    assert monitored.run("drift").runs > 0


def test_errors_are_measured_against_those_of_the_past(monitoring: Monitoring) -> None:
    monitored, frame = monitoring(TRAILING, "min_labels: 10, max_error_ratio: 1.5"), trips(800, 7, days=4)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("quality")
    valid = frame[frame["label"].between(1, 60)]
    past, now = (
        (rows["prediction.champion"] - rows["label"]).abs().mean()
        for rows in (rows_of(valid, 0, 3), rows_of(valid, 3, 4))
    )
    found = monitored.metrics("error_ratio")
    assert found[(day(3), "champion", "")] == pytest.approx(now / past, abs=1e-9)
    assert {key[0] for key in found} == {day(3)}


def test_a_past_counts_labels_that_never_came_as_its_windows_do(monitoring: Monitoring) -> None:
    plain, frame = monitoring(TRAILING, "min_labels: 10, max_error_ratio: 1.5"), trips(1200, 17, days=4)
    frame = frame[frame["label"].between(1, 60)].reset_index(drop=True)
    monitored = Monitored(plain.store, meaning(plain.contract, "30"), plain.workers)
    monitored.add(frame, labels=False)
    monitored.log.add_labels(frame.iloc[::4])
    monitored.log.complete("inputs", "predictions")
    monitored.log.complete("labels", to=day(5) - timedelta(milliseconds=1))  # the past ends on day 3, and two more
    monitored.run("quality")
    assert monitored.metrics("error_ratio") == {}
    found = survey(monitored.store, monitored.contract, monitored.workers, ["label_drift"])
    [last] = [one for one in found.all if one.key.window.start == day(3)]
    assert last.waits_for == "the last labels of 2023-02-03, which its reference holds"
    monitored.log.complete("labels", to=day(6))
    monitored.run("quality")
    truth = frame["label"].where(frame.index % 4 == 0, 30.0)
    errors = frame.assign(error=(frame["prediction.champion"] - truth).abs())
    past, now = (rows["error"].mean() for rows in (rows_of(errors, 0, 3), rows_of(errors, 3, 4)))
    assert monitored.metrics("error_ratio")[(day(3), "champion", "")] == pytest.approx(now / past, abs=1e-9)


def test_another_meaning_of_absent_labels_makes_another_past_of_labels_alone(monitoring: Monitoring) -> None:
    monitored = monitoring(TRAILING, "min_labels: 10, max_error_ratio: 1.5")
    monitored.add(trips(800, 18, days=4))
    monitored.log.complete()
    jobs, ids = ("drift", "quality"), []
    for contract in (monitored.contract, meaning(monitored.contract, "30"), meaning(monitored.contract, "40")):
        monitored.run(*jobs, contract=contract)
        of_day = [{run["reference_id"] for run in monitored.runs(job) if run["window_start"] == day(3)} for job in jobs]
        ids.append(of_day)
    assert ids[0][0] == ids[1][0] == ids[2][0]
    assert len(ids[0][1] | ids[1][1] | ids[2][1]) == 3


def test_unseen_values_are_those_that_the_days_before_did_not_have(monitoring: Monitoring) -> None:
    monitored, frame = monitoring(TRAILING), trips(800, 8, days=4)
    frame.loc[frame.index[-40:], "zone"] = "999"
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("data")
    found = monitored.metrics("unseen_share")
    last = rows_of(frame, 3, 4)
    assert found[(day(3), "", "zone")] == pytest.approx((last["zone"] == "999").mean())
    assert (day(2), "", "zone") not in found
    assert (day(2), "", "flag") in found


def test_a_seasonal_past_holds_the_same_hours_of_days_of_the_same_class(monitoring: Monitoring) -> None:
    extra = "reference: {kind: seasonal, days: 7}\nwindows: {drift: 6h}"
    monitored, frame = monitoring(extra), trips(4000, 9, days=10)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")
    found = monitored.metrics("drift_score", "6h")
    times = frame["event_time"].dt
    start = day(9) + timedelta(hours=6)  # a Friday, 06:00 to 12:00
    past = frame[(times.floor("1D") >= day(2)) & (times.floor("1D") < day(9))]
    past = past[(past["event_time"].dt.weekday < 5) & past["event_time"].dt.hour.between(6, 11)]
    now = frame[(frame["event_time"] >= start) & (frame["event_time"] < start + timedelta(hours=6))]
    expected = normed_distance(past["fare"], now["fare"])
    assert found[(start, "", "fare")] == pytest.approx(expected, abs=1e-12)


def test_a_version_without_predictions_in_the_past_is_insufficient_beside_the_others(monitoring: Monitoring) -> None:
    monitored, frame = monitoring(TRAILING), trips(800, 10, days=4)
    monitored.log.add_inputs(frame)
    monitored.log.add_predictions(frame.assign(prediction=frame["prediction.champion"]), "champion")
    new = rows_of(frame, 3, 4)
    monitored.log.add_predictions(new.assign(prediction=new["prediction.challenger"]), "challenger")
    monitored.log.complete()
    monitored.run("drift")
    status = {run["model_version"]: run["status"] for run in monitored.runs("drift") if run["window_start"] == day(3)}
    assert status == {"": "ok", "champion": "ok", "challenger": "insufficient"}
    assert monitored.errors() == []


def test_a_past_of_too_few_rows_is_insufficient(monitoring: Monitoring) -> None:
    monitored = monitoring(TRAILING)
    monitored.add(pd.concat([trips(6, 11, days=3), trips(200, 12, start=day(3), days=1)]))
    monitored.log.complete()
    monitored.run("drift")
    assert {run["status"] for run in monitored.runs("drift")} == {"insufficient"}


def test_what_a_past_was_stays_readable(monitoring: Monitoring) -> None:
    monitored, frame = monitoring(TRAILING), trips(800, 13, days=4)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")
    reference_id = next(str(run["reference_id"]) for run in monitored.runs("drift") if run["window_start"] == day(3))
    found = load_past(monitored.store, monitored.contract.model, reference_id)
    assert found is not None
    past = rows_of(frame, 0, 3)
    assert (found.period, found.n_rows, found.facts.rows) == (Period(day(0), day(3)), len(past), len(past))
    assert found.facts.quantiles["fare"]["quantile_50"] == pytest.approx(past["fare"].median())
    assert found.facts.vocabularies["zone"] == ["41", "74", "75"]


def test_large_pasts_are_cut_by_the_hash_of_the_id(monitoring: Monitoring, monkeypatch: pytest.MonkeyPatch) -> None:
    from batch.references.production import production_rows

    monitored, frame = monitoring(TRAILING), trips(400, 14, days=2)
    monitored.add(frame)
    monkeypatch.setattr("batch.references.production.MOST_ROWS", 150)
    first, second = (
        production_rows(monitored.store, monitored.contract, Period(day(0), day(2)), VERSIONS) for _ in range(2)
    )
    assert len(first) == 150
    pd.testing.assert_frame_equal(first, second)
    assert first["prediction.champion"].notna().all()


def test_tallies_of_a_period_add_up_over_its_days_and_seasons() -> None:
    from batch.ledger.history import Days
    from driftline.clock import to_ms

    hours = {to_ms(day(0) + timedelta(hours=hour)): Tally(1, hour) for hour in range(72)}
    days = Days(hours, timedelta(hours=1), UTC_ZONE)
    assert days.total(Period(day(0), day(3))).n == 72
    assert days.total(Period(day(1), day(3), (5, 6))) == Tally(4, 29 + 30 + 53 + 54)
    assert days.total(Period(day(5), day(9))) == Tally()


def test_every_job_works_with_a_past_and_leaves_a_promoted_set_alone(monitoring: Monitoring) -> None:
    slices = "slices: [{name: zone, by: zone, min_rows: 20}]"
    extra = f"reference: {{kind: trailing, days: 3}}\nwindows: {{stream: 6h, profile: 1d, quality: [1d]}}\n{slices}"
    monitored = monitoring(extra, "min_labels: 10, max_error_ratio: 2")
    promoted = monitored.build_reference(trips(300, 15))
    monitored.add(trips(800, 16, days=4))
    monitored.log.complete()
    assert monitored.run().failures == 0
    assert monitored.errors() == []
    assert monitored.run().runs == 0
    used = monitored.store.query(
        "SELECT DISTINCT reference_id FROM job_runs FINAL WHERE model = {m:String}", {"m": monitored.contract.model}
    )
    assert promoted not in {row["reference_id"] for row in used}
    assert monitored.metrics("reference_age_days") == {}
