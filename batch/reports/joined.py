"""A window's rows as people and reports want them: one row per id, with inputs, predictions and label side by side.

Counts and figures are never made from these: jobs read what they need themselves (``batch.rows.frames``).
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from batch.references.sets import PREDICTION_PREFIX, PROBABILITY_PREFIX
from batch.rows.frames import MOST_ROWS
from batch.rows.outcomes import for_task, outcome_parameters
from driftline.clock import to_ms
from driftline.contract.model import Contract
from driftline.store import Store
from driftline.store.inputs_table import ensure_inputs_table
from driftline.windows import Window


def joined_frame(store: Store, contract: Contract, window: Window, most_rows: int = MOST_ROWS) -> pd.DataFrame:
    """Return the inputs and predictions of ``window``, joined by id, with the latest label of each.

    Columns: ``id``, ``event_time`` (aware, UTC), the contract's columns, ``prediction.VERSION`` per version of the
    contract or of the rows, ``probability.VERSION.CLASS`` where a version gives probabilities, ``label`` and
    ``label_time``; ordered by time and id. What is absent is null, and so is the prediction of a failed answer. More
    than ``most_rows`` ids are sampled by their hash, the same ones every time.
    """
    ensure_inputs_table(store, contract)
    bound = _bound(contract, window, most_rows)
    inputs = _inputs(store, contract, bound)
    predictions = store.arrow(for_task(_PREDICTIONS, contract), bound).to_pandas()
    labels = store.arrow(for_task(_LABELS, contract), bound).to_pandas()
    kind = "float64" if contract.task == "regression" else "object"
    labels["label"] = labels["label"].astype(kind)
    predictions["answer"] = predictions["answer"].astype(kind)
    frame = inputs.merge(_by_version(predictions, contract), on="id", how="outer").merge(labels, on="id", how="left")
    frame["event_time"] = frame.pop("event_time").fillna(frame.pop("predicted_time"))
    wanted = [name for name in frame.columns if name.startswith((PREDICTION_PREFIX, PROBABILITY_PREFIX))]
    ordered = frame.sort_values(["event_time", "id"], ignore_index=True)
    return ordered[["id", "event_time", *contract.columns, *wanted, "label", "label_time"]]


def _bound(contract: Contract, window: Window, most_rows: int) -> dict[str, Any]:
    return {
        "model": contract.model,
        "inputs": contract.raw_inputs_table,
        "low": to_ms(window.start),
        "high": to_ms(window.end),
        "rows": most_rows,
        **outcome_parameters(contract),
    }


def _inputs(store: Store, contract: Contract, bound: dict[str, Any]) -> pd.DataFrame:
    names = list(contract.columns)
    parameters = {**bound, **{f"column_{index}": name for index, name in enumerate(names)}}
    chosen = ", ".join(f"{{column_{index}:Identifier}}" for index in range(len(names)))
    frame: pd.DataFrame = store.arrow(_INPUTS.replace("COLUMNS", chosen), parameters).to_pandas()
    for name in contract.columns_of_type("category", "text"):
        frame[name] = frame[name].astype(object)
    return frame


def _by_version(rows: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Return one row per id: ``predicted_time``, and a column per version, those of the contract first."""
    times = rows.groupby("id", sort=False)["event_time"].min()
    found: pd.DataFrame = times.rename("predicted_time").reset_index()
    others = sorted(set(rows["model_version"]) - set(contract.versions.all))
    for version in (*contract.versions.all, *others):
        mine = rows[rows["model_version"] == version]
        one = mine[["id", "answer"]].rename(columns={"answer": PREDICTION_PREFIX + version})
        for name in sorted({name for pairs in mine["probabilities"] for name, _ in pairs}):
            one[f"{PROBABILITY_PREFIX}{version}.{name}"] = [dict(pairs).get(name) for pairs in mine["probabilities"]]
        found = found.merge(one, on="id", how="left")
    return found


_SPAN = """
    event_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
    AND event_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC')
"""
_CHOSEN = f"""
    id IN (SELECT id FROM (
        SELECT id FROM {{inputs:Identifier}} WHERE {_SPAN}
        UNION DISTINCT SELECT id FROM predictions WHERE model = {{model:String}} AND {_SPAN})
    ORDER BY cityHash64(id), id LIMIT {{rows:UInt64}})
"""  # noqa: S608  # all parts are constants of this module
_INPUTS = f"""
    SELECT id, event_time, COLUMNS FROM {{inputs:Identifier}} FINAL WHERE {_SPAN} AND {_CHOSEN}
    ORDER BY event_time, id LIMIT 1 BY id
"""  # noqa: S608
_PREDICTIONS = f"""
    SELECT id, model_version, event_time, if(ANSWERED, answer, NULL) AS answer,
        if(ANSWERED, probabilities, map()) AS probabilities
    FROM (
        SELECT id, toString(model_version) AS model_version, event_time, status, ANSWER AS answer,
            CAST(probabilities, 'Map(String, Float64)') AS probabilities
        FROM predictions FINAL WHERE model = {{model:String}} AND {_SPAN} AND {_CHOSEN})
    ORDER BY event_time, id LIMIT 1 BY id, model_version
"""  # noqa: S608
_LABELS = f"""
    SELECT id, RAW_LABEL AS label, label_time FROM labels FINAL WHERE model = {{model:String}} AND {_CHOSEN}
    ORDER BY label_time DESC, o DESC LIMIT 1 BY id
"""  # noqa: S608
