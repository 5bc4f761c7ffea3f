from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from driftline.clock import ManualClock, to_ms
from driftline.ops.meters import Meters
from driftline.transport import Partition

START = datetime(2026, 1, 1, tzinfo=UTC)


def value(meters: Meters, name: str, **labels: str) -> float | None:
    return meters.registry.get_sample_value(f"driftline_{name}", labels)


def test_the_age_of_a_watermark_grows_while_nothing_is_reported() -> None:
    clock = ManualClock(START)
    meters = Meters(clock)
    meters.stands({}, {Partition("t", 0): to_ms(START - timedelta(seconds=30))}, 0)
    assert value(meters, "watermark_age_seconds", topic="t") == 30
    clock.advance(timedelta(seconds=12))
    assert value(meters, "watermark_age_seconds", topic="t") == 42


def test_the_age_is_that_of_the_partition_furthest_behind_among_those_with_events() -> None:
    meters = Meters(ManualClock(START))
    ages = {Partition("t", 0): 5, Partition("t", 1): 50, Partition("u", 0): 7}
    marks = {part: to_ms(START - timedelta(seconds=age)) for part, age in ages.items()}
    meters.stands({}, {**marks, Partition("t", 2): 0, Partition("v", 0): 0}, 0)
    assert [value(meters, "watermark_age_seconds", topic=topic) for topic in "tuv"] == [50, 7, None]


def test_a_partition_that_went_to_another_process_leaves_no_lag_and_no_age_behind() -> None:
    meters = Meters(ManualClock(START))
    mine, gone = Partition("t", 0), Partition("u", 1)
    meters.stands({mine: 3, gone: 4}, {mine: to_ms(START), gone: to_ms(START)}, 0)
    assert value(meters, "lag_records", topic="u", partition="1") == 4
    meters.stands({mine: 2}, {mine: to_ms(START)}, 9)
    assert value(meters, "lag_records", topic="t", partition="0") == 2
    assert value(meters, "lag_records", topic="u", partition="1") is None
    assert value(meters, "watermark_age_seconds", topic="u") is None
    assert (meters.lag_records, meters.waiting_rows, value(meters, "pending_rows")) == (2, 9, 9)


def test_an_age_that_vanishes_and_returns_is_that_of_now() -> None:
    meters = Meters(ManualClock(START))
    part = Partition("t", 0)
    meters.stands({}, {part: to_ms(START - timedelta(seconds=5))}, 0)
    meters.stands({}, {}, 0)
    meters.stands({}, {part: to_ms(START - timedelta(seconds=1))}, 0)
    assert value(meters, "watermark_age_seconds", topic="t") == 1


def test_a_topic_counts_from_zero_before_its_first_event() -> None:
    meters = Meters(ManualClock(START))
    meters.assigned([Partition("t", 0), Partition("t", 1)])
    counters = ("records_consumed", "events_ok", "events_duplicate", "events_late", "dead_letters")
    assert [value(meters, f"{name}_total", topic="t") for name in counters] == [0] * 5
    assert value(meters, "assigned_partitions") == 2


def test_two_sets_of_meters_in_one_process_share_nothing() -> None:
    one, other = Meters(ManualClock(START)), Meters(ManualClock(START))
    one.flushed(0.2, 10)
    one.flushed(0.0, 0)
    assert (value(one, "flushed_rows_total"), value(other, "flushed_rows_total")) == (10, 0)
    assert (value(one, "flush_seconds_count"), value(one, "flush_seconds_sum")) == (1, 0.2)
    assert math.isclose(value(one, "last_flush_timestamp_seconds") or 0, START.timestamp())


def test_the_guide_lists_every_meter() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "how-to" / "operate.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(driftline_\w+)` \| ([a-z, ]*)\|", guide, re.MULTILINE)
    meters = Meters(ManualClock(START))
    made = {metric.name + ("_total" if metric.type == "counter" else "") for metric in meters.registry.collect()} - {
        "python_info"
    }
    assert sorted(name for name, _ in listed) == sorted(name for name in made if not name.startswith("process_"))
