"""Any bytes are an event, an event with violations, or a dead letter; nothing else, whoever their neighbours are."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.decoding.decoder import MAX_VALUE_BYTES, Decoded, Decoder
from consumers.decoding.envelopes import Reason
from driftline.events import STREAMS, Stream
from tests.consumers.making import APPENDED, T0, contract_of, input_of, label_of, prediction_of

CONTRACT = contract_of()
DECODERS: dict[Stream, Decoder] = {stream: Decoder(CONTRACT, stream) for stream in STREAMS}
INPUTS, PREDICTIONS, LABELS = (DECODERS[stream] for stream in STREAMS)
GOOD = input_of("a", T0, amount=3.5, colour="red", paid=True, note="hello", since=T0)


def decode_one(value: bytes | None, decoder: Decoder = INPUTS) -> Decoded:
    return decoder.decode([value], [APPENDED], set())


def fate_of(value: bytes | None, decoder: Decoder = INPUTS) -> tuple[str, str]:
    """The reason and the words of the dead letter that ``value`` becomes."""
    (letter,) = decode_one(value, decoder).dead
    return letter.reason, letter.error


def outcome(events: Decoded, row: int) -> tuple[object, ...]:
    """One event as plain values, with what it is charged with."""
    columns = {name: _plain(values[row]) for name, values in events.columns.items()}
    charges = sorted(charge for charge, rows in events.violations.items() if row in rows)
    envelope = {name: _plain(values[row]) for name, values in events.envelope.items()}
    return events.ids[row], int(events.times_ms[row]), columns, envelope, charges


def outcomes(values: list[bytes | None], decoder: Decoder) -> list[object]:
    events = decoder.decode(values, [APPENDED] * len(values), set())
    found: dict[int, object] = {int(index): outcome(events, row) for row, index in enumerate(events.rows)}
    found |= {letter.index: (letter.reason, letter.error) for letter in events.dead}
    return [found[index] for index in range(len(values))]


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
moments = st.integers(T0, T0 + 10**7) | json_values
hostile_inputs = st.builds(
    lambda body: json.dumps(body).encode(),
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.text(max_size=5) | json_values,
            "event_time": moments,
            "label_time": moments,
            "model_version": st.text(max_size=3) | json_values,
            "latency_ms": json_values,
            "status": json_values,
            "prediction": json_values,
            "label": json_values,
            "features": st.dictionaries(st.sampled_from(list(CONTRACT.columns)), json_values) | json_values,
        },
    ),
)
anything = st.none() | st.binary(max_size=200) | hostile_inputs | st.just(GOOD)
cut_short = st.integers(0, len(GOOD)).map(lambda length: GOOD[:length])
flipped = st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)).map(
    lambda change: GOOD[: change[0]] + bytes([change[1]]) + GOOD[change[0] + 1 :]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(anything | cut_short | flipped, max_size=8), st.sampled_from(STREAMS))
def test_any_bytes_become_an_event_or_a_dead_letter_alike_in_any_company(
    values: list[bytes | None], stream: Stream
) -> None:
    together = outcomes(values, DECODERS[stream])

    assert together == [outcomes([value], DECODERS[stream])[0] for value in values]


def test_a_well_formed_event_keeps_every_value() -> None:
    assert outcome(decode_one(GOOD), 0) == (
        "a",
        T0,
        {"amount": 3.5, "colour": "red", "paid": True, "note": "hello", "since": T0},
        {},
        [],
    )


def test_predictions_and_labels_keep_their_envelopes() -> None:
    prediction = decode_one(prediction_of("a", T0, 4, latency_ms=2), PREDICTIONS)
    label = decode_one(label_of("a", T0, 4), LABELS)

    assert outcome(prediction, 0) == (
        "a",
        T0,
        {"prediction": 4.0},
        {"model_version": "v1", "latency_ms": 2.0, "status": "ok"},
        [],
    )
    assert outcome(label, 0) == ("a", T0, {"label": 4.0}, {}, [])


def test_a_category_may_come_as_a_whole_number_and_reads_as_text() -> None:
    events = INPUTS.decode([input_of("a", colour=7), input_of("b", colour="7")], [APPENDED] * 2, set())

    assert events.columns["colour"].tolist() == ["7", "7"]


@pytest.mark.parametrize(
    ("column", "value", "violation"),
    [
        ("amount", "3", "type"),
        ("amount", True, "type"),
        ("amount", [1], "type"),
        ("amount", math.nan, "nonfinite"),
        ("amount", math.inf, "nonfinite"),
        ("amount", -math.inf, "nonfinite"),
        ("amount", 10**400, "nonfinite"),
        ("colour", 1.5, "type"),
        ("colour", False, "type"),
        ("colour", {}, "type"),
        ("paid", 1, "type"),
        ("paid", "true", "type"),
        ("note", 1, "type"),
        ("note", "\ud800", "type"),
        ("since", "yesterday", "type"),
        ("since", "2023-05-01T00:00:00", "type"),
        ("since", 1.5, "type"),
        ("since", 2**62, "type"),
        ("since", -(2**62), "type"),
        ("since", "0001-01-01T00:00:00+23:59", "type"),
        ("since", "9999-12-31T23:59:59-23:59", "type"),
    ],
)
def test_a_value_of_the_wrong_type_is_charged_to_its_column_and_the_event_lives_on(
    column: str, value: object, violation: str
) -> None:
    events = decode_one(input_of("a", T0, **({"amount": 1.5, "colour": "red"} | {column: value})))

    name, _, columns, _, charges = outcome(events, 0)
    assert (name, events.dead, charges) == ("a", [], [(column, violation)])
    expected = {"amount": 1.5, "colour": "red", "paid": None, "note": None, "since": None} | {column: None}
    assert columns == expected


@pytest.mark.parametrize("digits", [b"9" * 5_000, b"-" + b"9" * 5_000, b"9" * 900_000, b"1e999", b"-1e999"])
def test_a_number_beyond_any_float_is_not_finite(digits: bytes) -> None:
    value = b'{"id":"a","event_time":%d,"features":{"amount":%s,"colour":"red"}}' % (T0, digits)

    *_, columns, _, charges = outcome(decode_one(value), 0)

    assert charges == [("amount", "nonfinite")]
    assert columns["colour"] == "red"  # type: ignore[index]


def test_a_date_with_an_offset_is_read_to_the_millisecond() -> None:
    events = decode_one(input_of("a", since="2023-05-01T02:00:00.001+02:00"))

    assert events.columns["since"].tolist() == [T0 + 1]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("since", 2**55),
        ("since", T0),
        ("colour", 7),
        ("colour", 1.0),
        ("amount", 10**30),
        ("note", "x"),
        ("paid", None),
    ],
)
def test_a_column_reads_the_same_whether_or_not_another_one_is_broken(column: str, value: object) -> None:
    alone = outcome(decode_one(input_of("a", **{column: value})), 0)
    other = "amount" if column != "amount" else "paid"

    beside = outcome(decode_one(input_of("a", **{column: value, other: []})), 0)

    assert beside[2] == alone[2]
    assert beside[4] == sorted([*alone[4], (other, "type")])  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "reason", "error"),
    [
        (None, Reason.EMPTY_VALUE, "the record has no value; an event is a JSON object"),
        (b"", Reason.EMPTY_VALUE, "the record has no value; an event is a JSON object"),
        (b"hello", Reason.NOT_JSON, "the value is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"id":"a"', Reason.NOT_JSON, "the value is not JSON: Expecting ',' delimiter: line 1 column 10 (char 9)"),
        (b'{"id":"\xff"}', Reason.NOT_UTF8, "the value is not UTF-8: invalid start byte at byte 7"),
        (b"[1]", Reason.ENVELOPE, "an event is a JSON object; got a list"),
        (b"null", Reason.ENVELOPE, "an event is a JSON object; got nothing"),
        (b"{}", Reason.ENVELOPE, "`features` must be an object; got nothing"),
        (b'{"features":{}}', Reason.ENVELOPE, "`id` must be text; got nothing"),
        (b'{"id":1,"event_time":1,"features":{}}', Reason.ENVELOPE, "`id` must be text; got a number"),
        (input_of(""), Reason.ENVELOPE, "`id` must have 1 to 1024 characters; got 0"),
        (input_of("x" * 1025), Reason.ENVELOPE, "`id` must have 1 to 1024 characters; got 1025"),
        (input_of("a", None), Reason.ENVELOPE, "`event_time` must be a whole number of epoch ms; got nothing"),
        (input_of("a", "now"), Reason.ENVELOPE, "`event_time` must be a whole number of epoch ms; got text"),
        (input_of("a", True), Reason.ENVELOPE, "`event_time` must be a whole number of epoch ms; got a boolean"),
        (
            input_of("a", 10**19),
            Reason.ENVELOPE,
            "`event_time` must be a time in epoch ms; got a number of 20 digits",
        ),
        (input_of("a", 0), Reason.BEFORE_FLOOR, "`event_time` must be 946684800000 (epoch ms) or later; got 0"),
        (
            input_of("a", 32_503_680_000_000),
            Reason.IN_FUTURE,
            f"`event_time` must not lie more than 5 min after the append time {APPENDED}; got 32503680000000",
        ),
        (b"[" * 10_000, Reason.TOO_DEEP, "the value nests more than 64 levels deep"),
        (b'{"a":' * 10_000, Reason.TOO_DEEP, "the value nests more than 64 levels deep"),
        (b"x" * 10_000_000, Reason.TOO_LARGE, "the value has 10000000 bytes; at most 1000000 are read"),
    ],
    ids=lambda value: value[:12].hex() if isinstance(value, bytes) else None,
)
def test_a_record_that_is_no_event_says_why(value: bytes | None, reason: Reason, error: str) -> None:
    assert fate_of(value) == (reason, error)


@pytest.mark.parametrize("digits", [b"9" * 20, b"9" * 4_300, b"9" * 5_000, b"9" * 900_000])
def test_a_time_of_many_digits_is_a_dead_letter(digits: bytes) -> None:
    reason, _ = fate_of(b'{"id":"a","event_time":%s,"features":{}}' % digits)

    assert reason == Reason.ENVELOPE


def test_a_value_of_the_greatest_size_is_still_read() -> None:
    short = input_of("a", note="")

    events = decode_one(input_of("a", note="x" * (MAX_VALUE_BYTES - len(short))))

    assert len(events.columns["note"][0]) == MAX_VALUE_BYTES - len(short)


def test_five_minutes_ahead_of_the_log_is_not_the_future() -> None:
    assert decode_one(input_of("a", APPENDED + 300_000)).ids == ["a"]
    assert fate_of(input_of("a", APPENDED + 300_001))[0] == Reason.IN_FUTURE


@pytest.mark.parametrize("version", ["", "v" * 1_025, "v" * 500_000])
def test_a_model_version_is_as_short_as_an_id(version: str) -> None:
    reason, error = fate_of(prediction_of("a", version=version), PREDICTIONS)

    assert reason == Reason.ENVELOPE
    assert error == f"`model_version` must have 1 to 1024 characters; got {len(version)}"


@pytest.mark.parametrize("field", ["model_version", "status"])
def test_half_a_surrogate_pair_in_the_envelope_is_a_dead_letter(field: str) -> None:
    body = {"id": "a", "event_time": T0, "model_version": "v", "prediction": 1, field: "\ud800"}

    reason, error = fate_of(json.dumps(body).encode(), PREDICTIONS)

    assert (reason, error) == (Reason.ENVELOPE, f"`{field}` must be text; got text with half a character")


def test_an_unreadable_latency_is_no_reason_to_lose_a_prediction() -> None:
    events = decode_one(prediction_of("a", prediction=2.0, latency_ms="fast"), PREDICTIONS)

    assert events.envelope["latency_ms"] == (None,)


def test_markup_and_sql_in_strings_are_strings() -> None:
    hostile = "<script>alert(1)</script>'; DROP TABLE predictions; --"

    events = decode_one(input_of(hostile, note=hostile, colour=hostile))

    assert (events.ids, events.columns["note"].tolist()) == ([hostile], [hostile])


def test_flat_events_keep_their_features_beside_the_envelope() -> None:
    decoder = Decoder(contract_of(extra='fields: {features: ".", id: key, event_time: at}'), "inputs")

    events = decode_one(b'{"key":"a","at":%d,"amount":2,"colour":[]}' % T0, decoder)

    assert outcome(events, 0)[:3] == (
        "a",
        T0,
        {"amount": 2.0, "colour": None, "paid": None, "note": None, "since": None},
    )


def test_a_column_reads_the_field_that_the_contract_names() -> None:
    decoder = Decoder(contract_of(columns="\n  amount: {type: number, field: the amount}"), "inputs")

    events = decode_one(b'{"id":"a","event_time":%d,"features":{"the amount":2,"amount":3}}' % T0, decoder)

    assert events.columns["amount"].tolist() == [2.0]


def test_classes_are_categories() -> None:
    contract = contract_of(extra="task: multiclass")

    events = decode_one(prediction_of("a", prediction="cat"), Decoder(contract, "predictions"))

    assert events.columns["prediction"].tolist() == ["cat"]


def test_a_value_of_unclosed_strings_is_judged_in_one_pass() -> None:
    """The quadratic scan it replaces would take hours for this one record."""
    value = b"[{}]" * 100 + b'"' + b'\\"' * 450_000

    assert fate_of(value)[0] == Reason.NOT_JSON


def test_a_part_of_a_batch_keeps_its_own_violations() -> None:
    values = [input_of(str(number), amount="x" if number % 2 else 1) for number in range(6)]

    part = INPUTS.decode(values, [APPENDED] * 6, set()).part(2, 5)

    assert part.ids == ["2", "3", "4"]
    assert part.violations == {("amount", "type"): [1]}
