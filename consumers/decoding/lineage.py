"""Which dead letter a record is a copy of: two headers that redriving writes and the consumer reads back.

The copy keeps the headers of the record; whatever a stranger writes into ours is either a place in a log or ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from driftline.transport import Headers

ORIGIN_HEADER = "x-redrive-of"
NUMBER_HEADER = "x-redrive-number"
MAX_NUMBER = 65_535  # what the column holds
_ORIGIN = re.compile(rb"[!-.0-~]{1,200}/\d{1,5}/\d{1,19}")


@dataclass(frozen=True, slots=True)
class Origin:
    """A record of a log, by its topic's identity, and the how many-eth copy of it this is (from 1)."""

    source_id: str
    partition: int
    offset: int
    number: int = 1

    @property
    def text(self) -> str:
        """The place as the header and the column ``redrive_of`` spell it."""
        return f"{self.source_id}/{self.partition}/{self.offset}"

    def headers(self, others: Headers = ()) -> Headers:
        """Return the headers of the copy: those of the record, and ours."""
        kept = tuple(header for header in others if header[0] not in (ORIGIN_HEADER, NUMBER_HEADER))
        return (*kept, (ORIGIN_HEADER, self.text.encode()), (NUMBER_HEADER, str(self.number).encode()))


def find_origin(headers: Headers) -> Origin | None:
    """Return what the record is a copy of, or None.

    >>> find_origin(Origin("9f", 0, 17, number=2).headers())
    Origin(source_id='9f', partition=0, offset=17, number=2)
    >>> find_origin(((ORIGIN_HEADER, b"nonsense"),))
    """
    found = dict(headers)
    place, number = found.get(ORIGIN_HEADER, b""), found.get(NUMBER_HEADER, b"1")
    if not _ORIGIN.fullmatch(place) or not re.fullmatch(rb"\d{1,5}", number):
        return None
    source_id, partition, offset = place.decode("ascii").split("/")
    return Origin(source_id, int(partition), int(offset), max(1, min(int(number), MAX_NUMBER)))
