from __future__ import annotations

import re

import pytest

from driftline.errors import UsageError
from grafana.frames import Field, Frame, legend_names, long_to_wide, read_frame


def series(*values: object, name: str = "Value", **labels: str) -> Field:
    return Field(name, "number", list(values), labels)


LONG = Frame(
    (
        Field("time", "time", [1, 1, 2, 3]),
        Field("column", "string", ["b", "a", "a", "b"]),
        Field("score", "number", [10.0, 20.0, 21.0, 12.0]),
    )
)


def test_string_columns_become_series_and_missing_rows_become_null() -> None:
    assert long_to_wide(LONG).fields == (
        Field("time", "time", [1, 2, 3]),
        Field("score", "number", [20.0, 21.0, None], {"column": "a"}),
        Field("score", "number", [10.0, None, 12.0], {"column": "b"}),
    )


def test_a_frame_without_string_columns_is_wide_already() -> None:
    frame = Frame((Field("time", "time", [1, 2]), series(1, 2)))
    assert long_to_wide(frame) == frame


def test_unsorted_times_are_refused() -> None:
    with pytest.raises(UsageError, match=re.escape("a time series must be sorted; end the query with ORDER BY time")):
        long_to_wide(Frame((Field("time", "time", [2, 1]), series(1, 2))))


def test_a_series_without_a_time_column_is_refused() -> None:
    with pytest.raises(UsageError, match=re.escape("a time series needs a time column; alias one as `time`")):
        long_to_wide(Frame((series(1),)))


def test_one_label_gives_its_value_as_the_legend() -> None:
    frames = [Frame((series(1, column="age"),)), Frame((series(1, name="limit", column="age"),))]
    assert legend_names(frames) == [["age"], ["limit age"]]


def test_several_labels_are_spelled_out() -> None:
    assert legend_names([Frame((series(1, name="psi", model_version="v1", column="age"),))]) == [
        ['psi {column="age", model_version="v1"}']
    ]


def test_a_result_is_read_with_kinds_and_times_in_epoch_milliseconds() -> None:
    result = """{"meta": [{"name": "t", "type": "DateTime64(3, 'UTC')"},
        {"name": "s", "type": "LowCardinality(Nullable(String))"}, {"name": "n", "type": "Nullable(Float64)"}],
        "data": [["1970-01-02 00:00:00.250", null, 1.5], [null, "x", null]]}"""
    assert read_frame(result).fields == (
        Field("t", "time", [86_400_250, None]),
        Field("s", "string", [None, "x"]),
        Field("n", "number", [1.5, None]),
    )


def test_a_result_without_rows_keeps_its_columns() -> None:
    frame = read_frame('{"meta": [{"name": "n", "type": "UInt64"}], "data": []}')
    assert frame == Frame((Field("n", "number", []),))
    assert frame.row_count == 0


def test_a_time_of_the_servers_zone_is_refused() -> None:
    with pytest.raises(
        UsageError,
        match=re.escape("column `t` is a DateTime of the server's time zone; select toTimeZone(t, 'UTC')"),
    ):
        read_frame('{"meta": [{"name": "t", "type": "DateTime"}], "data": [["2024-01-01 00:00:00"]]}')
