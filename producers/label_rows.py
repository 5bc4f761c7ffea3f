"""What a row of a file of labels says: an event for the topic of labels, or why it is none.

Rejects what the consumer would make a dead letter of or charge to the column: a label that was loaded counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from driftline.clock import to_ms
from driftline.contract import Contract
from driftline.events import VERSION
from producers.label_files import RawLabel

# As the consumer: a clock may run so far ahead of the log's.
_FUTURE_TOLERANCE = timedelta(minutes=5)
_MAX_ID_CHARACTERS = 1_024


class BadLabel(Exception):  # not a failure of ours: the outcome of one row
    """A row is no label; the message says why, without its place."""


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """A label ready to send: its key and its bytes."""

    key: bytes
    value: bytes
    label_time_ms: int


class LabelReader:
    """Turns rows into events by one contract; ``label_time`` is that of all rows of a file without such a column."""

    def __init__(self, contract: Contract, now: datetime, label_time: datetime | None = None) -> None:
        self._contract = contract
        self._zone = ZoneInfo(contract.event_time.timezone)
        self._floor_ms = to_ms(contract.event_time.floor)
        self._latest_ms = to_ms(now + _FUTURE_TOLERANCE)
        self._fixed_ms = None if label_time is None else to_ms(label_time)
        self._encoder = msgspec.json.Encoder()

    def event(self, row: RawLabel) -> LabelEvent:
        """Return the event of ``row``.

        Raises:
            BadLabel: it is none.
        """
        if row.problem:
            raise BadLabel(row.problem)
        id_, label = _id_of(row.id), self._label_of(row.label)
        at = self._time_of(row.label_time) if self._fixed_ms is None else self._checked(self._fixed_ms, "")
        body = {self._contract.fields.id: id_, "label": label, "label_time": at, "v": VERSION}
        return LabelEvent(id_.encode(), self._encoder.encode(body), at)

    def _label_of(self, value: Any) -> float | str:
        if value is None or (isinstance(value, str) and not value.strip()):
            msg = "the label is empty; leave the row out"
            raise BadLabel(msg)
        return _number(value) if self._contract.task == "regression" else _class(value)

    def _time_of(self, value: Any) -> int:
        if value is None or (isinstance(value, str) and not value.strip()):
            msg = "the label time is empty"
            raise BadLabel(msg)
        if isinstance(value, str):
            text = value.strip()
            return self._checked(int(text) if text.lstrip("-").isdecimal() else self._parsed(text), text)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return self._checked(value, str(value))
        if isinstance(value, datetime):
            return self._checked(to_ms(self._aware(value)), str(value))
        if isinstance(value, date):
            return self._checked(self._parsed(value.isoformat()), str(value))
        msg = f"the label time must be a time; got {_short(value)}"
        raise BadLabel(msg)

    def _parsed(self, text: str) -> int:
        try:
            return to_ms(self._aware(datetime.fromisoformat(text)))
        except ValueError as error:
            rule = "the label time must be ISO 8601, such as 2023-02-20T06:30:00, or epoch milliseconds"
            msg = f"{rule}; got {_short(text)}"
            raise BadLabel(msg) from error

    def _aware(self, moment: datetime) -> datetime:
        """Return ``moment`` in the contract's zone where it names none; of an hour that comes twice the first."""
        if moment.tzinfo is not None:
            return moment
        aware = moment.replace(tzinfo=self._zone)
        try:
            there_and_back = aware.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None)
        except OverflowError as error:
            msg = f"the label time must lie between the years 1 and 9999 in UTC; got {moment.isoformat()}"
            raise BadLabel(msg) from error
        if there_and_back != moment:
            msg = f"the label time {moment.isoformat()} does not exist in {self._zone.key}, whose clocks went forward"
            raise BadLabel(msg)
        return aware

    def _checked(self, at_ms: int, text: str) -> int:
        if at_ms < self._floor_ms:
            floor = f"{self._contract.event_time.floor:%Y-%m-%d}"
            hint = "; a number is epoch milliseconds" if text.lstrip("-").isdecimal() else ""
            msg = f"the label time must be {floor} (the contract's `event_time.floor`) or later; got {text}{hint}"
            raise BadLabel(msg)
        if at_ms > self._latest_ms:
            msg = f"the label time lies in the future; got {text}"
            raise BadLabel(msg)
        return at_ms


def _id_of(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # what a column of whole numbers becomes once a row lacks one
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if value is not None and not isinstance(value, str | int):
        msg = f"the id must be text or a whole number; got {_short(value)}"
        raise BadLabel(msg)
    if not text:
        msg = "the id is empty"
        raise BadLabel(msg)
    if len(text) > _MAX_ID_CHARACTERS:
        msg = f"the id must have at most {_MAX_ID_CHARACTERS} characters; got {len(text)}"
        raise BadLabel(msg)
    return _readable(text, "id")


def _number(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        msg = f"the label must be a number; got {_short(value)}"
        raise BadLabel(msg)
    return number


def _class(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int):
        msg = f"the label must be a class: text or a whole number; got {_short(value)}"
        raise BadLabel(msg)
    return _readable(str(value), "label")


def _readable(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"the {what} is not UTF-8"
        raise BadLabel(msg) from error
    return text


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
