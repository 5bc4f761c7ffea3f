"""The shape of an event on the wire: its envelope, where its columns stand, and what is wrong with a broken one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from consumers.decoding.values import EARLIEST_MS, LATEST_MS, FieldKind, Kind, clean_value, parse_json
from driftline.contract import Contract
from driftline.events import Stream

_LATEST_TIME = 2**62  # what is beyond is no number of milliseconds; the slow way says so
_Moment = Annotated[int, msgspec.Meta(ge=EARLIEST_MS, le=LATEST_MS)]
_Probabilities = Annotated[
    dict[Annotated[str, msgspec.Meta(min_length=1)], Annotated[float, msgspec.Meta(ge=0, le=1)]],
    msgspec.Meta(min_length=1),
]
_FAST_TYPES: dict[FieldKind, Any] = {
    "number": float | None,
    "category": str | int | None,
    "text": str | None,
    "boolean": bool | None,
    "datetime": _Moment | None,
    "outcome": str | int | _Probabilities | None,
}
_ENVELOPE_TIME = {"inputs": "event_time", "predictions": "event_time", "labels": "label_time"}


class Reason(StrEnum):
    """Why a record is no event; the words are kept in the table ``dead_letters``."""

    EMPTY_VALUE = "empty_value"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    ENVELOPE = "envelope"
    BEFORE_FLOOR = "before_floor"
    IN_FUTURE = "in_future"
    MARKER = "marker"
    QUARANTINED = "quarantined"


class DeadRecord(Exception):  # not a failure of ours: the outcome of one record
    """A record that is no event; the message says what was wrong."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a stream's values stand: envelope fields (attribute, JSON name), columns (attribute, JSON name, kind)."""

    id_name: str
    time_name: str
    nested: str | None
    columns: tuple[tuple[str, str, FieldKind], ...]
    extras: tuple[tuple[str, Any, Any], ...] = ()


def shape_of(contract: Contract, stream: Stream) -> Shape:
    """Return the shape that ``contract`` gives to ``stream``."""
    fields, time_name = contract.fields, _ENVELOPE_TIME[stream]
    outcome: Kind = "number" if contract.task == "regression" else "category"
    if stream == "inputs":
        columns = tuple((name, column.field or name, column.type) for name, column in contract.columns.items())
        nested = None if fields.features == "." else fields.features
        return Shape(fields.id, fields.event_time, nested, columns)
    if stream == "predictions":
        extras = (("model_version", str, ...), ("latency_ms", float | None, None), ("status", str, "ok"))
        answer: FieldKind = "number" if outcome == "number" else "outcome"
        return Shape(fields.id, fields.event_time, None, (("prediction", "prediction", answer),), extras)
    return Shape(fields.id, time_name, None, (("label", "label", outcome),))


def struct_of(shape: Shape, floor_ms: int, max_characters: int) -> type[msgspec.Struct]:
    """Return the msgspec struct that reads a well-formed event of this shape; fields in the order of the shape.

    It refuses a time before ``floor_ms`` and names that are empty or longer than ``max_characters``.
    """
    name_type = Annotated[str, msgspec.Meta(min_length=1, max_length=max_characters)]
    moment_type = Annotated[int, msgspec.Meta(ge=floor_ms, le=_LATEST_TIME)]
    values: list[Any] = [(f"c{index}", _FAST_TYPES[kind], None) for index, (_, _, kind) in enumerate(shape.columns)]
    names = {f"c{index}": json_name for index, (_, json_name, _) in enumerate(shape.columns)}
    envelope: list[Any] = [("key", name_type), ("moment", moment_type)]
    rename = {"key": shape.id_name, "moment": shape.time_name}
    for name, kind, default in shape.extras:
        envelope.append((name, name_type) if default is ... else (name, kind, default))
    if shape.nested is None:
        return msgspec.defstruct("Event", envelope + values, rename={**rename, **names}, gc=False)
    features = msgspec.defstruct("Features", values, rename=names, gc=False)
    rename["features"] = shape.nested
    return msgspec.defstruct("Event", [*envelope, ("features", features)], rename=rename, gc=False)


def parse_object(value: bytes) -> dict[str, Any]:
    """Return the JSON object in ``value``, or raise ``DeadRecord``."""
    try:
        body = parse_json(value)
    except UnicodeDecodeError as error:
        raise DeadRecord(Reason.NOT_UTF8, f"the value is not UTF-8: {error.reason} at byte {error.start}") from error
    except ValueError as error:
        raise DeadRecord(Reason.NOT_JSON, f"the value is not JSON: {str(error)[:200]}") from error
    if not isinstance(body, dict):
        raise DeadRecord(Reason.ENVELOPE, f"an event is a JSON object; got {kind_of(body)}")
    return body


def id_of(body: dict[str, Any], shape: Shape) -> str:
    """Return the event's id, or raise ``DeadRecord``."""
    clean, violation = clean_value("text", body.get(shape.id_name))
    if violation is not None or not isinstance(clean, str):
        raise DeadRecord(Reason.ENVELOPE, f"`{shape.id_name}` must be text; got {kind_of(body.get(shape.id_name))}")
    return clean


def time_of(body: dict[str, Any], shape: Shape) -> int:
    """Return the event's time in epoch ms, or raise ``DeadRecord``."""
    moment = body.get(shape.time_name)
    if isinstance(moment, bool) or not isinstance(moment, int):
        raise DeadRecord(
            Reason.ENVELOPE, f"`{shape.time_name}` must be a whole number of epoch ms; got {kind_of(moment)}"
        )
    if abs(moment) > _LATEST_TIME:
        raise DeadRecord(
            Reason.ENVELOPE,
            f"`{shape.time_name}` must be a time in epoch ms; got a number of {len(str(moment))} digits",
        )
    return moment


def extras_of(body: dict[str, Any], shape: Shape) -> Iterator[Any]:
    """Yield the envelope's other fields, or raise ``DeadRecord`` where one that must be there is not."""
    for name, kind, default in shape.extras:
        value = body.get(name, default)
        clean, _ = clean_value("text" if kind is str else "number", value)
        if kind is str and clean is None:
            raise DeadRecord(Reason.ENVELOPE, f"`{name}` must be text; got {kind_of(value)}")
        yield clean


def kind_of(value: Any) -> str:
    """Return what ``value`` is, in words for a message."""
    if isinstance(value, str) and clean_value("text", value)[0] is None:
        return "text with half a character"
    names = {type(None): "nothing", bool: "a boolean", str: "text", list: "a list", dict: "an object"}
    return "nothing" if value is ... else names.get(type(value), "a number")
