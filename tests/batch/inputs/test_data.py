"""Statistics of inputs equal pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.batch.conftest import Monitored, day, trips

QUANTILES = {"quantile_05": 0.05, "quantile_25": 0.25, "quantile_50": 0.5, "quantile_75": 0.75, "quantile_95": 0.95}


def by_day(frame: pd.DataFrame) -> dict[object, pd.DataFrame]:
    return {start.to_pydatetime(): part for start, part in frame.groupby(frame["event_time"].dt.floor("1D"))}


def test_numbers_have_the_statistics_that_pandas_computes(monitored: Monitored) -> None:
    frame = trips(900, 1)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("data")
    for name, expected in {
        "mean": pd.Series.mean,
        "std": pd.Series.std,
        "min": pd.Series.min,
        "max": pd.Series.max,
        "distinct_count": pd.Series.nunique,
        "missing_share": lambda values: values.isna().mean(),
        **{name: (lambda values, share=share: values.quantile(share)) for name, share in QUANTILES.items()},
    }.items():
        found = monitored.metrics(name)
        for start, part in by_day(frame).items():
            assert found[(start, "", "distance")] == pytest.approx(expected(part["distance"]), abs=1e-12), name


def test_shares_are_of_all_rows_of_the_window(monitored: Monitored) -> None:
    frame = trips(900, 2)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("data")
    outside, unseen, rows = (monitored.metrics(name) for name in ("out_of_range_share", "unseen_share", "row_count"))
    for start, part in by_day(frame).items():
        beyond = (part["distance"] < 0) | (part["distance"] > 100)
        assert outside[(start, "", "distance")] == pytest.approx(beyond.sum() / len(part), abs=1e-15)
        assert unseen[(start, "", "flag")] == pytest.approx((part["flag"] == "?").sum() / len(part), abs=1e-15)
        assert rows[(start, "", "")] == len(part)


def test_an_undeclared_category_has_no_unseen_share_before_there_is_a_reference(monitored: Monitored) -> None:
    frame = trips(300, 3)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("data")
    assert (day(0), "", "zone") not in monitored.metrics("unseen_share")
    assert monitored.verdicts("max_unseen_share")[("batch", "1d", day(0), "", "zone")] == "insufficient"

    monitored.build_reference(trips(500, 4).query("zone != '41'"))
    monitored.run("data")
    for start, part in by_day(frame).items():
        share = (part["zone"] == "41").sum() / len(part)
        assert monitored.metrics("unseen_share")[(start, "", "zone")] == pytest.approx(share, abs=1e-15)
    assert monitored.verdicts("max_unseen_share")[("batch", "1d", day(0), "", "zone")] == "fail"


def test_rows_equal_in_time_and_all_features_are_duplicates_whatever_their_id(monitored: Monitored) -> None:
    frame = trips(100, 5, days=1)
    copies = frame.head(7).assign(id=[f"copy-{row}" for row in range(7)])
    frame = pd.concat([frame, copies], ignore_index=True)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("data")
    columns = ["event_time", "distance", "fare", "zone", "flag", "shared"]
    assert monitored.metrics("duplicate_share")[(day(0), "", "")] == pytest.approx(frame.duplicated(columns).mean())


def test_a_constant_column_is_said_to_be_one(monitored: Monitored) -> None:
    monitored.add(trips(100, 6, days=1).assign(zone="74"))
    monitored.log.complete()
    monitored.run("data")
    found = monitored.metrics("constant")
    assert (found[(day(0), "", "zone")], found[(day(0), "", "distance")]) == (1.0, 0.0)


def test_a_column_without_any_value_has_its_missing_share_and_no_other_figure(monitored: Monitored) -> None:
    monitored.add(trips(100, 7, days=1).assign(distance=np.nan))
    monitored.log.complete()
    monitored.run("data")
    assert monitored.metrics("missing_share")[(day(0), "", "distance")] == 1.0
    assert monitored.verdicts("max_missing_share")[("batch", "1d", day(0), "", "distance")] == "fail"
    for name in ("mean", "std", "min", "quantile_50", "constant"):
        assert (day(0), "", "distance") not in monitored.metrics(name)


def test_a_great_window_has_estimates_that_say_so_and_exact_counts(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("statistics", "data"):
        monkeypatch.setattr(f"batch.inputs.{module}.MOST_EXACT_ROWS", 1_000)
    frame = trips(3_000, 90, days=1)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("data")
    [median], [distinct] = (monitored.rows(name, "fare") for name in ("quantile_50", "distinct_count"))
    assert (median["method"], distinct["method"]) == ("estimated", "estimated")
    assert {row["method"] for row in monitored.rows("mean", "fare")} == {""}
    assert (frame["fare"] < median["value"]).mean() == pytest.approx(0.5, abs=0.002)
    assert distinct["value"] == pytest.approx(frame["fare"].nunique(), rel=0.02)
    mean = monitored.metrics("mean")[(day(0), "", "fare")]
    assert mean == pytest.approx(frame["fare"].mean(), abs=1e-9)
    assert monitored.metrics("constant")[(day(0), "", "fare")] == 0.0
