"""A reference set out of a period of production, for a model whose past is the best that there is to compare with."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from batch.ledger.history import Period
from batch.references.building import Population, build_reference
from batch.references.production import learned_values, production_rows, with_absent_labels
from batch.workers.pool import Workers
from driftline.contract.model import Contract
from driftline.errors import InputDataError
from driftline.store import Store
from driftline.store.inputs_table import ensure_inputs_table
from driftline.windows import Window


def build_from_production(
    store: Store, contract: Contract, window: Window, workers: Workers, *, with_unlabelled: bool = False
) -> str:
    """Make the rows of ``window`` the current reference and return its id.

    Rows whose label may still come are left out, since those that have come early are no fair sample;
    ``with_unlabelled`` keeps them, for a model whose labels never come. Only features and predictions may rest on them.
    A label that can come no more counts as the contract's `label.absent_means`, as in windows.

    Raises:
        InputDataError: the window has no rows, or none with its label, or is not complete.
    """
    ensure_inputs_table(store, contract)
    span = f"{window.start:%Y-%m-%dT%H:%MZ} and {window.end:%Y-%m-%dT%H:%MZ}"
    _require_complete(store, contract, window)
    period = Period(window.start, window.end)
    rows = production_rows(store, contract, period, contract.versions.all)
    if rows.empty:
        msg = f"a reference needs rows; the store has no inputs between {span}; `driftline status` shows what it has"
        raise InputDataError(msg)
    is_final = _is_final(rows, store, contract)
    rows = with_absent_labels(rows, contract, is_final)
    if not with_unlabelled:
        rows = rows[rows["labelled"] | is_final].reset_index(drop=True)
    if rows.empty:
        remedy = "load them, choose an earlier period, or use --with-unlabelled for drift alone"
        msg = f"a reference needs labels; no row between {span} has its label; {remedy}"
        raise InputDataError(msg)
    population = Population(window, learned_values(store, contract, period))
    return build_reference(store, contract, rows, contract.versions.all, "production", workers, population)


def _require_complete(store: Store, contract: Contract, window: Window) -> None:
    reached = _complete_to(store, contract.topics.inputs)
    if reached is not None and reached < window.end:
        rule = f"`--to` must not be after {reached:%Y-%m-%dT%H:%MZ}, to which the inputs are complete"
        msg = f"{rule}; got {window.end:%Y-%m-%dT%H:%MZ}; use an earlier one"
        raise InputDataError(msg)


def _is_final(rows: pd.DataFrame, store: Store, contract: Contract) -> pd.Series:
    """Return of each row whether no label is expected any more."""
    reached = _complete_to(store, contract.topics.labels)
    if reached is None:
        return pd.Series(False, index=rows.index)
    final: pd.Series = rows["event_time"] + contract.label.delay.max <= reached
    return final


def _complete_to(store: Store, topic: str) -> datetime | None:
    reached: datetime | None = store.scalar(
        "SELECT complete_to FROM topic_progress WHERE topic = {topic:String}", {"topic": topic}
    )
    return reached
