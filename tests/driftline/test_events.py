from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.events import (
    LATEST_MARKER_MS,
    MARKER_HEADER,
    Input,
    Label,
    Marker,
    Prediction,
    encode,
    find_marker,
    marker_headers,
)


def test_events_are_written_as_the_wire_format_says() -> None:
    assert encode(Input("a", 5, {"x": 1.5, "y": None})) == (
        b'{"id":"a","event_time":5,"features":{"x":1.5,"y":null},"v":1}'
    )
    assert json.loads(encode(Prediction("a", 5, "v1", {"cat": 0.25, "dog": 0.75}, 2.5))) == {
        "id": "a",
        "event_time": 5,
        "model_version": "v1",
        "prediction": {"cat": 0.25, "dog": 0.75},
        "latency_ms": 2.5,
        "status": "ok",
        "v": 1,
    }
    assert encode(Label("a", "cat", 7)) == b'{"id":"a","label":"cat","label_time":7,"v":1}'


@given(st.text(), st.integers(0, LATEST_MARKER_MS), st.booleans())
def test_a_marker_reads_back_from_its_headers(producer: str, up_to: int, end: bool) -> None:
    marker = Marker(producer, up_to, end)

    assert find_marker((("trace", b"\xff"), *marker_headers(marker))) == marker


def test_headers_without_a_marker_hold_none() -> None:
    assert find_marker(()) is None
    assert find_marker((("driftline-markers", b"{}"), ("trace", b""))) is None


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"", "Input data was truncated"),
        (b"{}", "Object missing required field `producer`"),
        (b'{"producer":"a","up_to":-1}', "Expected `int` >= 0 - at `$.up_to`"),
        (b'{"producer":"a","up_to":10413792000000}', "Expected `int` <= 10413791999999 - at `$.up_to`"),
        (b'{"producer":"a","up_to":1.5}', "Expected `int`, got `float` - at `$.up_to`"),
    ],
)
def test_a_marker_that_cannot_be_read_says_why(value: bytes, error: str) -> None:
    with pytest.raises(ValueError, match="marker header") as caught:
        find_marker(((MARKER_HEADER, value),))

    assert str(caught.value) == f"marker header cannot be read: {error}"


@given(st.binary(max_size=80))
def test_any_marker_header_is_a_marker_or_a_value_error(value: bytes) -> None:
    try:
        marker = find_marker(((MARKER_HEADER, value),))
    except ValueError:
        return
    assert marker is not None


def test_a_marker_nested_ten_thousand_deep_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="marker header cannot be read"):
        find_marker(((MARKER_HEADER, b'{"x":' + b"[" * 10_000),))
