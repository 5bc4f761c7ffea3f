"""Strangers' bytes to typed columns: what is an event, what is a violation, what is a dead letter.

A batch is decoded in one pass by msgspec into a struct made from the contract. A record that does
not fit goes the slow way, value by value: a wrong type or a non-finite number is a *violation* of
that column and the event lives on with a null; a broken envelope or unparseable bytes make a *dead
letter*. The outcome depends on the record's bytes and append time and on the contract, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from consumers.decoding.answers import PROBABILITIES, Answers
from consumers.decoding.envelopes import (
    DeadRecord,
    Reason,
    extras_of,
    id_of,
    kind_of,
    parse_object,
    shape_of,
    struct_of,
    time_of,
)
from consumers.decoding.values import FieldKind, Kind, Violation, clean_value, nests_deeper_than
from driftline.clock import to_ms
from driftline.contract import Contract
from driftline.events import Stream

MAX_VALUE_BYTES = 1_000_000
MAX_ID_CHARACTERS = 1_024
MAX_NESTING = 64
FUTURE_TOLERANCE_MS = 300_000  # a clock may run five minutes ahead of the log's, not more

IntArray = npt.NDArray[np.int64]
Values = npt.NDArray[Any]  # floats (NaN: missing) for numbers, objects (None: missing) for the rest
_Charge = tuple[str, Violation]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot be an event: its index in the batch, the reason, and what was wrong."""

    index: int
    reason: Reason
    error: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """The events of one batch in offset order, as columns of equal length, and the records that are none.

    ``rows`` holds each event's index in the batch. ``columns`` holds floats (NaN: missing) for numbers and
    objects (None: missing) for the rest. ``envelope`` holds the other fields by name, for predictions of classes also
    their probabilities. ``violations`` maps a column to the events' indices in these columns.
    """

    rows: IntArray
    ids: list[str]
    times_ms: IntArray
    columns: dict[str, Values]
    envelope: dict[str, Sequence[Any]]
    violations: dict[_Charge, list[int]] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, start: int, stop: int) -> Decoded:
        """Return the events ``[start, stop)`` alone, without the dead records."""
        return Decoded(
            rows=self.rows[start:stop],
            ids=self.ids[start:stop],
            times_ms=self.times_ms[start:stop],
            columns={name: values[start:stop] for name, values in self.columns.items()},
            envelope={name: values[start:stop] for name, values in self.envelope.items()},
            violations={
                charge: [at - start for at in events if start <= at < stop]
                for charge, events in self.violations.items()
            },
        )


