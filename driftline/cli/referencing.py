"""From a file or a period to a reference set, and from an id to what it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import pandas as pd

    from batch.references.sets import Reference, ReferenceFacts
    from batch.references.use import ReferenceUse
    from batch.workers.pool import Workers
    from driftline.contract import Contract
    from driftline.store import Store
    from driftline.windows import Window


@dataclass(frozen=True, slots=True)
class KnownReference:
    """A reference of any kind: ``source`` is a file's name, ``production``, or ``trailing`` or ``seasonal`` for a past.

    ``hours`` are the hours of a seasonal past as ``batch.ledger.history.season_of`` counts them.
    """

    reference_id: str
    source: str
    is_current: bool
    created: datetime
    window_start: datetime
    window_end: datetime
    n_rows: int
    contract_id: str
    hours: tuple[int, ...]
    facts: ReferenceFacts
    used_by: tuple[ReferenceUse, ...]


def chosen_source(file: Path | None, from_: str | None, to: str | None) -> Path | Window:
    """Return what to build a reference from.

    Raises:
        UsageError: it is nothing, or two things at once.
    """
    from driftline.cli.moments import moment_of
    from driftline.errors import UsageError
    from driftline.windows import Window

    if to is None:
        if (file is None) == (from_ is None):
            msg = "a reference is built from one of FILE and --from FILE, or from --from and --to in production"
            raise UsageError(msg)
        return file or Path(str(from_))
    if from_ is None or file is not None:
        msg = "`--to` needs `--from`, a moment, and no file"
        raise UsageError(msg)
    window = Window(moment_of("--from", from_), moment_of("--to", to))
    if window.start >= window.end:
        msg = f"`--to` must be after `--from`; got {from_} and {to}; swap them"
        raise UsageError(msg)
    return window


def build_chosen(
    home: Path,
    contract: Contract,
    store: Store,
    workers: Workers,
    source: Path | Window,
    *,
    with_unlabelled: bool = False,
) -> str:
    """Make ``source`` the current reference and return its id.

    Raises:
        InputDataError: it gives no rows.
    """
    from batch.references.production_sets import build_from_production

    if isinstance(source, Path):
        return build_from_file(home, contract, store, workers, source)
    return build_from_production(store, contract, source, workers, with_unlabelled=with_unlabelled)


def build_from_file(home: Path, contract: Contract, store: Store, workers: Workers, file: Path) -> str:
    """Make ``file`` the current reference and return its id.

    A file with ``event_time``, ``label`` and the contract's columns is taken as it is, with a column
    ``prediction.VERSION`` per version. Any other must be a month of trips, on which absent versions are trained.

    Raises:
        InputDataError: it is neither.
    """
    from batch.references.building import build_reference
    from batch.references.rows import holds_rows, read_rows

    frame = read_rows(file, contract) if holds_rows(file, contract) else _predicted_trips(home, contract, file)
    return build_reference(store, contract, frame, contract.versions.all, file.name, workers)


def known_reference(store: Store, model: str, reference_id: str) -> KnownReference:
    """Return what is known of a set or of a past.

    Raises:
        InputDataError: there is neither of that id.
    """
    from batch.references.past import load_past
    from batch.references.sets import reference_facts, reference_info
    from batch.references.use import uses_of

    used_by = tuple(uses_of(store, model, reference_id))
    if past := load_past(store, model, reference_id):
        return KnownReference(
            reference_id=reference_id,
            source="seasonal" if past.period.seasons else "trailing",
            is_current=False,
            created=past.created,
            window_start=past.period.start,
            window_end=past.period.end,
            n_rows=past.n_rows,
            contract_id=past.contract_id,
            hours=past.period.seasons,
            facts=past.facts,
            used_by=used_by,
        )
    info = reference_info(store, model, reference_id)
    return KnownReference(
        reference_id=reference_id,
        source=info.source,
        is_current=info.is_current,
        created=info.created,
        window_start=info.window_start,
        window_end=info.window_end,
        n_rows=info.n_rows,
        contract_id=info.contract_id,
        hours=(),
        facts=reference_facts(store, model, reference_id),
        used_by=used_by,
    )


def rows_of(store: Store, contract: Contract, workers: Workers, reference_id: str) -> Reference:
    """Return a set, or a past that is still as it was, with its rows.

    Raises:
        InputDataError: there is neither of that id.
    """
    from batch.references.past import load_past, reread_past
    from batch.references.sets import load_reference, reference_info

    if past := load_past(store, contract.model, reference_id):
        return reread_past(store, contract, workers, past)
    info = reference_info(store, contract.model, reference_id)
    found = load_reference(store, contract.model, info.reference_id)
    assert found is not None  # noqa: S101  # listed a moment ago
    return found


def tell_of_pasts(contract: Contract) -> None:
    """Say on standard error that windows are not compared with a set, where the contract has it so."""
    rule = contract.reference
    if rule.kind != "fixed":
        past = f"the {rule.length} days before it (reference.kind {rule.kind})"
        typer.echo(f"{contract.model} compares each window with {past}, not a set", err=True)


def _predicted_trips(home: Path, contract: Contract, month_file: Path) -> pd.DataFrame:
    from batch.references.rows import decide
    from batch.references.sets import PREDICTION_PREFIX, PROBABILITY_PREFIX
    from producers.model_files import load_models, train_if_absent
    from producers.outcomes import outcomes_of
    from producers.taxi import read_month

    frame = read_month(month_file).frame
    train_if_absent(home, contract, month_file)
    for model in load_models(home, contract):
        predicted = model.predict(frame)
        if not model.classes:
            frame[PREDICTION_PREFIX + model.version] = predicted
            continue
        for index, name in enumerate(model.classes):
            frame[f"{PROBABILITY_PREFIX}{model.version}.{name}"] = predicted[:, index]
        decide(frame, contract, model.version)
    frame["label"] = outcomes_of(frame["label"].to_numpy(), contract)
    return frame
