"""An id seen in two hours of a day is two requests of it, each with its own input; what is expected is pandas'."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from batch.estimates.frames import error_frames
from batch.quality.scored_inputs import scored_inputs
from batch.rows.frames import Span
from batch.workers.pool import Workers
from driftline.clock import to_ms
from driftline.store import Store
from tests.batch.conftest import FIRST_DAY, Monitored, contract_named, trips

EXTRA = """
slices: [{name: zone, by: zone, max_values: 2, min_rows: 20}]
kpis:
  - {name: requests, sql: count()}
  - {name: revenue, sql: sum(fare)}
  - {name: overdue, sql: countIf(label > prediction)}
metrics: [{name: miles, sql: sum(distance)}]
"""
SPAN = Span(timedelta(days=1), (to_ms(FIRST_DAY),))
Day = tuple[Monitored, pd.DataFrame]


@pytest.fixture(scope="module")
def judged(store: Store, workers: Workers) -> Day:
    monitored = Monitored(store, contract_named("requests_twice", EXTRA), workers)
    frame = trips(300, 91, days=1)
    again = frame.iloc[:60].assign(zone="41", fare=1000.0, distance=50.0)
    again["event_time"] += pd.Timedelta("3h")
    again["prediction.champion"] += 5
    monitored.log.add_labels(frame)
    every = pd.concat([frame, again], ignore_index=True)
    monitored.add(every, labels=False)
    monitored.log.complete()
    monitored.run("kpi", "custom", "slices", "comparison", "quality")
    return monitored, every


def scored(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["label"].between(1, 60)]


def of_zones(monitored: Monitored, metric: str) -> dict[str, tuple[float, int]]:
    """Value and rows of the champion's figure, or the challenger's comparison with it, by zone."""
    version = "challenger" if metric == "mae_difference" else "champion"
    rows: list[dict[str, Any]] = monitored.store.query(
        "SELECT slice, value, n FROM metrics WHERE model = {m:String} AND metric = {k:String} AND column = '' "
        "AND model_version = {v:String} AND slice != 'all'",
        {"m": monitored.contract.model, "k": metric, "v": version},
    )
    return {row["slice"]: (row["value"], row["n"]) for row in rows}


def zones(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Slices of the two most frequent zones, and of the rest."""
    kept = frame["zone"].value_counts().index[:2].tolist()
    named = frame["zone"].where(frame["zone"].isin(kept) | frame["zone"].isna(), "other").fillna("missing")
    return ((f"zone={name}", part) for name, part in frame.groupby(named) if len(part) >= 20)


def test_nothing_fails_of_it(judged: Day) -> None:
    assert judged[0].errors() == []


@pytest.mark.parametrize("kpi", ["requests", "revenue", "overdue"])
def test_a_kpi_sums_up_every_request_once(judged: Day, kpi: str) -> None:
    monitored, frame = judged
    expected = {
        "requests": len(frame),
        "revenue": frame["fare"].sum(),
        "overdue": (frame["label"] > frame["prediction.champion"]).sum(),
    }
    found = monitored.metrics(f"kpi_{kpi}")
    assert found == {(FIRST_DAY, "", ""): pytest.approx(expected[kpi], abs=1e-6)}


def test_a_custom_metric_sums_up_every_scored_request_once(judged: Day) -> None:
    monitored, frame = judged
    found = monitored.metrics("custom_miles")[FIRST_DAY, "champion", ""]
    assert found == pytest.approx(scored(frame)["distance"].sum(), abs=1e-6)


def test_a_request_is_in_the_slice_of_its_own_input(judged: Day) -> None:
    monitored, frame = judged
    counts = {name: (float(len(part)), len(part)) for name, part in zones(frame)}
    found = of_zones(monitored, "prediction_count")
    assert {name: found[name] for name in counts} == counts
    errors = {
        name: (pytest.approx((part["prediction.champion"] - part["label"]).abs().mean(), abs=1e-9), len(part))
        for name, part in zones(scored(frame))
    }
    assert of_zones(monitored, "mae") == errors


def test_versions_are_compared_request_by_request(judged: Day) -> None:
    monitored, frame = judged
    rows = scored(frame)
    champion, challenger = ((rows[f"prediction.{one}"] - rows["label"]).abs() for one in ("champion", "challenger"))
    gap = challenger - champion
    [found] = monitored.rows("mae_difference", "")
    assert (found["method"], found["n"]) == ("paired", len(rows))
    assert found["value"] == pytest.approx(gap.mean(), abs=1e-9)
    parts = {name: gap[part.index] for name, part in zones(rows)}
    expected = {name: (pytest.approx(part.mean(), abs=1e-9), len(part)) for name, part in parts.items()}
    assert of_zones(monitored, "mae_difference") == expected


def test_rows_with_their_inputs_are_as_many_as_the_requests(judged: Day) -> None:
    monitored, frame = judged
    expected = frame.sort_values(["id", "event_time"])
    found = error_frames(monitored.store, monitored.contract, SPAN)["champion"].to_pandas()
    assert found["id"].tolist() == expected["id"].tolist()
    assert found["distance"].to_numpy() == pytest.approx(expected["distance"].to_numpy(), nan_ok=True)
    rows = scored_inputs(monitored.store, monitored.contract, SPAN)[SPAN.starts[0], "champion"].to_pandas()
    assert rows["id"].tolist() == scored(expected)["id"].tolist()
    assert rows["fare"].to_numpy() == pytest.approx(scored(expected)["fare"].to_numpy())
