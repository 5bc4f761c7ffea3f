"""Merged sketches of closed windows: the blobs that segments left, checked and put together in log order."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from batch.rows.frames import Span
from driftline.clock import to_ms
from driftline.contract.model import Contract
from driftline.errors import InputDataError, StoreError
from driftline.store import Store
from driftline.windows import granularity

if TYPE_CHECKING:
    from driftline.profiles import Profile


@dataclass(frozen=True, slots=True)
class Blob:
    """One segment's profile of one window, as stored."""

    body: bytes
    crc32: int
    library: str
    place: str


def merged_profile(
    store: Store, contract: Contract, window_start: datetime, stream: str = "inputs", model_version: str = ""
) -> Profile:
    """Return the profile of the window of ``windows.profile`` that begins at ``window_start``.

    Raises:
        InputDataError: no profile of that window is stored.
        StoreError: a stored profile is damaged.
    """
    span = Span(contract.windows.profile, (to_ms(window_start),))
    blobs = read_blobs(store, contract, span, stream).get((to_ms(window_start), model_version), [])
    if not blobs:
        of_version = f" of version {model_version}" if model_version else ""
        msg = (
            f"there is no profile of {stream}{of_version} for the window that begins {window_start:%Y-%m-%dT%H:%MZ}; "
            f"windows are {granularity(contract.windows.profile)} long; see `driftline metrics --metric row_count`"
        )
        raise InputDataError(msg)
    return merge_blobs(blobs)


def read_blobs(
    store: Store, contract: Contract, span: Span, stream: str = "inputs or predictions"
) -> dict[tuple[int, str], list[Blob]]:
    """Return the blobs of a span's windows by (start_ms, model_version), in log order."""
    streams = ["inputs", "predictions"] if stream == "inputs or predictions" else [stream]
    found: dict[tuple[int, str], list[Blob]] = {}
    for row in store.query(_BLOBS, {**span.parameters(contract), "streams": streams}):
        place = f"partition {row['p']}, segment {row['lo']}"
        blob = Blob(base64.b64decode(row["body"]), row["blob_crc32"], row["library"], place)
        found.setdefault((row["start_ms"], row["model_version"]), []).append(blob)
    return found


def merge_blobs(blobs: Sequence[Blob]) -> Profile:
    """Return one profile of all ``blobs`` (at least one).

    Raises:
        StoreError: one is damaged, or they come from different releases of the library.
    """
    from driftline.profiles import Profile

    profiles = []
    for blob in blobs:
        if zlib.crc32(blob.body) != blob.crc32:
            msg = f"the profile of {blob.place} is damaged in the store; consume its segment again"
            raise StoreError(msg)
        if blob.library != blobs[0].library:
            msg = f"profiles of {blobs[0].library} and {blob.library} cannot be merged; consume the older ones again"
            raise StoreError(msg)
        profiles.append(Profile.from_bytes(blob.body))
    merged, *others = profiles
    for profile in others:
        merged.merge(profile)
    return merged


# Only the contract that a segment was last read with counts, as in the view window_counts.
_BLOBS = """
    SELECT b.start_ms AS start_ms, b.model_version AS model_version, b.p AS p, b.lo AS lo, base64Encode(b.blob) AS body,
        b.blob_crc32 AS blob_crc32, b.library AS library
    FROM (
        SELECT *, intDiv(toUnixTimestamp64Milli(window_start), {size:Int64}) * {size:Int64} AS start_ms
        FROM segment_profiles FINAL
        WHERE model = {model:String} AND has({streams:Array(String)}, stream) AND has({starts:Array(Int64)}, start_ms)
    ) AS b
    INNER JOIN (SELECT topic, source_id, p, lo, contract_id FROM segments FINAL) AS s
        ON b.topic = s.topic AND b.source_id = s.source_id AND b.p = s.p AND b.lo = s.lo
        AND b.contract_id = s.contract_id
    ORDER BY start_ms, model_version, b.topic, p, lo
"""
