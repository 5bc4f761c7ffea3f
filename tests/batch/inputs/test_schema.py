"""Changes of columns are marks on the time line, each once."""

from __future__ import annotations

import numpy as np

from driftline.contract import Contract
from tests.batch.conftest import Monitored, day, trips


def marks(monitored: Monitored) -> list[tuple[object, str, list[str]]]:
    rows = monitored.store.query(
        "SELECT at, title, tags FROM annotations FINAL WHERE model = {m:String} AND kind = 'schema' ORDER BY at, title",
        {"m": monitored.contract.model},
    )
    return [(row["at"], row["title"], row["tags"]) for row in rows]


def test_a_column_that_loses_its_values_and_regains_them_is_marked_at_each_window(monitored: Monitored) -> None:
    frame = trips(400, 51, days=4)
    days = frame["event_time"].dt.floor("1D")
    frame.loc[(days == day(1)) | (days == day(2)), "fare"] = np.nan
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("schema")
    expected = [
        (day(1), "column fare has no values", ["data", "fare"]),
        (day(3), "column fare has values again", ["data", "fare"]),
    ]
    assert marks(monitored) == expected
    changes = [(row["window_start"], row["value"], row["method"]) for row in monitored.rows("schema_change_count", "")]
    assert changes == [(day(0), 0.0, ""), (day(1), 1.0, "fare"), (day(2), 0.0, ""), (day(3), 1.0, "fare")]

    monitored.log.add_inputs(trips(50, 52, start=day(1), days=1).assign(fare=np.nan))
    monitored.run("schema")
    assert marks(monitored) == expected


def test_a_few_rows_without_a_value_are_no_change(monitored: Monitored) -> None:
    monitored.add(trips(29, 53, days=1).assign(fare=np.nan))
    monitored.log.complete()
    monitored.run("schema")
    assert marks(monitored) == []


def test_columns_that_a_contract_adds_and_removes_are_marked_when_it_is_registered(
    monitored: Monitored,
) -> None:
    monitored.add(trips(100, 54, days=1))
    monitored.log.complete()
    monitored.run("schema")
    body = monitored.contract.model_dump(by_alias=True)
    body["columns"]["tip"] = body["columns"]["fare"]
    del body["columns"]["shared"]
    monitored.run("schema", contract=Contract.model_validate(body))
    assert [(title, tags) for _, title, tags in marks(monitored)] == [
        ("column shared removed", ["contract", "shared"]),
        ("column tip added (number)", ["contract", "tip"]),
    ]