class Decoder:
    """Decodes one stream of one contract."""

    def __init__(self, contract: Contract, stream: Stream) -> None:
        self._shape = shape_of(contract, stream)
        self._answers = Answers.of(contract)
        self._floor_ms = to_ms(contract.event_time.floor)
        self._names = [(0, self._shape.id_name)]
        self._names += [(2 + at, name) for at, (name, _, default) in enumerate(self._shape.extras) if default is ...]
        self._fast = msgspec.json.Decoder(struct_of(self._shape, self._floor_ms, MAX_ID_CHARACTERS))

    @property
    def kinds(self) -> dict[str, Kind]:
        """The stream's columns and what they hold: an answer of classes is one class, whatever it came as."""
        return {name: "category" if kind == "outcome" else kind for name, _, kind in self._shape.columns}

    def decode(self, values: Sequence[bytes | None], append_times_ms: Sequence[int], skip: set[int]) -> Decoded:
        """Return the events among ``values``; indices in ``skip`` (markers) are passed over."""
        rows: list[int] = []
        events: list[tuple[Any, ...]] = []
        violations: dict[_Charge, list[int]] = {}
        dead: list[DeadLetter] = []
        for index, value in enumerate(values):
            if index in skip:
                continue
            try:
                event, charges = self._decode_one(value, append_times_ms[index])
            except DeadRecord as record:
                dead.append(DeadLetter(index, record.reason, str(record)))
                continue
            for charge in charges:
                violations.setdefault(charge, []).append(len(events))
            rows.append(index)
            events.append(event)
        return self._as_columns(rows, events, violations, dead)

    def _decode_one(self, value: bytes | None, append_ms: int) -> tuple[tuple[Any, ...], Sequence[_Charge]]:
        if not value:
            raise DeadRecord(Reason.EMPTY_VALUE, "the record has no value; an event is a JSON object")
        if len(value) > MAX_VALUE_BYTES:
            raise DeadRecord(Reason.TOO_LARGE, f"the value has {len(value)} bytes; at most {MAX_VALUE_BYTES} are read")
        if nests_deeper_than(MAX_NESTING, value):
            raise DeadRecord(Reason.TOO_DEEP, f"the value nests more than {MAX_NESTING} levels deep")
        charges: Sequence[_Charge] = ()
        try:
            event = self._flatten(self._fast.decode(value))
        except (msgspec.DecodeError, UnicodeDecodeError):
            event, charges = self._decode_slowly(value)
            self._check_envelope(event)
        if event[1] > append_ms + FUTURE_TOLERANCE_MS:
            rule = f"`{self._shape.time_name}` must not lie more than 5 min after the append time {append_ms}"
            raise DeadRecord(Reason.IN_FUTURE, f"{rule}; got {event[1]}")
        return event, charges

    def _flatten(self, decoded: Any) -> tuple[Any, ...]:
        event = msgspec.structs.astuple(decoded)
        return (*event[:-1], *msgspec.structs.astuple(event[-1])) if self._shape.nested else event

    def _decode_slowly(self, value: bytes) -> tuple[tuple[Any, ...], list[_Charge]]:
        shape = self._shape
        body = parse_object(value)
        features = body.get(shape.nested) if shape.nested else body
        if not isinstance(features, dict):
            raise DeadRecord(Reason.ENVELOPE, f"`{shape.nested}` must be an object; got {kind_of(features)}")
        cleaned = [clean_value(kind, features.get(json_name)) for _, json_name, kind in shape.columns]
        names = [name for name, _, _ in shape.columns]
        charges = [(name, violation) for name, (_, violation) in zip(names, cleaned, strict=True) if violation]
        values = (clean for clean, _ in cleaned)
        return (id_of(body, shape), time_of(body, shape), *extras_of(body, shape), *values), charges

    def _check_envelope(self, event: tuple[Any, ...]) -> None:
        """Say which of the limits that the struct keeps too is broken."""
        shape, moment = self._shape, event[1]
        for at, name in self._names:
            if not 0 < len(event[at]) <= MAX_ID_CHARACTERS:
                rule = f"`{name}` must have 1 to {MAX_ID_CHARACTERS} characters"
                raise DeadRecord(Reason.ENVELOPE, f"{rule}; got {len(event[at])}")
        if moment < self._floor_ms:
            rule = f"`{shape.time_name}` must be {self._floor_ms} (epoch ms) or later"
            raise DeadRecord(Reason.BEFORE_FLOOR, f"{rule}; got {moment}")

    def _as_columns(
        self,
        rows: list[int],
        events: list[tuple[Any, ...]],
        violations: dict[_Charge, list[int]],
        dead: list[DeadLetter],
    ) -> Decoded:
        shape = self._shape
        first = 2 + len(shape.extras)
        by_field: list[Any] = list(zip(*events, strict=True)) if events else [()] * (first + len(shape.columns))
        envelope: dict[str, Sequence[Any]] = {
            name: values for (name, _, _), values in zip(shape.extras, by_field[2:first], strict=True)
        }
        if shape.columns and shape.columns[0][2] == "outcome":
            by_field[first], envelope[PROBABILITIES] = self._answers.split(by_field[first])
        return Decoded(
            rows=np.array(rows, dtype=np.int64),
            ids=list(by_field[0]),
            times_ms=np.array(by_field[1], dtype=np.int64),
            columns={
                name: _typed(kind, values)
                for (name, _, kind), values in zip(shape.columns, by_field[first:], strict=True)
            },
            envelope=envelope,
            violations=violations,
            dead=dead,
        )


def _typed(kind: FieldKind, values: tuple[Any, ...]) -> Values:
    if kind == "number":
        return np.array(values, dtype=np.float64)
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    if kind in ("category", "outcome") and int in set(map(type, values)):
        objects[:] = [str(value) if type(value) is int else value for value in values]
    return objects
