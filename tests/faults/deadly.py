"""The ``driftline`` command, except that decoding a record with the word ``deadly`` ends the process on the spot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from consumers import loop
from consumers.decoding.decoder import Decoded, Decoder
from consumers.reading import recovery
from driftline.cli.main import run

_decode = Decoder.decode


def _decode_or_die(
    self: Decoder, values: Sequence[bytes | None], append_times_ms: Sequence[int], skip: set[int]
) -> Decoded:
    if any(b"deadly" in (value or b"") for index, value in enumerate(values) if index not in skip):
        os._exit(137)
    return _decode(self, values, append_times_ms, skip)


if __name__ == "__main__":
    recovery.DEFAULT_SEGMENT_SIZE = 500  # type: ignore[attr-defined]
    loop.Pace = partial(loop.Pace, poll_records=250)  # type: ignore[misc,assignment]
    Decoder.decode = _decode_or_die  # type: ignore[method-assign]
    run()
