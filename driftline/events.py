"""The wire format: what a producer writes and what every reader may rely on.

Three event types, each JSON, each keyed by the event's id, times in epoch milliseconds UTC:

- input       ``{"v":1,"id":…,"event_time":…,"features":{…}}``
- prediction  ``{"v":1,"id":…,"event_time":…,"model_version":…,"prediction":…,"latency_ms":…,"status":"ok"}``
- label       ``{"v":1,"id":…,"label":…,"label_time":…}``

A *marker* is a record with an empty value and one header: the promise of one producer that no
event older than ``up_to`` follows from it. Owns encoding and the marker; lenient decoding of
strangers' events is ``consumers.decoding.decoder``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

VERSION = 1
MARKER_HEADER = "driftline-marker"
LATEST_MARKER_MS = 10_413_791_999_999  # the end of the year 2299; the store's times end there

Stream = Literal["inputs", "predictions", "labels"]
STREAMS: tuple[Stream, ...] = ("inputs", "predictions", "labels")

FeatureValue = float | int | str | bool | None
Outcome = float | str | Mapping[str, float] | None


class Input(msgspec.Struct, frozen=True):
    """What a model was asked: one request's features."""

    id: str
    event_time: int
    features: Mapping[str, FeatureValue]
    v: int = VERSION


class Prediction(msgspec.Struct, frozen=True):
    """What one model version answered; ``prediction`` is a number, a class, or probabilities by class.

    ``status`` other than ``ok`` says that the service failed; ``prediction`` is then null.
    """

    id: str
    event_time: int
    model_version: str
    prediction: Outcome
    latency_ms: float | None = None
    status: str = "ok"
    v: int = VERSION


class Label(msgspec.Struct, frozen=True):
    """What turned out to be true, known at ``label_time``; a later label of the same id corrects it."""

    id: str
    label: float | str | None
    label_time: int
    v: int = VERSION


class Marker(msgspec.Struct, frozen=True):
    """A producer's promise: no event older than ``up_to`` (epoch ms, exclusive) follows from it in this topic.

    ``end`` marks the producer's last word: it completes windows and never makes an event late.
    """

    producer: str
    up_to: Annotated[int, msgspec.Meta(ge=0, le=LATEST_MARKER_MS)]
    end: bool = False


_encoder = msgspec.json.Encoder()
_marker_decoder = msgspec.json.Decoder(Marker)


def encode(event: Input | Prediction | Label) -> bytes:
    """Return the event's bytes; equal events give equal bytes.

    >>> encode(Label(id="a", label=2.5, label_time=0))
    b'{"id":"a","label":2.5,"label_time":0,"v":1}'
    """
    return _encoder.encode(event)


def marker_headers(marker: Marker) -> tuple[tuple[str, bytes], ...]:
    """Return the headers that make a record a marker (its value is ``b""``)."""
    return ((MARKER_HEADER, _encoder.encode(marker)),)


def find_marker(headers: tuple[tuple[str, bytes], ...]) -> Marker | None:
    """Return the marker that ``headers`` carry, or None.

    Raises:
        ValueError: there is a marker header and it cannot be read.
    """
    for name, value in headers:
        if name == MARKER_HEADER:
            try:
                return _marker_decoder.decode(value)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                msg = f"marker header cannot be read: {error}"
                raise ValueError(msg) from error
    return None
