"""Rows to score with their inputs, which custom metrics are computed on: as frames, or summed up by the store."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from batch.rows.frames import HOUR, JOINED, Span, classes_of, split_by
from batch.rows.outcomes import for_task
from driftline.contract.model import Contract
from driftline.store import Store

SCORE_PREFIX = "probability."


def scored_inputs(store: Store, contract: Contract, span: Span) -> dict[tuple[int, str], pa.Table]:
    """Return the rows to score, ordered by id and hour, by (start_ms, model_version); windows of many rows are sampled.

    Columns: ``id``, ``event_time``, the contract's columns, ``prediction``, ``label``, and of classes
    ``probability.CLASS``.
    """
    classes = classes_of(store, contract, span)
    if classes.are_many and len(span.starts) > 1:
        return {place: rows for half in span.halves for place, rows in scored_inputs(store, contract, half).items()}
    scores = {f"class_{index}": name for index, name in enumerate(classes.names)}
    chosen = "".join(
        f", if(empty(`row.given`), NULL, `row.given`[{{class_{index}:String}}]) AS `score.{index}`"
        for index in range(len(classes.names))
    )
    sql = _FRAMES.replace(", SCORES", chosen)
    table = store.arrow(_statement(sql, contract), {**_parameters(contract, span), **scores})
    own = ["id", "event_time", "prediction", "label", *contract.columns]
    wanted = [*own, *(f"score.{index}" for index in range(len(classes.names)))]
    shown = [*own, *(SCORE_PREFIX + name for name in classes.names)]
    split = split_by(table, ("window.start", "model.version"), wanted)
    return {
        place: rows.rename_columns(shown).select([*own, *(SCORE_PREFIX + name for name in classes.given_in(place))])
        for place, rows in split.items()
    }


def scored_aggregate(store: Store, contract: Contract, span: Span, expression: str) -> list[dict[str, Any]]:
    """Return ``start_ms``, ``model_version``, ``n`` and ``value`` of an accepted SQL aggregate over the rows to score.

    Raises:
        StatementRejected: the engine cannot compute it.
    """
    return store.query(_statement(_AGGREGATE, contract).replace("EXPRESSION", expression), _parameters(contract, span))


def shadowed(contract: Contract) -> list[str]:
    """Return the names of figures of ours that mean a feature of the contract instead."""
    return sorted(_OWN.keys() & contract.columns.keys())


def _parameters(contract: Contract, span: Span) -> dict[str, Any]:
    columns = {f"column_{index}": name for index, name in enumerate(contract.columns)}
    own = {"inputs": contract.raw_inputs_table, "positive": contract.positive_class or ""}
    return {**span.parameters(contract), **own, **columns}


def _statement(sql: str, contract: Contract) -> str:
    """Return ``sql`` with the contract's features in it; a feature named as a figure of ours goes first."""
    features = ", ".join(f"{{column_{index}:Identifier}}" for index in range(len(contract.columns)))
    own = ", ".join(f"{value} AS {name}" for name, value in _OWN.items() if name not in contract.columns)
    return for_task(sql.replace("OWN", own).replace("FEATURES", features), contract)


_OWN = {
    "prediction": "`row.answer`",
    "probability": "if(mapContains(`row.given`, {positive:String}), `row.given`[{positive:String}], NULL)",
    "label": "`row.label`",
}
# Our own names hold a dot, which no expression can say and no feature has.
_ROWS = f"""
    SELECT `window.start`, `model.version`, `row.id` AS id, `row.hour`, event_time, `row.given`, FEATURES, OWN
    FROM (
        SELECT start_ms AS `window.start`, toString(model_version) AS `model.version`, p.id AS `row.id`,
            hour AS `row.hour`, answer AS `row.answer`, probabilities AS `row.given`, label AS `row.label` {JOINED}
        WHERE ANSWERED AND VALID) AS s
    LEFT JOIN (
        SELECT id AS `input.id`, {HOUR} AS `input.hour`, event_time, FEATURES FROM {{inputs:Identifier}} FINAL
        WHERE event_time >= fromUnixTimestamp64Milli({{low:Int64}}, 'UTC')
            AND event_time < fromUnixTimestamp64Milli({{high:Int64}}, 'UTC')) AS i
        ON `row.id` = `input.id` AND `row.hour` = `input.hour`
"""  # noqa: S608  # all parts are constants of this module
_FRAMES = f"""
    SELECT * FROM (
        SELECT *, SCORES FROM ({_ROWS})
        ORDER BY cityHash64(id), id, `row.hour` LIMIT {{rows:UInt32}} BY `window.start`, `model.version`)
    ORDER BY `window.start`, `model.version`, id, `row.hour`
"""  # noqa: S608
_AGGREGATE = f"""
    SELECT `window.start` AS start_ms, `model.version` AS model_version, count() AS n, (EXPRESSION) AS value
    FROM ({_ROWS}) GROUP BY `window.start`, `model.version`
"""  # noqa: S608
