"""Building a reference set out of a month's rows.

The frame is what the caller has put together: features, each version's predictions and the labels. Rows are kept
as they come, those of other months too; only quality leaves out labels outside the valid range.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd

from batch.references.quality import quality_facts
from batch.references.sets import (
    FACTS_VERSION,
    PREDICTION_PREFIX,
    PROBABILITY_PREFIX,
    ReferenceFacts,
    list_references,
    load_reference,
    next_promotion,
    promote,
)
from batch.rows.frames import MOST_ROWS
from batch.rows.outcomes import outcome_parts, valid_range
from batch.workers.pool import Workers
from driftline.contract.model import Contract
from driftline.errors import DamagedReference, InputDataError
from driftline.store import Store
from driftline.windows import Window

_QUANTILES = {"quantile_05": 0.05, "quantile_25": 0.25, "quantile_50": 0.5, "quantile_75": 0.75, "quantile_95": 0.95}


@dataclass(frozen=True, slots=True)
class Population:
    """What the rows of a set were taken from: its period, and every value that its categories had in it."""

    period: Window
    vocabularies: Mapping[str, Sequence[str]]


def build_reference(
    store: Store,
    contract: Contract,
    frame: pd.DataFrame,
    versions: tuple[str, ...],
    source: str,
    workers: Workers,
    population: Population | None = None,
) -> str:
    """Store ``frame`` as a reference set, make it the current one, and return its id.

    ``frame`` has ``id``, ``event_time`` (aware), ``label``, a column per feature of the contract, and one
    ``prediction.VERSION`` per name in ``versions``; missing values are null. Labels and predictions of classifiers
    are text, and ``probability.VERSION.CLASS`` may stand beside them. Rows without a ``population`` are their own, from
    the first to the last. Building the same rows again adds nothing.

    Raises:
        InputDataError: ``frame`` is empty or lacks a column.
    """
    _require_columns(frame, contract, versions)
    kept = frame[_kept_columns(frame, contract, versions)]
    vocabularies = {} if population is None else population.vocabularies
    reference_id = _content_id(kept, contract, vocabularies)
    known = {info.reference_id: info for info in list_references(store, contract.model)}
    if reference_id in known and _is_sound(store, contract.model, reference_id):
        if not known[reference_id].is_current:
            promote(store, contract.model, reference_id)
        return reference_id
    sample = _sampled(frame)[_kept_columns(frame, contract, versions)]
    parquet = reference_parquet(sample)
    facts = facts_of(kept, len(sample), contract, versions, workers, vocabularies)
    row = {
        "model": contract.model,
        "reference_id": reference_id,
        "source": source,
        "window_start": population.period.start if population else frame["event_time"].min(),
        "window_end": population.period.end if population else frame["event_time"].max(),
        "n_rows": len(frame),
        "contract_id": contract.id,
        "facts": msgspec.json.encode(facts).decode(),
        "frame": base64.b64encode(parquet).decode(),
        "frame_crc32": zlib.crc32(parquet),
        "promoted": next_promotion(store, contract.model),
    }
    store.insert_rows("reference_sets", [row])
    return reference_id


def _is_sound(store: Store, model: str, reference_id: str) -> bool:
    try:
        return load_reference(store, model, reference_id) is not None
    except DamagedReference:
        return False


def _require_columns(frame: pd.DataFrame, contract: Contract, versions: tuple[str, ...]) -> None:
    missing = [name for name in ["id", *_kept_columns(frame, contract, versions)] if name not in frame]
    if missing:
        msg = f"a reference needs the columns {', '.join(missing)}; got {', '.join(map(str, frame.columns))}"
        raise InputDataError(msg)
    if frame.empty:
        msg = "a reference needs rows; the file has none"
        raise InputDataError(msg)


def _kept_columns(frame: pd.DataFrame, contract: Contract, versions: tuple[str, ...]) -> list[str]:
    given = tuple(f"{PROBABILITY_PREFIX}{version}." for version in versions)
    probabilities = sorted(name for name in map(str, frame.columns) if name.startswith(given)) if given else []
    predictions = (PREDICTION_PREFIX + version for version in versions)
    return ["event_time", *contract.columns, *predictions, *probabilities, "label"]


def _content_id(frame: pd.DataFrame, contract: Contract, vocabularies: Mapping[str, Sequence[str]]) -> str:
    content = hashlib.blake2b(digest_size=8)
    meaning = [[name, column.type] for name, column in contract.columns.items()]
    content.update(
        msgspec.json.encode([FACTS_VERSION, outcome_parts(contract), meaning, *map(str, valid_range(contract))])
    )
    for name in frame.columns:
        content.update(name.encode())
        content.update(pd.util.hash_pandas_object(frame[name], index=False).to_numpy().tobytes())
    beyond = {name: sorted({*values} - {*frame[name].dropna()}) for name, values in vocabularies.items()}
    if any(beyond.values()):
        content.update(msgspec.json.encode(beyond))
    return content.hexdigest()


def _sampled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return at most ``MOST_ROWS`` rows, chosen by the hash of their id and so always the same."""
    if len(frame) <= MOST_ROWS:
        return frame
    hashes = pd.util.hash_array(frame["id"].to_numpy(dtype=object))
    return frame.iloc[np.sort(np.argsort(hashes, kind="stable")[:MOST_ROWS])]


def reference_parquet(frame: pd.DataFrame) -> bytes:
    """Return ``frame`` as the Parquet file that workers are sent."""
    sink = io.BytesIO()
    frame.to_parquet(sink, engine="pyarrow", compression="zstd", index=False)
    return sink.getvalue()


def facts_of(
    frame: pd.DataFrame,
    sampled_rows: int,
    contract: Contract,
    versions: tuple[str, ...],
    workers: Workers,
    vocabularies: Mapping[str, Sequence[str]],
) -> ReferenceFacts:
    """Return what is known of all rows of ``frame``; without a column ``label`` nothing of quality.

    Categories that ``vocabularies`` does not name have the values of ``frame``.
    """
    categories, numbers = contract.columns_of_type("category"), contract.columns_of_type("number")
    own = {name: sorted(map(str, frame[name].dropna().unique())) for name in categories if name not in vocabularies}
    # An infinite value is not a great one but none at all, as in the windows' drift.
    finite = {name: frame[name][np.isfinite(frame[name].astype("float64"))] for name in numbers}
    quantiles = {name: found.quantile(list(_QUANTILES.values())) for name, found in finite.items()}
    return ReferenceFacts(
        rows=len(frame),
        sampled_rows=sampled_rows,
        vocabularies={**own, **{name: list(values) for name, values in vocabularies.items()}},
        quantiles={
            name: {key: float(found[share]) for key, share in _QUANTILES.items()}
            for name, found in quantiles.items()
            if np.isfinite(found).all()
        },
        missing_shares={name: float(frame[name].isna().mean()) for name in contract.columns},
        **quality_facts(frame, contract, versions, workers),
    )
