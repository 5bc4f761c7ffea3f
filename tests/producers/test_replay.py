"""A replay in a real local log: what stands there, in which order, and what the markers promise."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftline.clock import ManualClock, to_ms
from driftline.contract import Contract
from driftline.errors import InputDataError, TopicMismatch, UsageError
from driftline.events import Marker, find_marker
from driftline.transport.base import Headers, Partition, Transport
from driftline.transport.local import LocalTransport
from driftline.transport.partitioning import partition_for
from producers.model import DurationModel
from producers.plan import ReplayPlan, parse_bound, parse_delay, parse_incidents, parse_speed
from producers.replay import Replay, ReplaySummary
from producers.sender import ReplayProgress
from producers.taxi import read_month

NOW = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Record:
    partition: int
    value: bytes
    headers: Headers

    @property
    def event(self) -> Any:
        return json.loads(self.value)

    @property
    def marker(self) -> Marker | None:
        return find_marker(self.headers)


@dataclass(frozen=True)
class Service:
    """What every replay here has: contract, models and a log of its own."""

    contract: Contract
    models: tuple[DurationModel, ...]
    transport: Transport

    def run(self, plan: ReplayPlan, clock: ManualClock | None = None) -> ReplaySummary:
        replay = Replay(plan, self.contract, self.models, self.transport, clock or ManualClock(NOW))
        return replay.run(threading.Event())

    def records(self, topic: str) -> list[Record]:
        count = self.transport.describe_topic(topic).partitions
        found = []
        with self.transport.consumer() as consumer:
            consumer.assign({Partition(topic, index): 0 for index in range(count)})
            while batches := consumer.poll(0.0):
                for batch in batches:
                    for index, value in enumerate(batch.values):
                        found.append(Record(batch.partition.index, value or b"", batch.headers.get(index, ())))
        return found

    def events(self, topic: str) -> list[Any]:
        return [record.event for record in self.records(topic) if record.marker is None]

    def markers(self, topic: str) -> list[Marker]:
        return [record.marker for record in self.records(topic) if record.marker is not None]


@pytest.fixture
def service(tmp_path: Path, contract: Contract, models: tuple[DurationModel, ...]) -> Service:
    return Service(contract, models, LocalTransport.open(f"local://{tmp_path}/log"))


@pytest.fixture
def other(tmp_path: Path, contract: Contract, models: tuple[DurationModel, ...]) -> Service:
    return Service(contract, models, LocalTransport.open(f"local://{tmp_path}/other"))


def test_every_trip_is_sent_once_on_each_topic_and_acknowledged(service: Service, week: Path) -> None:
    trips = read_month(week).frame
    summary = service.run(ReplayPlan((week,)))
    assert summary.events == {"trips": len(trips), "predictions": 2 * len(trips), "labels": len(trips)}
    for topic in ("trips", "predictions", "labels"):
        assert len(service.events(topic)) == summary.events[topic]
        assert len(service.markers(topic)) == summary.markers[topic]
        assert summary.acknowledged[topic] == summary.events[topic] + summary.markers[topic]
    assert [event["id"] for event in service.events("trips")] == trips["id"].tolist()


def test_inputs_carry_the_file_s_values(service: Service, week: Path) -> None:
    service.run(ReplayPlan((week,), limit=500))
    raw = pd.read_parquet(week)
    for event in service.events("trips"):
        row = raw.iloc[int(event["id"].split("-")[1])]
        features = event["features"]
        assert list(features) == list(service.contract.columns)
        assert features["trip_distance"] == row["trip_distance"]
        assert features["PULocationID"] == str(row["PULocationID"])
        missing = np.isnan(row["passenger_count"])
        assert features["passenger_count"] == (None if missing else row["passenger_count"])
        assert features["payment_type"] == (None if missing else f"{row['payment_type']:.0f}")
        local = pd.Timestamp(event["event_time"], unit="ms", tz="UTC").tz_convert("America/New_York")
        assert local.tz_localize(None) == row["lpep_pickup_datetime"]


def test_predictions_are_both_models_answers_at_pick_up_time(service: Service, week: Path) -> None:
    service.run(ReplayPlan((week,), limit=300))
    trips = read_month(week).frame.head(300)
    events = service.events("predictions")
    for model in service.models:
        own = [event for event in events if event["model_version"] == model.version]
        expected = dict(zip(trips["id"], model.predict(trips), strict=True))
        assert {event["id"]: event["prediction"] for event in own} == expected
        assert [event["event_time"] for event in own] == [to_ms(time.to_pydatetime()) for time in trips["event_time"]]
        assert all(event["latency_ms"] > 0 and event["status"] == "ok" for event in own)


def test_a_label_arrives_at_drop_off_but_not_before_pick_up_and_after_its_delay(service: Service, week: Path) -> None:
    service.run(ReplayPlan((week,), label_delay=timedelta(minutes=30)))
    trips = read_month(week).frame.set_index("id")
    events = service.events("labels")
    for event in events:
        trip = trips.loc[event["id"]]
        assert event["label"] == trip["label"]
        arrival = max(trip["event_time"], trip["dropoff"]) + timedelta(minutes=30)
        assert event["label_time"] == to_ms(arrival.to_pydatetime())
    times = [event["label_time"] for event in events]
    assert times == sorted(times)


def test_a_label_of_a_trip_that_ended_before_it_began_waits_for_its_pick_up(
    service: Service, tmp_path: Path, week: Path
) -> None:
    raw = pd.read_parquet(week).head(1)
    raw["lpep_dropoff_datetime"] = raw["lpep_pickup_datetime"] - timedelta(minutes=5)
    path = tmp_path / "backwards.parquet"
    raw.to_parquet(path)
    service.run(ReplayPlan((path,)))
    (trip,), (label,) = service.events("trips"), service.events("labels")
    assert (label["label"], label["label_time"]) == (-5.0, trip["event_time"])


def test_markers_keep_their_promise_and_stand_at_each_boundary_crossed(service: Service, week: Path) -> None:
    service.run(ReplayPlan((week,)))
    for topic, field in (("trips", "event_time"), ("predictions", "event_time"), ("labels", "label_time")):
        boundaries: list[int] = []
        times: list[int] = []
        for record in service.records(topic):
            if record.marker is None:
                times.append(record.event[field])
                assert times[-1] >= boundaries[-1]
            elif not record.marker.end:
                boundaries.append(record.marker.up_to)
        assert boundaries == sorted(set(boundaries))
        assert {time // 3_600_000 * 3_600_000 for time in times} <= set(boundaries)


def test_end_markers_complete_every_window_and_every_label_s_delay(service: Service, week: Path) -> None:
    service.run(ReplayPlan((week,)))
    last_event = max(event["event_time"] for event in service.events("trips"))
    last_label = max(event["label_time"] for event in service.events("labels"))
    day = 86_400_000
    for topic in ("trips", "predictions"):
        assert service.records(topic)[-1].marker is not None
        assert [marker.up_to for marker in service.markers(topic) if marker.end] == [(last_event // day + 1) * day]
    assert [m.up_to for m in service.markers("labels") if m.end] == [(last_label // day + 1) * day + 7 * day]


def test_the_same_plan_writes_the_same_bytes_at_any_speed(service: Service, other: Service, week: Path) -> None:
    incidents = parse_incidents(["null_column:column=passenger_count:share=0.5"])
    service.run(ReplayPlan((week,), limit=60, seed=5, incidents=incidents))
    other.run(ReplayPlan((week,), limit=60, seed=5, incidents=incidents, speed=600.0))
    for topic in ("trips", "predictions", "labels"):
        assert service.records(topic) == other.records(topic)


def test_another_seed_writes_other_bytes(service: Service, other: Service, week: Path) -> None:
    service.run(ReplayPlan((week,), limit=20, seed=1))
    other.run(ReplayPlan((week,), limit=20, seed=2))
    assert service.events("predictions") != other.events("predictions")


def test_a_repeated_replay_is_the_same_producer_and_another_one_is_not(week: Path) -> None:
    plan = ReplayPlan((week,), limit=20)
    assert plan.producer_id(["a"], 0) == ReplayPlan((week,), limit=20, speed=9.0).producer_id(["a"], 0)
    others = [
        plan.producer_id(["b"], 0),
        plan.producer_id(["a"], 1),
        ReplayPlan((week,), limit=21).producer_id(["a"], 0),
        ReplayPlan((week,), limit=20, seed=1).producer_id(["a"], 0),
        ReplayPlan((week,), limit=20, label_delay=HOUR).producer_id(["a"], 0),
    ]
    assert len({plan.producer_id(["a"], 0), *others}) == 6


def test_paced_by_the_clock_but_an_empty_year_is_jumped(service: Service, tmp_path: Path, week: Path) -> None:
    raw = pd.read_parquet(week).head(3)
    stamps = pd.to_datetime(["2022-01-01 00:00", "2022-01-01 00:20", "2023-01-01 00:00"]).as_unit("us")
    raw["lpep_pickup_datetime"] = raw["lpep_dropoff_datetime"] = stamps
    path = tmp_path / "sparse.parquet"
    raw.to_parquet(path)
    clock = ManualClock(NOW)
    service.run(ReplayPlan((path,), speed=60.0), clock)
    assert timedelta(seconds=20) <= clock.now() - NOW < timedelta(seconds=22)


def test_events_go_to_the_partition_of_their_id_and_markers_to_all(service: Service, week: Path) -> None:
    service.run(ReplayPlan((week,), limit=400, partitions=4))
    for topic in ("trips", "predictions", "labels"):
        records = service.records(topic)
        for record in records:
            if record.marker is None:
                assert record.partition == partition_for(record.event["id"].encode(), 4)
        marks = [{r.marker for r in records if r.marker and r.partition == index} for index in range(4)]
        assert marks[0]
        assert marks == [marks[0]] * 4


def test_existing_topics_keep_their_partitions_unless_asked_for_others(service: Service, week: Path) -> None:
    service.transport.create_topic("trips", 3)
    service.run(ReplayPlan((week,), limit=5))
    assert service.transport.describe_topic("trips").partitions == 3
    assert service.transport.describe_topic("labels").partitions == 1
    with pytest.raises(TopicMismatch):
        service.run(ReplayPlan((week,), limit=5, partitions=2))


def test_an_incident_is_in_what_is_sent_and_in_what_the_models_saw(service: Service, week: Path) -> None:
    service.run(ReplayPlan((week,), incidents=parse_incidents(["null_column:column=trip_distance:last=2d"])))
    trips = read_month(week).frame
    last = trips["event_time"][trips["event_time"] >= "2023-01-01"].max()
    broken = trips["event_time"] > last - 2 * DAY
    sent = {event["id"]: event["features"]["trip_distance"] for event in service.events("trips")}
    assert [sent[id_] is None for id_ in trips["id"]] == broken.tolist()
    answers = service.models[0].predict(trips.assign(trip_distance=trips["trip_distance"].mask(broken)))
    got = {e["id"]: e["prediction"] for e in service.events("predictions") if e["model_version"] == "gbm-1"}
    assert got == dict(zip(trips["id"], answers, strict=True))


def test_since_until_and_limit_choose_trips(service: Service, week: Path) -> None:
    since, until = datetime(2023, 1, 3, tzinfo=UTC), datetime(2023, 1, 4, tzinfo=UTC)
    trips = read_month(week).frame
    expected = trips["id"][(trips["event_time"] >= since) & (trips["event_time"] < until)].tolist()
    summary = service.run(ReplayPlan((week,), since=since, until=until))
    assert [event["id"] for event in service.events("trips")] == expected
    assert summary.trips == len(expected)
    assert since <= summary.first_event_time <= summary.last_event_time < until


def test_past_counts_back_from_the_last_trip_that_is_no_stray(service: Service, tmp_path: Path, week: Path) -> None:
    raw = pd.read_parquet(week)
    raw.loc[7, ["lpep_pickup_datetime", "lpep_dropoff_datetime"]] = pd.Timestamp("2041-01-01")
    path = tmp_path / "stray.parquet"
    raw.to_parquet(path)
    times = read_month(path).frame["event_time"]
    end = times[times < "2040-01-01"].max()
    summary = service.run(ReplayPlan((path,), past=DAY))
    assert summary.trips == int((times > end - DAY).sum())


def test_a_plan_that_chooses_nothing_is_told(service: Service, week: Path) -> None:
    with pytest.raises(InputDataError) as caught:
        service.run(ReplayPlan((week,), since=datetime(2024, 1, 1, tzinfo=UTC)))
    times = read_month(week).frame["event_time"]
    span = f"{times.min().isoformat(timespec='seconds')} to {times.max().isoformat(timespec='seconds')}"
    assert str(caught.value) == (
        f"the plan chooses none of {len(times)} trips from {span}; widen `--since`, `--until` or `--past`"
    )


@dataclass
class StopWhenLive:
    """Asks for a stop with the first live event."""

    stop: threading.Event
    live: int = 0

    def __call__(self, progress: ReplayProgress) -> None:
        if progress.live:
            self.live += 1
            self.stop.set()


def test_aligned_the_past_ends_now_by_whole_weeks_and_live_events_follow(service: Service, week: Path) -> None:
    stop, clock = threading.Event(), ManualClock(NOW)
    replay = Replay(ReplayPlan((week,), align="now"), service.contract, service.models, service.transport, clock)
    watcher = StopWhenLive(stop)
    summary = replay.run(stop, watcher)
    assert replay.past_sent.is_set()
    assert watcher.live == 1
    original = read_month(week).frame.set_index("id")["event_time"]
    shift = timedelta(weeks=summary.shift_weeks)
    sent = service.events("trips")
    for event in sent:
        id_, weeks = event["id"].rsplit("+", 1)
        assert weeks == f"{summary.shift_weeks}w"
        assert event["event_time"] == to_ms(original[id_].to_pydatetime() + shift)
    assert {event["id"].rsplit("+", 1)[0] for event in sent} >= set(original.index[original + shift < NOW])
    assert max(event["event_time"] for event in sent) <= to_ms(clock.now())
    to_come = original[original < "2040-01-01"].max() + shift - NOW
    assert DAY <= to_come < 8 * DAY


def test_interrupted_live_it_leaves_no_end_marker(service: Service, week: Path) -> None:
    stop = threading.Event()
    plan = ReplayPlan((week,), align="now")
    replay = Replay(plan, service.contract, service.models, service.transport, ManualClock(NOW))
    assert replay.run(stop, StopWhenLive(stop)).ended is False
    assert not any(marker.end for topic in ("trips", "predictions", "labels") for marker in service.markers(topic))


def test_live_to_the_end_of_the_file_it_ends(service: Service, week: Path) -> None:
    clock = ManualClock(NOW)
    plan = ReplayPlan((week,), align="now", past=HOUR, until=NOW + timedelta(minutes=3))
    assert service.run(plan, clock).ended
    assert clock.now() >= datetime.fromtimestamp(service.events("labels")[-1]["label_time"] / 1000, UTC)
    assert [marker.end for marker in service.markers("labels")][-1]


def test_a_live_hour_without_trips_is_marked_when_it_ends(service: Service, tmp_path: Path, week: Path) -> None:
    raw = pd.read_parquet(week).head(3)
    # Aligned to Wednesday 12:00 UTC, 07:00 in New York: the second trip comes at 10:30, after three empty hours.
    stamps = pd.to_datetime(["2023-01-04 06:30", "2023-01-04 10:30", "2023-01-05 12:00"]).as_unit("us")
    raw["lpep_pickup_datetime"] = raw["lpep_dropoff_datetime"] = stamps
    path = tmp_path / "quiet.parquet"
    raw.to_parquet(path)
    service.run(ReplayPlan((path,), align="now", until=NOW + timedelta(hours=4)))
    hours = [(marker.up_to - to_ms(NOW)) // 3_600_000 for marker in service.markers("trips") if not marker.end]
    assert hours == [-1, 0, 1, 2, 3]


def test_stopped_at_once_it_sends_nothing(service: Service, week: Path) -> None:
    stop = threading.Event()
    stop.set()
    replay = Replay(ReplayPlan((week,)), service.contract, service.models, service.transport, ManualClock(NOW))
    summary = replay.run(stop)
    assert (summary.trips, summary.ended, replay.past_sent.is_set()) == (0, False, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"files": ()}, "a replay needs at least one file; name a parquet month"),
        ({"speed": 0.0}, "`--speed` must be max or a number above 0; got 0"),
        ({"speed": float("nan")}, "`--speed` must be max or a number above 0; got nan"),
        (
            {"speed": 2.0, "align": "now"},
            "`--align now` sends the past at full speed and then goes on live; leave `--speed` out",
        ),
        (
            {"since": NOW, "until": NOW},
            "`--since` must be before `--until`; got 2026-11-18T12:00:00+00:00 and 2026-11-18T12:00:00+00:00",
        ),
        ({"since": NOW, "past": DAY}, "`--past` and `--since` both choose where to start; use one"),
        ({"limit": 0}, "`--limit` must be at least 1; got 0"),
        ({"seed": -1}, "`--seed` must be 0 or more; got -1"),
        ({"partitions": 0}, "`--partitions` must be at least 1; got 0"),
    ],
)
def test_options_that_cannot_be_used_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ReplayPlan(**{"files": (Path("month.parquet"),), **options})
    assert str(caught.value) == message


def test_options_are_read_as_typed() -> None:
    assert (parse_speed("max"), parse_speed("60")) == (None, 60.0)
    assert (parse_delay("--past", "14d"), parse_delay("--label-delay", "0")) == (14 * DAY, timedelta(0))
    assert parse_bound("--since", "2023-02-01T00:00:00-05:00") == datetime(2023, 2, 1, 5, tzinfo=UTC)


def test_words_that_are_no_options_are_told() -> None:
    with pytest.raises(UsageError, match=r"^`--speed` must be max or a number above 0; got fast$"):
        parse_speed("fast")
    duration = r"a duration is a positive whole number and d, h, m or s, such as 1h"
    with pytest.raises(UsageError, match=rf"^`--past`: {duration}; got 'long'$"):
        parse_delay("--past", "long")
    moment = r"a moment is a date or time such as 2023-02-20 or 2023-02-20T06:30:00"
    with pytest.raises(UsageError, match=rf"^`--since`: {moment}; got 'then'$"):
        parse_bound("--since", "then")
