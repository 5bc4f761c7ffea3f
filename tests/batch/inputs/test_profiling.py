"""Closed hours: merged sketches and the stream checks' verdicts; and SQL and Python judge alike."""

from __future__ import annotations

import zlib
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from batch.inputs.profiles import merged_profile
from driftline.checks import judge, rules_of
from driftline.errors import InputDataError, StoreError
from driftline.profiles import Profile, library
from driftline.store.registry import register_contract
from tests.batch.conftest import Monitored, day, trips


def add_blobs(monitored: Monitored, frame: pd.DataFrame, *, damage: bool = False) -> None:
    """One blob per segment already added, over its rows of each hour; a segment here is one call of ``add``."""
    [segment] = monitored.store.query(
        "SELECT lo FROM segments WHERE model = {m:String} AND topic = {t:String} ORDER BY lo DESC LIMIT 1",
        {"m": monitored.contract.model, "t": monitored.contract.topics.inputs},
    )
    rows = []
    for start, part in frame.groupby(frame["event_time"].dt.floor("1h")):
        profile = Profile({"distance": "number", "zone": "text"})
        profile.add_numbers("distance", part["distance"].to_numpy())
        profile.add_texts("zone", part["zone"].to_numpy())
        blob = profile.to_bytes()
        row = {
            "model": monitored.contract.model,
            "topic": monitored.contract.topics.inputs,
            "stream": "inputs",
            "window_start": start,
            "window_seconds": 3600,
            "model_version": "",
            "source_id": "s",
            "p": 0,
            "lo": segment["lo"],
            "contract_id": monitored.contract.id,
            "seg_version": 1,
            "n": len(part),
            "blob": blob,
            "blob_crc32": zlib.crc32(blob) + damage,
            "library": library(),
        }
        rows.append(row)
    monitored.store.insert_rows("segment_profiles", rows)


def test_two_segments_profiles_of_an_hour_are_merged(monitored: Monitored) -> None:
    first, second = trips(300, 1, days=1), trips(300, 2, days=1)
    for frame in (first, second):
        monitored.add(frame)
        add_blobs(monitored, frame)
    monitored.log.complete()
    monitored.run("profile")
    together = pd.concat([first, second])
    medians, distinct = (monitored.metrics(name, "1h", source="stream") for name in ("quantile_50", "distinct_count"))
    for start, part in together.groupby(together["event_time"].dt.floor("1h")):
        key = start.to_pydatetime()
        # A sketch of so few values holds them all: its median is one of the two in the middle.
        ordered = np.sort(part["distance"].dropna())
        middle = (len(ordered) - 1) // 2
        assert medians[(key, "", "distance")] in ordered[middle : middle + 2]
        assert distinct[(key, "", "zone")] == part["zone"].nunique()
    merged = merged_profile(monitored.store, monitored.contract, day(0))
    assert merged.rows()["distance"] == (together["event_time"] < day(0) + timedelta(hours=1)).sum()


def test_a_damaged_profile_is_an_error_and_the_checks_are_judged_all_the_same(monitored: Monitored) -> None:
    frame = trips(300, 3, days=1).assign(event_time=day(0), distance=np.nan)
    monitored.add(frame)
    add_blobs(monitored, frame, damage=True)
    monitored.log.complete()
    monitored.run("profile")
    [error] = monitored.errors()
    assert str(error["error"]).startswith("the profile of partition 0, segment ")
    assert monitored.verdicts("max_missing_share")[("stream", "1h", day(0), "", "distance")] == "fail"
    with pytest.raises(StoreError, match=r"is damaged in the store; consume its segment again$"):
        merged_profile(monitored.store, monitored.contract, day(0))


def test_a_profile_whose_rows_differ_from_the_counters_is_an_error_of_its_columns(monitored: Monitored) -> None:
    frame = trips(20, 4, days=1).assign(event_time=day(0))
    monitored.add(frame)
    add_blobs(monitored, frame.head(15))
    monitored.log.complete()
    monitored.run("profile")
    messages = [error["error"] for error in monitored.errors()]
    assert messages == [
        f"profile has 15 rows of {name}, the counters 20; its figures are left out" for name in ("distance", "zone")
    ]
    assert monitored.metrics("quantile_50", "1h", source="stream") == {}


def test_an_absent_profile_is_named(monitored: Monitored) -> None:
    with pytest.raises(InputDataError) as caught:
        merged_profile(monitored.store, monitored.contract, day(0), "predictions", "champion")
    assert str(caught.value) == (
        "there is no profile of predictions of version champion for the window that begins 2023-02-01T00:00Z; "
        "windows are 1h long; see `driftline metrics --metric row_count`"
    )


def test_a_closed_hour_keeps_the_verdict_of_its_own_contract(monitored: Monitored, monitoring) -> None:
    frame = trips(100, 5, days=1).assign(event_time=day(0), distance=np.nan)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("profile")
    key = ("stream", "1h", day(0), "", "distance")
    assert monitored.verdicts("max_missing_share")[key] == "fail"
    body = monitored.contract.model_dump(by_alias=True)
    body["columns"]["distance"]["max_missing_share"] = 1.0
    monitored.run(contract=type(monitored.contract).model_validate(body))
    assert monitored.verdicts("max_missing_share")[key] == "fail"


def test_hours_have_the_unseen_share_of_categories_that_only_the_reference_knows(monitored: Monitored) -> None:
    monitored.build_reference(trips(500, 6).query("zone != '41'"))
    frame = trips(400, 7, days=1)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("profile")
    found = monitored.metrics("unseen_share", "1h", source="stream")
    for start, part in frame.groupby(frame["event_time"].dt.floor("1h")):
        share = (part["zone"] == "41").mean()
        assert found[(start.to_pydatetime(), "", "zone")] == pytest.approx(share, abs=1e-15)


def test_the_view_of_open_windows_and_python_judge_alike(monitored: Monitored) -> None:
    rng = np.random.default_rng(8)
    parts = []
    for hour in range(200):
        part = trips(int(rng.integers(1, 150)), 1000 + hour, days=1)
        missing = rng.random(len(part)) < rng.choice([0.02, 0.1, 0.15, 0.25])
        moment = day(0) + timedelta(hours=hour)
        parts.append(part.assign(event_time=moment, distance=part["distance"].where(~missing)))
    monitored.log.add_inputs(pd.concat(parts, ignore_index=True))
    register_contract(monitored.store, monitored.contract)
    rules = {(rule.check, rule.column): rule for rule in rules_of(monitored.contract) if rule.source == "stream"}
    rows = monitored.store.query(
        "SELECT * FROM checks WHERE model = {m:String} AND source = 'stream'", {"m": monitored.contract.model}
    )
    assert {row["status"] for row in rows} == {"pass", "fail", "insufficient"}
    for row in rows:
        verdict = judge(rules[(row["check"], row["column"])], row["value"], row["n"])
        assert (verdict.status, verdict.threshold) == (row["status"], row["threshold"])
