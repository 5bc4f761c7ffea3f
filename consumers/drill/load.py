"""The events of a drill, and what every window of them must hold: written down while they are made.

The truth is kept in plain dictionaries, one event at a time, by the definitions of
``docs/reference/events.md``. It shares no code with the consumer's counting, so that both cannot be wrong alike.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from xxhash import xxh64_intdigest

from driftline.events import STREAMS, Input, Label, Prediction, Stream, encode
from driftline.transport.partitioning import partition_for

HOUR_MS = 3_600_000
FIRST_MS = 1_682_899_200_000  # 2023-05-01
MODEL = "drill"
COLUMNS = """\
columns:
  amount: {type: number, range: [0, 100]}
  colour: {type: category, values: [red, green]}
"""
_REMEMBERED = 500  # a repeated event is one of so many before it
_YEAR_2999_MS = 32_472_144_000_000
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Load:
    """How many events per topic, over how many hours of event time, and what share of them is unusual.

    ``duplicate`` are sent again as they were, ``altered`` again with other content, ``poison`` are no events, and
    ``late`` lie up to a day behind; the hour of those may have been complete when they came.
    """

    seed: int
    events: int
    partitions: int = 2
    hours: int = 200
    duplicate: float = 0.02
    altered: float = 0.002
    poison: float = 0.01
    late: float = 0.05


@dataclass(frozen=True, slots=True)
class Record:
    """One record to send; its key decides the partition, unless the drill's topic gets more of them meanwhile."""

    stream: Stream
    partition: int
    key: bytes
    value: bytes


@dataclass(slots=True)
class Tally:
    """What one window of one topic must hold; hash sums are modulo 2**64."""

    n: int = 0
    duplicates: int = 0
    late: int = 0
    identity_sum: int = 0
    id_sum: int = 0


@dataclass(slots=True)
class Truth:
    """What the store must say in the end: a tally per topic and hour, and the bytes of every dead letter, hashed."""

    windows: defaultdict[tuple[Stream, int], Tally] = field(default_factory=lambda: defaultdict(Tally))
    dead: Counter[tuple[Stream, str]] = field(default_factory=Counter)
    records: int = 0
    _watermarks: defaultdict[tuple[Stream, int], int] = field(default_factory=lambda: defaultdict(int))

    def take_event(self, record: Record, event: _Event, *, duplicate: bool) -> None:
        """Note an event; those of one partition must come in the order in which they are sent."""
        self.records += 1
        tally = self.windows[record.stream, event.time_ms - event.time_ms % HOUR_MS]
        place = record.stream, record.partition
        if duplicate:
            tally.duplicates += 1
        else:
            tally.n += 1
            tally.late += event.time_ms - event.time_ms % HOUR_MS + HOUR_MS <= self._watermarks[place]
            tally.identity_sum = tally.identity_sum + xxh64_intdigest(event.identity.encode()) & _MASK
            tally.id_sum = tally.id_sum + xxh64_intdigest(event.name.encode()) & _MASK
        self._watermarks[place] = max(self._watermarks[place], event.time_ms)

    def take_poison(self, record: Record) -> None:
        """Note a record that is no event."""
        self.records += 1
        self.dead[record.stream, hashlib.sha256(record.value).hexdigest()] += 1

    def forget_watermarks(self) -> None:
        """Take note that the topics were made again: no event is late because of what their former lives held."""
        self._watermarks.clear()


@dataclass(frozen=True, slots=True)
class _Event:
    """One event of one topic: its name, the text whose hash it is known by, and its bytes with a figure in them."""

    name: str
    identity: str
    time_ms: int
    figure: float
    body_with: Callable[[float], bytes]

    @property
    def body(self) -> bytes:
        return self.body_with(self.figure)


def records_of(load: Load, truth: Truth) -> Iterator[Record]:
    """Yield the load's records, the same for the same seed, and enter each in ``truth`` as it is yielded."""
    rng = random.Random(load.seed)  # noqa: S311 - replayable, nothing secret
    remembered: dict[Stream, list[_Event]] = {stream: [] for stream in STREAMS}
    for number in range(load.events):
        at = FIRST_MS + number * load.hours * HOUR_MS // load.events
        for stream in STREAMS:
            yield _next_record(load, stream, number, at, rng, remembered[stream], truth)


def _next_record(
    load: Load, stream: Stream, number: int, at: int, rng: random.Random, known: list[_Event], truth: Truth
) -> Record:
    dice = rng.random()
    if dice < load.poison:
        name = f"p{load.seed}-{number}"
        record = _record(load, stream, name, _poison(stream, name, at, rng))
        truth.take_poison(record)
        return record
    again = bool(known) and dice < load.poison + load.duplicate + load.altered
    if again:
        event = rng.choice(known)
    else:
        time_ms = at - rng.randint(0, 24 * HOUR_MS) if rng.random() < load.late else at - rng.randint(0, HOUR_MS)
        event = _event(stream, f"d{load.seed}-{number}", time_ms, rng)
        known[number % _REMEMBERED : number % _REMEMBERED + 1] = [event]
    altered = again and dice >= load.poison + load.duplicate
    record = _record(load, stream, event.name, event.body_with(event.figure + 1) if altered else event.body)
    truth.take_event(record, event, duplicate=again)
    return record


def _record(load: Load, stream: Stream, name: str, value: bytes) -> Record:
    return Record(stream, partition_for(name.encode(), load.partitions), name.encode(), value)


def _event(stream: Stream, name: str, time_ms: int, rng: random.Random) -> _Event:
    colour, version = rng.choice(["red", "green", "blue"]), rng.choice(["v1", "v2"])
    figure = float(rng.randint(0, 120))

    def body(figure: float) -> bytes:
        if stream == "inputs":
            return encode(Input(name, time_ms, {"amount": figure, "colour": colour}))
        if stream == "predictions":
            return encode(Prediction(name, time_ms, version, figure))
        return encode(Label(name, label, time_ms))

    label = figure  # another label of an id is another event; an altered one is not sent
    identity = {"predictions": f"{name}\0{version}", "labels": f"{name}\0{time_ms}\0{label!r}"}.get(stream, name)
    return _Event(name, identity, time_ms, figure, body)


def _poison(stream: Stream, name: str, at: int, rng: random.Random) -> bytes:
    """Return bytes that are no event of the stream; no two are equal."""
    body = _event(stream, name, at, rng).body
    kinds: list[Callable[[], bytes]] = [
        lambda: body[:-1],
        lambda: b"[" + body + b"]",
        lambda: body + body,
        lambda: b"\xef\xbb\xbf" + body,
        lambda: body.replace(name.encode(), b"\xc3\x28" + name.encode()),
        lambda: body.replace(str(at).encode(), b'"noon"'),
        lambda: body.replace(str(at).encode(), b"9" * 5_000),
        lambda: b'{"a":' * 200 + body + b"}" * 200,
        lambda: _event(stream, name, at % HOUR_MS, rng).body,
        lambda: _event(stream, name, _YEAR_2999_MS, rng).body,
    ]
    return rng.choice(kinds)()
