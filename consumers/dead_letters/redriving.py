"""Dead letters sent through the log once more: the same bytes, the same partition, a header that says of what.

The record comes from the log, or from the store where that kept all of it; what comes is checked against the hash of
the letter. Its row changes only after the log has acknowledged the copy. A crash in between sends a second copy, which
the consumer counts as a duplicate, since the first one came earlier in the same partition; and a copy that is a dead
letter again refers to the first and is listed under it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from consumers.dead_letters.letters import Choice, Letter, Place, act, in_order
from consumers.decoding.lineage import Origin
from driftline.errors import OffsetOutOfRange, TopicNotFound, TransportUnavailable
from driftline.store import Store
from driftline.transport import Consumer, Headers, Partition, TopicDescription, Transport

MAX_REDRIVES = 5  # the same bytes do not get better; a contract seldom takes more than a few attempts to mend
_READ_RECORDS = 200
_READ_POLLS = 30
_POLL_SECONDS = 1.0

_Found = Mapping[int, tuple[bytes, Headers]]


@dataclass(slots=True)
class Summary:
    """What a redrive did, or would do: letters sent again, and how often each reason stood against it."""

    sent: int = 0
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Copy:
    letter: Letter
    value: bytes
    headers: Headers

    @property
    def number(self) -> int:
        return self.letter.redrives + 1


def redrive(
    store: Store,
    transport: Transport,
    choice: Choice,
    actor: str,
    *,
    dry_run: bool = False,
    report: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Send the chosen letters once more, a page at a time, and mark those that the log has acknowledged.

    Raises:
        TransportError: the log cannot be read or written; what was not marked is sent again by the next redrive.
    """
    done = Summary()
    source = _Source(transport)
    try:
        for page in in_order(store, choice):
            copies = list(_copies(source, page, done))
            if not dry_run:
                _send(transport, copies)
                _mark(store, copies, actor)
            done.sent += len(copies)
            report(done)
    finally:
        source.close()
    return done


def _copies(source: _Source, page: Sequence[Letter], done: Summary) -> Iterable[_Copy]:
    for place, group in groupby(page, key=lambda letter: (letter.place.topic, letter.place.partition)):
        letters = list(group)
        records = source.records(Partition(*place), [letter for letter in letters if not _hopeless(letter)])
        for letter in letters:
            refusal = _hopeless(letter) or source.refusal(letter)
            found = None if refusal else _content(letter, records)
            if found is None:
                done.refused[refusal or _LOST] += 1
            else:
                value, headers = found
                yield _Copy(letter, value, _origin(letter.place, letter.redrives + 1).headers(headers))


def _hopeless(letter: Letter) -> str:
    """Return why no copy of this letter is ever sent, or an empty text."""
    if letter.status == "copy":
        return "it is itself a copy; the letter that it is a copy of can be redriven"
    if letter.raw_bytes == 0:
        return "it has no value, which no contract makes an event; discard it"
    if letter.redrives >= MAX_REDRIVES:
        return f"it was redriven {MAX_REDRIVES} times already; discard it, or mend the event and send it yourself"
    return ""


_LOST = "the log no longer keeps it and the store holds only a part of it, or nothing"


def _content(letter: Letter, records: _Found) -> tuple[bytes, Headers] | None:
    candidates = [records.get(letter.place.offset), (letter.raw, ())]
    wanted = letter.raw_sha256
    return next((found for found in candidates if found and hashlib.sha256(found[0]).hexdigest() == wanted), None)


def _origin(place: Place, number: int) -> Origin:
    return Origin(place.source_id, place.partition, place.offset, number)


def _send(transport: Transport, copies: Sequence[_Copy]) -> None:
    if not copies:
        return
    with transport.producer() as producer:
        for copy in copies:
            place = copy.letter.place
            partition = Partition(place.topic, place.partition)
            producer.send(partition, key=None, value=copy.value, headers=copy.headers)
        producer.flush()


def _mark(store: Store, copies: Sequence[_Copy], actor: str) -> None:
    for number in sorted({copy.number for copy in copies}):
        places = [copy.letter.place for copy in copies if copy.number == number]
        act(store, places, "redriven", actor, redrives=number)


class _Source:
    """Reads records where they stand in the log."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._consumer: Consumer = transport.consumer()
        self._topics: dict[str, TopicDescription | None] = {}

    def refusal(self, letter: Letter) -> str:
        """Return why the letter's partition takes no copy, or an empty text."""
        topic = self._describe(letter.place.topic)
        if topic is None or topic.partitions <= letter.place.partition:
            return "its topic or its partition is gone"
        return ""

    def records(self, partition: Partition, letters: Sequence[Letter]) -> _Found:
        """Return value and headers of the letters' records, by offset, as far as the log still keeps them."""
        topic = self._describe(partition.topic)
        if topic is None or topic.partitions <= partition.index:
            return {}
        offsets = [letter.place.offset for letter in letters if letter.place.source_id == topic.topic_id]
        begin = self._consumer.begin_offsets([partition])[partition] if offsets else 0
        found: dict[int, tuple[bytes, Headers]] = {}
        for offset in sorted(offset for offset in offsets if offset >= begin):
            if offset not in found:
                found |= self._read_at(partition, offset)
        return {offset: found[offset] for offset in offsets if offset in found}

    def close(self) -> None:
        """Release the log."""
        self._consumer.close()

    def _read_at(self, partition: Partition, offset: int) -> dict[int, tuple[bytes, Headers]]:
        """Return the records that come with the one at ``offset``; without it where the log no longer has it."""
        self._consumer.assign({partition: offset})
        for _ in range(_READ_POLLS):
            try:
                batches = self._consumer.poll(_POLL_SECONDS, _READ_RECORDS)
            except OffsetOutOfRange:
                return {}
            for batch in batches:
                return {
                    at: (batch.values[index] or b"", batch.headers.get(index, ()))
                    for index, at in enumerate(batch.offsets)
                }
        msg = f"{partition} did not return the record at offset {offset} within {_READ_POLLS} s; try again"
        raise TransportUnavailable(msg)

    def _describe(self, topic: str) -> TopicDescription | None:
        if topic not in self._topics:
            try:
                self._topics[topic] = self._transport.describe_topic(topic)
            except TopicNotFound:
                self._topics[topic] = None
        return self._topics[topic]
