from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from batch.references.rows import holds_rows, read_rows
from driftline.contract import parse_contract
from driftline.errors import InputDataError

CONTRACT = parse_contract(
    "model: delivery\nevent_time: {timezone: Europe/Berlin}\n"
    "columns:\n  km: {type: number}\n  vehicle: {type: category}\n",
    "m.yaml",
)


def written(tmp_path: Path, **columns: object) -> Path:
    rows = {"event_time": [pd.Timestamp("2024-10-27T02:30")], "km": [1], "vehicle": [7], "label": [2], **columns}
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def test_rows_are_read_as_the_contract_types_them(tmp_path: Path) -> None:
    path = written(tmp_path, **{"prediction.champion": [2.5]})
    assert holds_rows(path, CONTRACT)
    row = read_rows(path, CONTRACT).iloc[0]
    # An ambiguous local time is its first occurrence, in summer time: two hours ahead of UTC.
    assert row["event_time"] == pd.Timestamp("2024-10-27T00:30Z")
    assert (row["id"], row["km"], row["vehicle"], row["label"], row["prediction.champion"]) == ("0", 1.0, "7", 2.0, 2.5)


def test_a_file_without_a_column_of_the_contract_holds_no_rows(tmp_path: Path) -> None:
    pd.DataFrame({"event_time": [], "label": [], "km": []}).to_parquet(tmp_path / "rows.parquet")
    assert not holds_rows(tmp_path / "rows.parquet", CONTRACT)
    (tmp_path / "text").write_text("no parquet")
    assert not holds_rows(tmp_path / "text", CONTRACT)


def test_values_of_another_type_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputDataError) as number:
        read_rows(written(tmp_path, km=["far"]), CONTRACT)
    assert str(number.value) == (
        f"{tmp_path}/rows.parquet: `km` must hold numbers; could not convert string to float: 'far'; "
        "convert it and write the file again"
    )
    with pytest.raises(InputDataError) as moment:
        read_rows(written(tmp_path, event_time=["today"]), CONTRACT)
    assert str(moment.value) == (
        f"{tmp_path}/rows.parquet: `event_time` must be a column of timestamps; got object; "
        "convert it and write the file again"
    )


FRAUD = parse_contract(
    "model: fraud\ntask: binary\npositive_class: fraud\ndecision_threshold: 0.3\ncolumns: {km: {type: number}}\n",
    "m.yaml",
)
KINDS = parse_contract("model: kinds\ntask: multiclass\ncolumns: {km: {type: number}}\n", "m.yaml")


def test_a_binary_answer_is_what_the_contracts_threshold_makes_of_its_probability(tmp_path: Path) -> None:
    rows = {
        "event_time": [pd.Timestamp("2024-10-27")] * 4,
        "km": [1.0] * 4,
        "vehicle": [7] * 4,
        "label": ["fraud", "fine", None, "fine"],
        "prediction.champion": ["fine", "fraud", "fine", "fraud"],
        "probability.champion.fraud": [0.3, 0.29, 0.9, None],
    }
    found = read_rows(written(tmp_path, **rows), FRAUD)
    assert found["prediction.champion"].tolist() == ["fraud", "not fraud", "fraud", "fraud"]
    assert found["label"].tolist() == ["fraud", "fine", None, "fine"]


def test_a_class_that_is_not_given_is_the_likeliest(tmp_path: Path) -> None:
    rows = {
        "event_time": [pd.Timestamp("2024-10-27")] * 3,
        "km": [1.0] * 3,
        "vehicle": [7] * 3,
        "label": [1.0, None, 2.0],
        "probability.champion.1": [0.5, 0.1, None],
        "probability.champion.2": [0.3, 0.8, None],
    }
    found = read_rows(written(tmp_path, **rows), KINDS)
    assert found["prediction.champion"].tolist()[:2] == ["1", "2"]
    assert pd.isna(found["prediction.champion"][2])
    assert found["label"].tolist()[::2] == ["1", "2"]  # whole numbers with a gap, as Parquet keeps them


FLAGS = parse_contract("model: flags\ncolumns: {km: {type: number}, shared: {type: boolean}}\n", "m.yaml")


@pytest.mark.parametrize(
    "given", [[True, False, None], [1, 0, None], ["true", "FALSE", None], ["1", "0", None], [1.0, 0.0, None]]
)
def test_booleans_are_true_and_false_however_the_file_writes_them(tmp_path: Path, given: list[object]) -> None:
    found = read_rows(written(tmp_path, event_time=[pd.Timestamp("2024-10-27")] * 3, km=[1.0] * 3,
                              vehicle=[7] * 3, label=[2.0] * 3, shared=given), FLAGS)  # fmt: skip
    assert found["shared"].map(str, na_action="ignore").tolist()[:2] == ["True", "False"]
    assert pd.isna(found["shared"][2])


def test_what_is_no_boolean_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputDataError) as caught:
        read_rows(written(tmp_path, shared=["maybe"]), FLAGS)
    assert str(caught.value) == (
        f"{tmp_path}/rows.parquet: `shared` must hold booleans, as true and false or as 1 and 0; got maybe; "
        "convert it and write the file again"
    )


def test_an_infinite_number_is_missing(tmp_path: Path) -> None:
    inf = float("inf")
    found = read_rows(
        written(tmp_path, km=[inf], label=[-inf], **{"prediction.champion": [inf], "probability.champion.x": [inf]}),
        CONTRACT,
    )
    assert found[["km", "label", "prediction.champion", "probability.champion.x"]].isna().to_numpy().all()
