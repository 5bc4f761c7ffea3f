"""Notes on the time axis: what people write, and the changes that runs notice by themselves.

A note's key is (model, at, kind, title): writing it again changes its text and adds nothing. Changes are looked up
before every run of jobs, in what the store already says of versions, references and contracts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec

from batch.ledger.history import first_seen
from batch.ledger.ledger import Tally
from batch.references.sets import list_references
from driftline.clock import from_ms
from driftline.contract.model import Contract
from driftline.errors import UsageError
from driftline.store import Store

NOTE, DEPLOY, REFERENCE, CONTRACT = "note", "deploy", "reference", "contract"


@dataclass(frozen=True, slots=True)
class Annotation:
    """A moment or, with ``until``, a period, and what there is to say of it."""

    at: datetime
    kind: str
    title: str
    text: str = ""
    until: datetime | None = None
    tags: tuple[str, ...] = ()


def annotate(store: Store, model: str, annotation: Annotation) -> None:
    """Store a note; the same moment, kind and title replace it.

    Raises:
        UsageError: it has no title, or ends before it begins.
    """
    if not annotation.title.strip():
        msg = "an annotation needs a text; write what happened"
        raise UsageError(msg)
    if annotation.until is not None and annotation.until < annotation.at:
        msg = f"`--until` must not be before `--at`; got {annotation.until:%Y-%m-%dT%H:%MZ}; swap them"
        raise UsageError(msg)
    _insert(store, model, [annotation])


def list_annotations(store: Store, model: str) -> list[Annotation]:
    """Return the notes of ``model``, oldest first."""
    rows = store.query(
        "SELECT at, toString(kind) AS kind, title, text, until, tags FROM annotations FINAL "
        "WHERE model = {model:String} ORDER BY at, kind, title",
        {"model": model},
    )
    return [Annotation(**{**row, "tags": tuple(row["tags"])}) for row in rows]


def annotate_changes(
    store: Store, contract: Contract, counts: Mapping[tuple[str, str], Mapping[int, Tally]]
) -> list[Annotation]:
    """Note the changes that are not noted yet, and return them; ``counts`` are a snapshot's.

    New model versions (in event time), promoted references and changed contracts (when they were stored).
    """
    known = {(note.kind, note.title) for note in list_annotations(store, contract.model)}
    changes = (*_deploys(counts), *_promotions(store, contract.model), *_contracts(store, contract.model))
    new = [change for change in changes if (change.kind, change.title) not in known]
    _insert(store, contract.model, new)
    return new


def _deploys(counts: Mapping[tuple[str, str], Mapping[int, Tally]]) -> Iterator[Annotation]:
    for (stream, version), tallies in counts.items():
        if stream == "predictions" and tallies:
            first = from_ms(first_seen(tallies))
            yield Annotation(first, DEPLOY, f"version {version}", "first predictions of this version")


def _promotions(store: Store, model: str) -> Iterator[Annotation]:
    for info in list_references(store, model):
        when = f"{info.promoted:%Y-%m-%dT%H:%M:%SZ}"
        text = f"{info.n_rows:,} rows of {info.source}"
        yield Annotation(info.promoted, REFERENCE, f"reference {info.reference_id} at {when}", text)


def _contracts(store: Store, model: str) -> Iterator[Annotation]:
    rows = store.query(
        "SELECT contract_id, contract_seq, body, registered FROM contracts FINAL WHERE model = {model:String} "
        "ORDER BY contract_seq",
        {"model": model},
    )
    for before, row in pairwise(rows):
        changed = ", ".join(changed_keys(before["body"], row["body"])) or "nothing but its order"
        title = f"contract {row['contract_id']} ({row['contract_seq']})"
        yield Annotation(row["registered"], CONTRACT, title, f"changed: {changed}")


def changed_keys(before: str, after: str) -> list[str]:
    """Return the keys by which two contracts differ (``a.b``, two levels deep), in order."""
    old, new = (_flat(msgspec.json.decode(body)) for body in (before, after))
    return sorted(key for key in {*old, *new} if old.get(key) != new.get(key))


def _flat(body: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in body.items():
        if isinstance(value, dict):
            found |= {f"{key}.{name}": part for name, part in value.items()}
        else:
            found[key] = value
    return found


def _insert(store: Store, model: str, annotations: Sequence[Annotation]) -> None:
    rows = [{"model": model, **asdict(note), "tags": list(note.tags)} for note in annotations]
    store.insert_rows("annotations", rows)
