"""What to do about a dead letter, by its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consumers.dead_letters.letters import Letter

_AGAIN = "start the consumer again with the mended contract, then `driftline dlq redrive --reason {reason}`"
_NEVER = "these bytes never become an event: mend the producer, then `driftline dlq discard --reason {reason}`"
_BY_REASON = {
    "empty_value": "a record without a value is no event and stays none; " + _NEVER,
    "too_large": "send less than 1,000,000 bytes per event; " + _NEVER,
    "too_deep": "send flat features; " + _NEVER,
    "not_utf8": "encode events as UTF-8; " + _NEVER,
    "not_json": "send one JSON object per record; " + _NEVER,
    "envelope": "compare its keys with `fields` in the contract; if the contract is wrong, " + _AGAIN,
    "before_floor": "times are epoch milliseconds; if they are right, set `event_time.floor` earlier, " + _AGAIN,
    "in_future": "times are epoch milliseconds, and clocks must agree; once that time has come a redrive is taken",
    "marker": "a producer's marker cannot be read; " + _NEVER,
    "quarantined": "reading it ended the process; report it with its bytes; after an upgrade, "
    "`driftline dlq redrive --reason quarantined`",
}


def remedy(letter: Letter) -> str:
    """Return one sentence that says what a person can do."""
    if letter.status == "copy":
        return f"nothing here: it is a copy of {letter.redrive_of}, which can be redriven or discarded"
    if letter.status in ("redriven", "discarded"):
        return "nothing: it was dealt with"
    return _BY_REASON.get(letter.reason, "mend the producer").format(reason=letter.reason)
