"""What every log accepts, whichever backend holds it: names of topics, sizes of records."""

from __future__ import annotations

import re

from driftline.errors import DeliveryFailed, UsageError

MAX_VALUE_BYTES = 10 * 1024 * 1024
MAX_ENVELOPE_BYTES = 64 * 1024
"""Bytes of key and headers together; an id is some tens of bytes."""

MAX_RECORD_BYTES = MAX_VALUE_BYTES + MAX_ENVELOPE_BYTES

_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


def check_topic(name: str, partitions: int) -> None:
    """Check that a topic may have this name (Kafka's rule) and so many partitions.

    Raises:
        UsageError: it may not.
    """
    if not _TOPIC_NAME.fullmatch(name) or name in {".", ".."}:
        msg = f"a topic's name is 1 to 249 of the characters a-z A-Z 0-9 . _ -; got {name!r}"
        raise UsageError(msg)
    if partitions < 1:
        msg = f"topic {name!r} needs 1 partition or more; got {partitions}"
        raise UsageError(msg)


def check_record(key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...]) -> None:
    """Check that a record may be appended.

    Raises:
        DeliveryFailed: it is too large, or has neither key nor value.
    """
    if value is None and key is None:
        msg = "a record needs a key or a value; got neither"
        raise DeliveryFailed(msg)
    if value is not None and len(value) > MAX_VALUE_BYTES:
        msg = f"a record's value has at most {MAX_VALUE_BYTES} bytes; got {len(value)}; send a smaller event"
        raise DeliveryFailed(msg)
    envelope = len(key or b"") + (sum(len(name) + len(content) for name, content in headers) if headers else 0)
    if envelope > MAX_ENVELOPE_BYTES:
        msg = f"a record's key and headers have at most {MAX_ENVELOPE_BYTES} bytes; got {envelope}; use a shorter id"
        raise DeliveryFailed(msg)
