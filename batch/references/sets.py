"""Reference sets: what windows are compared with, kept as rows in the store so that any worker sees the same.

A set's id is the hash of its rows and of the contract's parts that give them meaning: the same month built
twice is one set. Its facts (vocabularies, quantiles, quality per version) are computed once, when it is built.
Rows are kept as they come, those of other months too; only quality leaves out labels outside the valid range.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from datetime import datetime

import msgspec

from batch.results import ErrorShape
from batch.workers.process import ReferenceRows
from driftline.errors import DamagedReference, InputDataError
from driftline.store import Store

FACTS_VERSION = 2
"""Part of every reference's id: goes up when facts are added, so that the same rows built again get them."""
PREDICTION_PREFIX = "prediction."
PROBABILITY_PREFIX = "probability."
"""Before VERSION.CLASS: what a version of a classifier gave to a class."""


class ReferenceFacts(msgspec.Struct, frozen=True):
    """What is known of a set: exact over all its rows, of which only ``sampled_rows`` are kept.

    Production gives a set ``MOST_ROWS`` at most, and the values that categories had in all rows of its period.
    ``quality`` maps a version to its metrics over the rows with a valid label, ``errors`` to how its errors lie.
    ``label_median`` and ``class_shares`` (a binary model's negatives are ``""``) are what a dummy would answer.
    """

    rows: int
    sampled_rows: int
    vocabularies: dict[str, list[str]]
    quantiles: dict[str, dict[str, float]]
    missing_shares: dict[str, float]
    quality: dict[str, dict[str, float]]
    errors: dict[str, ErrorShape] = {}
    label_median: float | None = None
    class_shares: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class ReferenceInfo:
    """A set as it is listed; the one promoted last is current."""

    reference_id: str
    source: str
    created: datetime
    promoted: datetime
    window_start: datetime
    window_end: datetime
    n_rows: int
    contract_id: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """A set as jobs use it."""

    reference_id: str
    facts: ReferenceFacts
    parquet: bytes

    @property
    def rows(self) -> ReferenceRows:
        """What a worker is sent."""
        return ReferenceRows(self.reference_id, self.parquet)


def load_reference(store: Store, model: str, reference_id: str | None = None) -> Reference | None:
    """Return a set, the current one unless named; None where there is none.

    Raises:
        DamagedReference: the stored rows or facts are.
    """
    rows = store.query(
        "SELECT reference_id, facts, frame, frame_crc32 FROM reference_sets FINAL WHERE model = {model:String} "
        "AND (reference_id = {id:String} OR {id:String} = '') ORDER BY promoted DESC, reference_id LIMIT 1",
        {"model": model, "id": reference_id or ""},
    )
    if not rows:
        return None
    row = rows[0]
    try:
        parquet = base64.b64decode(row["frame"], validate=True)
    except ValueError as error:
        raise _damaged(model, row["reference_id"]) from error
    if zlib.crc32(parquet) != row["frame_crc32"]:
        raise _damaged(model, row["reference_id"])
    return Reference(row["reference_id"], _decoded(model, row["reference_id"], row["facts"]), parquet)


def _decoded(model: str, reference_id: str, facts: str) -> ReferenceFacts:
    try:
        return msgspec.json.decode(facts, type=ReferenceFacts)
    except msgspec.DecodeError as error:
        raise _damaged(model, reference_id) from error


def _damaged(model: str, reference_id: str) -> DamagedReference:
    msg = f"reference {reference_id} of {model} is damaged in the store; build it again from its rows"
    return DamagedReference(msg)


def list_references(store: Store, model: str) -> list[ReferenceInfo]:
    """Return the sets of ``model``, the current one first."""
    rows = store.query(
        "SELECT reference_id, source, created, promoted, window_start, window_end, n_rows, contract_id "
        "FROM reference_sets FINAL WHERE model = {model:String} ORDER BY promoted DESC, reference_id",
        {"model": model},
    )
    return [ReferenceInfo(**row, is_current=index == 0) for index, row in enumerate(rows)]


def reference_info(store: Store, model: str, reference_id: str) -> ReferenceInfo:
    """Return one set as it is listed.

    Raises:
        InputDataError: there is no such set.
    """
    listed = list_references(store, model)
    for info in listed:
        if info.reference_id == reference_id:
            return info
    names = ", ".join(info.reference_id for info in listed) or "none"
    msg = f"there is no reference {reference_id} of {model}; known: {names}; see `driftline reference ls`"
    raise InputDataError(msg)


def reference_facts(store: Store, model: str, reference_id: str) -> ReferenceFacts:
    """Return what is known of a set, without its rows.

    Raises:
        InputDataError: there is no such set.
        DamagedReference: its facts are damaged.
    """
    facts = store.scalar(
        "SELECT facts FROM reference_sets FINAL WHERE model = {model:String} AND reference_id = {id:String}",
        {"model": model, "id": reference_info(store, model, reference_id).reference_id},
    )
    return _decoded(model, reference_id, facts)


def promote(store: Store, model: str, reference_id: str) -> None:
    """Make a set the current one; windows judged against another become due.

    Raises:
        InputDataError: there is no such set.
    """
    reference_info(store, model, reference_id)
    store.execute(
        "INSERT INTO reference_sets SELECT * REPLACE ({promoted:DateTime64(3, 'UTC')} AS promoted) "
        "FROM reference_sets FINAL WHERE model = {model:String} AND reference_id = {id:String}",
        {"model": model, "id": reference_id, "promoted": next_promotion(store, model)},
    )


def next_promotion(store: Store, model: str) -> datetime:
    """Return now, or a moment after the latest promotion where a clock was ahead: the last to promote wins."""
    moment: datetime = store.scalar(
        "SELECT greatest(now64(3, 'UTC'), max(promoted) + toIntervalMillisecond(1)) FROM reference_sets "
        "WHERE model = {model:String}",
        {"model": model},
    )
    return moment
