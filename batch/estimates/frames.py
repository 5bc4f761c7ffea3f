"""What an error model may see of a prediction, and the rows of completed windows with just that.

The one place that chooses columns: those of the contract that are known when the model is asked, the prediction
and its time. A column with ``known_at: label`` never reaches a query here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from batch.references.sets import PREDICTION_PREFIX, PROBABILITY_PREFIX
from batch.rows.frames import HOUR, Span, valid_range
from driftline.contract.model import Contract
from driftline.store import Store


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """What an error model is made of; two equal specs on one reference give one model.

    Labels outside ``valid`` (closed) are left out. ``positive`` and ``threshold`` are those of a binary contract.
    """

    version: str
    task: str
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    valid: tuple[float, float]
    timezone: str
    positive: str = ""
    threshold: float = 0.5

    @property
    def columns(self) -> tuple[str, ...]:
        """The features that it learns from."""
        return (*self.numbers, *self.categories)

    @property
    def reference_column(self) -> str:
        """The reference's column with what the version answered: a number, or the positive class's probability."""
        if self.task == "binary":
            return f"{PROBABILITY_PREFIX}{self.version}.{self.positive}"
        return f"{PREDICTION_PREFIX}{self.version}"


def error_spec(contract: Contract, version: str) -> ErrorSpec:
    """Return the error model's spec for ``version``: numbers, booleans and categories known at prediction time."""
    known = set(contract.known_at_prediction())

    def of(*types: Any) -> tuple[str, ...]:
        return tuple(name for name in contract.columns_of_type(*types) if name in known)

    return ErrorSpec(
        version,
        contract.task,
        numbers=of("number", "boolean"),
        categories=of("category"),
        valid=valid_range(contract),
        timezone=contract.event_time.timezone,
        positive=contract.positive_class or "",
        threshold=contract.decision_threshold,
    )


def error_frames(store: Store, contract: Contract, span: Span) -> dict[str, pa.Table]:
    """Return the answered predictions with their features and latest labels, by version.

    They are ordered by window, id and time. Columns: ``start_ms``, ``id``, ``event_ms``, ``prediction`` (binary: the
    positive class's probability), ``labelled`` (any label has come), ``label``, ``label_class``, and the features by
    name.
    """
    features = error_spec(contract, "").columns
    parameters: dict[str, Any] = {**span.parameters(contract), "inputs": contract.raw_inputs_table}
    parameters |= {f"column_{index}": name for index, name in enumerate(features)}
    parameters["positive"] = contract.positive_class or ""
    chosen = "".join(f", {{column_{index}:Identifier}} AS f{index}" for index in range(len(features)))
    named = "".join(f", f{index}" for index in range(len(features)))
    answered = _PROBABILITY if contract.task == "binary" else _NUMBER
    sql = _ROWS.replace("CHOSEN", chosen).replace("NAMED", named).replace("ANSWER", answered)
    table = store.arrow(sql, parameters).rename_columns([*_OWN, *features])
    versions = pc.unique(table["model_version"]).to_pylist()
    return {
        version: table.filter(pc.equal(table["model_version"], version)).drop_columns("model_version")
        for version in versions
    }


_OWN = ("model_version", "start_ms", "id", "event_ms", "prediction", "labelled", "label", "label_class")
_NUMBER = "prediction"
_PROBABILITY = "if(mapContains(probabilities, {positive:String}), probabilities[{positive:String}], NULL)"
_IN_SPAN = """
    event_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
    AND event_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC')
"""
_ROWS = f"""
    SELECT p.model_version AS model_version, p.start_ms AS start_ms, p.id AS id, p.event_ms AS event_ms,
        p.answer AS answer, l.labelled AS labelled, l.label AS label, l.label_class AS label_class NAMED
    FROM (
        SELECT model_version, id, toUnixTimestamp64Milli(event_time) AS event_ms, ANSWER AS answer,
            {HOUR} AS hour, intDiv(event_ms, {{size:Int64}}) * {{size:Int64}} AS start_ms
        FROM predictions FINAL
        WHERE model = {{model:String}} AND {_IN_SPAN} AND has({{starts:Array(Int64)}}, start_ms)
            AND status = 'ok' AND ifNull(isFinite(answer), false)
        ORDER BY cityHash64(id), id, event_ms LIMIT {{rows:UInt32}} BY start_ms, model_version) AS p
    INNER JOIN (SELECT id, {HOUR} AS `input.hour` CHOSEN FROM {{inputs:Identifier}} FINAL WHERE {_IN_SPAN}) AS i
        ON p.id = i.id AND p.hour = i.`input.hour`
    LEFT JOIN (
        SELECT id, true AS labelled, argMax(tuple(label), (label_time, o)).1 AS label,
            argMax(tuple(label_class), (label_time, o)).1 AS label_class
        FROM labels FINAL WHERE model = {{model:String}} AND id IN (
            SELECT id FROM predictions WHERE model = {{model:String}} AND {_IN_SPAN})
        GROUP BY id) AS l ON p.id = l.id
    ORDER BY model_version, start_ms, id, event_ms
"""  # noqa: S608  # all parts are constants of this module
