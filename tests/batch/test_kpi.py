"""Business figures of a contract, by SQL over inputs, the champion's answers and the labels so far."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from driftline.contract import parse_contract
from driftline.errors import ContractError
from tests.batch.conftest import Monitored, day, trips


def kpis(**expressions: str) -> str:
    return "kpis:\n" + "".join(f'  - {{name: {name}, sql: "{sql}"}}\n' for name, sql in expressions.items())


def values(monitored: Monitored, name: str) -> dict[object, float]:
    return {key[0]: value for key, value in monitored.metrics(f"kpi_{name}").items()}


def test_kpis_equal_pandas_on_the_same_rows(monitoring) -> None:
    monitored = monitoring(
        kpis(
            revenue="sum(fare)",
            per_trip="sum(fare) / count()",
            overdue="countIf(label > prediction + 1)",
            late_share="avg(if(label > prediction, 1, 0))",
            far_zones="uniqExactIf(zone, distance > 5)",
            requests="uniqExact(id)",
        )
    )
    frame = trips(400, 31)
    monitored.add(frame, labels=False)
    labelled = frame.iloc[:300]
    monitored.log.add_labels(labelled)
    monitored.log.complete()
    monitored.run("kpi")

    known = frame.assign(label=frame["label"].where(frame.index < 300))
    for start, rows in known.groupby(known["event_time"].dt.floor("1D")):
        late = rows["label"] > rows["prediction.champion"]
        expected = {
            "revenue": rows["fare"].sum(),
            "per_trip": rows["fare"].mean(),
            "overdue": (rows["label"] > rows["prediction.champion"] + 1).sum(),
            "late_share": late.mean(),
            "far_zones": rows.loc[rows["distance"] > 5, "zone"].nunique(),
            "requests": rows["id"].nunique(),
        }
        found = {name: values(monitored, name)[start.to_pydatetime()] for name in expected}
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("sql", "runs_again"), [("sum(label)", {"1h", "1d"}), ("sum(fare)", set())])
def test_a_kpi_runs_again_when_labels_come_if_it_reads_them(monitoring, sql: str, runs_again: set[str]) -> None:
    frame = trips(200, 32, days=1)
    monitored = monitoring(kpis(total=sql))
    monitored.add(frame, labels=False)
    monitored.log.complete("inputs", "predictions")
    monitored.run("kpi")
    monitored.log.add_labels(frame)

    assert {key.granularity for key in monitored.run("kpi").keys} == runs_again
    column = sql.removeprefix("sum(").removesuffix(")")
    assert values(monitored, "total")[day(0)] == pytest.approx(frame[column].sum(), abs=1e-6)


def test_a_kpi_that_the_engine_refuses_is_an_error_of_itself_alone(monitoring) -> None:
    monitored = monitoring(kpis(broken="sum(zone)", fine="count()", odd="max(zone)"))
    monitored.add(trips(50, 33, days=1))
    monitored.log.complete()
    monitored.run("kpi")

    assert values(monitored, "fine")[day(0)] == 50
    assert values(monitored, "broken") == values(monitored, "odd") == {}
    errors = {row["column"]: row["error"] for row in monitored.errors()}
    assert errors["kpi_odd"] == "kpi odd must be a number; got str"
    assert errors["kpi_broken"].startswith("kpi broken: store ")


def test_a_kpi_can_be_bounded_by_a_check(monitoring) -> None:
    checks = "checks: [{metric: kpi_revenue, source: batch, granularity: 1d, min: 1000000, min_rows: 1}]"
    monitored = monitoring(kpis(revenue="sum(fare)") + checks)
    monitored.add(trips(50, 34, days=1))
    monitored.log.complete()
    monitored.run("kpi", "data")

    assert monitored.verdicts("kpi_revenue") == {("batch", "1d", day(0), "", ""): "fail"}


@pytest.mark.parametrize(
    "sql",
    [
        "sum(fare) FROM labels",
        "(SELECT 1)",
        "file('/etc/passwd')",
        "sum(nowhere)",
        "fare * 2",
        "count() + fare",
        "max(avg(fare))",
        "1",
        "sum(fare); DROP TABLE labels",
        "now()",
    ],
)
def test_a_kpi_that_says_more_than_an_aggregate_is_refused_with_the_contract(sql: str) -> None:
    text = f'model: m\ncolumns: {{fare: {{type: number}}}}\nkpis: [{{name: a, sql: "{sql}"}}]\n'
    with pytest.raises(ContractError, match=r"`kpis\.0\.sql` must be one SQL aggregate over the columns"):
        parse_contract(text, "test")


def test_ages_count_from_the_first_window_of_a_version_and_from_the_end_of_the_reference(monitored: Monitored) -> None:
    past, frame = trips(300, 35, start=day(-10), days=2), trips(300, 36, days=3)
    monitored.build_reference(past)
    monitored.log.add_inputs(frame)
    monitored.log.add_predictions(frame.assign(prediction=1.0), "champion")
    newer = frame[frame["event_time"] >= day(1)]
    monitored.log.add_predictions(newer.assign(prediction=1.0), "challenger")
    monitored.log.complete()
    monitored.run("age")

    ages = monitored.metrics("model_age_days")
    first = {name: rows["event_time"].min().floor("1h") for name, rows in (("champion", frame), ("challenger", newer))}
    for (start, version, _), age in ages.items():
        assert age == pytest.approx((start - first[version]).total_seconds() / 86_400 + 1)
    assert len(ages) == 5
    since_reference = monitored.metrics("reference_age_days")
    wanted = [(day(number + 1) - past["event_time"].max()).total_seconds() / 86_400 for number in range(3)]
    assert sorted(since_reference.values()) == pytest.approx(wanted, abs=1e-6)
    assert np.all(np.diff(sorted(since_reference.values())) == pytest.approx(1.0))


def test_an_event_of_another_year_makes_no_version_old(monitored: Monitored) -> None:
    frame = trips(900, 36, days=3)
    stray = trips(1, 37, start=day(-5000))
    every = pd.concat([stray, frame], ignore_index=True)
    monitored.log.add_inputs(every)
    monitored.log.add_predictions(every.assign(prediction=1.0), "champion")
    monitored.log.complete()
    monitored.run("age")
    ages = monitored.metrics("model_age_days")
    assert len(ages) == 3
    assert max(ages.values()) <= 3


CONTRACT = """
model: m_MODEL
task: binary
positive_class: fraud
versions: {champion: champion}
columns: {fare: {type: number}}
kpis: [{name: at_risk, sql: sum(fare * probability)}]
windows: {quality: [1d]}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("class: fraud", "class: fine"),
        ("{fare: {type: number}}", "{fare: {type: number}, probability: {type: number}}"),
    ],
    ids=["positive", "feature"],
)
def test_a_kpi_runs_again_when_the_contract_gives_a_name_in_it_another_meaning(
    store, workers, before: str, after: str
) -> None:
    text = CONTRACT.replace("MODEL", f"kpi_{len(before)}")
    monitored = Monitored(store, parse_contract(text, "test"), workers)
    monitored.log.add_inputs(trips(50, 38, days=1))
    monitored.log.complete()
    assert monitored.run("kpi").runs == 1
    assert monitored.run("kpi").runs == 0
    assert monitored.run("kpi", contract=parse_contract(text.replace(before, after), "test")).runs == 1


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_value_that_the_engine_refuses_costs_its_own_window_alone(monitoring, bad: int) -> None:
    monitored = monitoring(kpis(ratio="sum(intDiv(100, fare))", trips="count()") + "windows: {quality: [1d]}\n")
    frame = trips(200, 37, days=3).assign(fare=4.0)
    frame.loc[frame.index[frame["event_time"] >= day(bad)][3], "fare"] = 0.0
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("kpi")

    counts = {start.to_pydatetime(): n for start, n in frame.groupby(frame["event_time"].dt.floor("1D")).size().items()}
    assert values(monitored, "ratio") == {start: 25 * n for start, n in counts.items() if start != day(bad)}
    assert values(monitored, "trips") == counts
    [error] = monitored.errors()
    assert error["column"] == "kpi_ratio"
    assert "Division by zero" in str(error["error"])
