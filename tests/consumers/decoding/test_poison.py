"""Kinds of poison (fault F10), alone and among healthy events: each has one fate, and takes nobody with it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from consumers.decoding.decoder import Decoder
from driftline.store import Store
from tests.consumers.making import APPENDED, T0, contract_of, input_of
from tests.consumers.running import Pipeline

HOSTILE = "</script><script>alert(1)</script>'; DROP TABLE predictions; -- =cmd|' /C calc'!A0 \x1b[2J %s%n{0}"
GOOD = input_of("ok", T0, amount=1)

# What each is sent as, and the reason of its dead letter; None: an event lives on.
KINDS: dict[str, tuple[bytes | None, str | None]] = {
    "no value": (None, "empty_value"),
    "empty": (b"", "empty_value"),
    "blanks": (b" \n\t ", "not_json"),
    "bad UTF-8": (b'{"id":"\xc3\x28"}', "not_utf8"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "not_utf8"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "not_json"),
    "truncated": (GOOD[:-1], "not_json"),
    "two objects": (GOOD + GOOD, "not_json"),
    "single quotes": (GOOD.replace(b'"', b"'"), "not_json"),
    "zero bytes": (b"\0" * 50, "not_json"),
    "pickle": (b"\x80\x04cos\nsystem\n(S'true'\ntR.", "not_utf8"),
    "deep": (b'{"a":' * 10_000 + b"}" * 10_000, "too_deep"),
    "10 MB": (b'"' + b"x" * 10_000_000 + b'"', "too_large"),
    "a list": (b"[" + GOOD + b"]", "envelope"),
    "a number": (b"5", "envelope"),
    "id is a number": (b'{"id":5,"event_time":%d,"features":{}}' % T0, "envelope"),
    "empty id": (input_of("", T0), "envelope"),
    "time is text": (input_of("t", "2023-05-01T00:00:00Z"), "envelope"),
    "time is NaN": (b'{"id":"a","event_time":NaN,"features":{}}', "envelope"),
    "time of 5,000 digits": (b'{"id":"a","event_time":%s,"features":{}}' % (b"9" * 5_000), "envelope"),
    "seconds": (input_of("s", T0 // 1_000), "before_floor"),
    "microseconds": (input_of("us", T0 * 1_000), "in_future"),
    "nanoseconds": (input_of("ns", T0 * 1_000_000), "in_future"),
    "1970": (input_of("0", 0), "before_floor"),
    "before 1970": (input_of("-1", -(10**15)), "before_floor"),
    "2999": (input_of("2999", 32_472_144_000_000), "in_future"),
    "features missing": (b'{"id":"a","event_time":%d}' % T0, "envelope"),
    "NaN in a feature": (b'{"id":"nan","event_time":%d,"features":{"amount":NaN}}' % T0, None),
    "5,000 digits in a feature": (b'{"id":"d","event_time":%d,"features":{"amount":%s}}' % (T0, b"9" * 5_000), None),
    "wrong types": (input_of("w", T0, amount="x", paid="yes", colour=[], since={}), None),
    "markup, SQL, formula, terminal codes": (input_of(HOSTILE, T0, note=HOSTILE, colour=HOSTILE), None),
    "a key twice": (b'{"id":"a","id":"b","event_time":%d,"features":{}}' % T0, None),
    "an unknown key": (b'{"__proto__":1,"id":"p","event_time":%d,"features":{"toString":1}}' % T0, None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_poison_has_one_fate(kind: str) -> None:
    value, reason = KINDS[kind]

    events = Decoder(contract_of(), "inputs").decode([GOOD, value, GOOD], [APPENDED] * 3, set())

    assert [letter.reason for letter in events.dead] == ([reason] if reason else [])
    assert events.ids.count("ok") == 2
    assert all(letter.error.isprintable() for letter in events.dead)


@pytest.mark.parametrize(("share", "burst"), [(0.01, 0), (0.1, 0), (0.01, 100)])
def test_poison_among_events_is_kept_apart_to_the_record(
    store: Store, model: str, tmp_path: Path, share: float, burst: int
) -> None:
    pipeline, rng = Pipeline(store, contract_of(model), tmp_path / "log"), random.Random(10)
    # Without the two that are large, each of which takes as long as a thousand others.
    poison = [value for kind, (value, reason) in KINDS.items() if reason and value and len(value) < 100_000]
    records = [
        rng.choice(poison) if rng.random() < share or 500 <= n < 500 + burst else input_of(f"e{n}", T0 + n * 1_000)
        for n in range(1_500)
    ]

    pipeline.send(records)
    pipeline.consume()

    kept = pipeline.rows("SELECT o FROM dead_letter_status WHERE topic = {topic:String} ORDER BY o")
    assert [row["o"] for row in kept] == [n for n, record in enumerate(records) if record in poison]
    account = pipeline.audit()
    assert (account.ok, account.pending, account.mismatches) == (len(records) - len(kept), 0, ())
