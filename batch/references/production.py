"""Reference rows out of the store: inputs of a period with the predictions of all versions and the latest labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from batch.ledger.history import Period
from batch.references.sets import PREDICTION_PREFIX, PROBABILITY_PREFIX
from batch.rows.frames import HOUR, MOST_CLASSES, MOST_ROWS, REQUEST
from batch.rows.outcomes import for_task, outcome_parameters
from driftline.clock import to_ms
from driftline.contract.model import Contract
from driftline.store import Store


def production_rows(store: Store, contract: Contract, period: Period, versions: Sequence[str]) -> pd.DataFrame:
    """Return the rows as ``build_reference`` wants them, by event time and id, and a column ``labelled``.

    Of more than ``MOST_ROWS`` inputs those with the least hashes of their id are taken. A prediction that failed,
    or lies outside ``period``, is missing; so is a label that has not come.
    """
    parameters = _parameters(contract, period)
    rows = _inputs(store, contract, parameters)
    answers = store.arrow(for_task(_PREDICTIONS, contract), parameters).to_pandas()
    for version in versions:
        of_version = answers[answers["model_version"] == version].set_index(REQUEST)
        rows[PREDICTION_PREFIX + version] = _outcomes(_of_requests(rows, of_version["answer"]), contract)
        for name, given in _probabilities(of_version["probabilities"], contract).items():
            rows[f"{PROBABILITY_PREFIX}{version}.{name}"] = _of_requests(rows, given)
    labels = store.arrow(for_task(_LABELS, contract), parameters).to_pandas().set_index("id")
    rows["label"] = _outcomes(rows["id"].map(labels["label"]), contract)
    rows["labelled"] = rows["id"].isin(labels.index)
    return rows.drop(columns="hour")


def with_absent_labels(rows: pd.DataFrame, contract: Contract, is_final: pd.Series | bool = True) -> pd.DataFrame:
    """Return ``rows`` of production with the label that an absent one counts as, where none is expected any more.

    Windows count it so: against labels that came alone, a healthy window would look far worse or far better.
    """
    absent = contract.label.absent_means
    if absent is None:
        return rows
    meant = float(absent) if contract.task == "regression" else absent
    return rows.assign(label=rows["label"].mask(~rows["labelled"] & is_final, meant))


def count_rows(store: Store, contract: Contract, period: Period) -> int:
    """Return how many inputs lie in ``period``."""
    return int(store.scalar(_COUNT, _parameters(contract, period)))


def learned_values(store: Store, contract: Contract, period: Period) -> Mapping[str, Sequence[str]]:
    """Return the values that each category had in ``period``, in order."""
    names = contract.columns_of_type("category")
    if not names:
        return {}
    parameters = {**_parameters(contract, period), **{f"column_{index}": name for index, name in enumerate(names)}}
    wanted = ", ".join(
        f"arraySort(groupUniqArray(toString({{column_{index}:Identifier}}))) AS v{index}" for index in range(len(names))
    )
    found = store.query(_VALUES.replace("VALUES", wanted), parameters)
    return {name: found[0][f"v{index}"] for index, name in enumerate(names)} if found else {}


def _inputs(store: Store, contract: Contract, parameters: Mapping[str, Any]) -> pd.DataFrame:
    names = {f"column_{index}": name for index, name in enumerate(contract.columns)}
    chosen = ", ".join(f"{{{place}:Identifier}}" for place in names)
    found = store.arrow(_INPUTS.replace("COLUMNS", chosen), {**parameters, **names}).to_pandas()
    for name in contract.columns_of_type("category", "text"):
        found[name] = found[name].astype(object)
    rows: pd.DataFrame = found.sort_values(["event_time", "id"], ignore_index=True)
    return rows


def _of_requests(rows: pd.DataFrame, given: pd.Series) -> pd.Series:
    """Return what each row's request was given, by the rows' places; missing where it was given nothing."""
    return pd.Series(given.reindex(pd.MultiIndex.from_frame(rows[REQUEST])).to_numpy(), index=rows.index)


def _outcomes(values: pd.Series, contract: Contract) -> pd.Series:
    return values.astype("float64") if contract.task == "regression" else values.astype(object)


def _probabilities(given: pd.Series, contract: Contract) -> dict[str, pd.Series]:
    """Return what each class was given, by request; none of too many classes, as in the windows' figures."""
    if contract.task == "regression":
        return {}
    found = pd.DataFrame([dict(pairs) for pairs in given], index=given.index, dtype="float64")
    return {} if len(found.columns) > MOST_CLASSES else {str(name): found[name] for name in sorted(found.columns)}


def _parameters(contract: Contract, period: Period) -> dict[str, Any]:
    return {
        "model": contract.model,
        "inputs": contract.raw_inputs_table,
        "low": to_ms(period.start),
        "high": to_ms(period.end),
        "seasons": list(period.seasons),
        "zone": contract.event_time.timezone,
        "rows": MOST_ROWS,
        **outcome_parameters(contract),
    }


_PERIOD = """
    event_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
    AND event_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC')
    AND (empty({seasons:Array(UInt8)}) OR has({seasons:Array(UInt8)},
        24 * greatest(0, toDayOfWeek(event_time, 0, {zone:String}) - 5) + toHour(event_time, {zone:String})))
"""
_LEAST_HASHES = "ORDER BY cityHash64(id), id LIMIT {rows:UInt32}"
_CHOSEN = f"SELECT id FROM {{inputs:Identifier}} FINAL WHERE {_PERIOD} {_LEAST_HASHES}"  # noqa: S608
_INPUTS = f"""
    SELECT id, event_time, {HOUR} AS hour, COLUMNS FROM {{inputs:Identifier}} FINAL WHERE {_PERIOD} {_LEAST_HASHES}
"""  # noqa: S608
_PREDICTIONS = f"""
    SELECT id, hour, toString(model_version) AS model_version, answer, probabilities FROM (
        SELECT id, {HOUR} AS hour, model_version, ANSWER AS answer,
            CAST(probabilities, 'Map(String, Float64)') AS probabilities, status, event_time
        FROM predictions FINAL WHERE model = {{model:String}} AND {_PERIOD} AND id IN ({_CHOSEN}))
    WHERE ANSWERED ORDER BY event_time LIMIT 1 BY id, hour, model_version
"""  # noqa: S608
_LABELS = f"""
    SELECT id, argMax(tuple(RAW_LABEL), (label_time, o)).1 AS label FROM labels FINAL
    WHERE model = {{model:String}} AND id IN ({_CHOSEN}) GROUP BY id
"""  # noqa: S608
_COUNT = f"SELECT count() FROM {{inputs:Identifier}} FINAL WHERE {_PERIOD}"  # noqa: S608
_VALUES = f"SELECT VALUES FROM {{inputs:Identifier}} FINAL WHERE {_PERIOD}"  # noqa: S608
