"""Rows with the values that a contract's slices go by, out of the store.

The engine evaluates each rule's expression over the row, in production and in a reference alike, so a slice means the
same on both sides. Expressions are the contract author's and were read by a grammar of their own; category values are
data and never part of a statement.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from batch.references.sets import Reference
from batch.results import Failure
from batch.rows.frames import HOUR, JOINED, REQUEST, Span, split_by
from batch.rows.halving import ask_by_halves
from batch.rows.outcomes import for_task
from batch.slices.grouping import VALUE_PREFIX, Grouping, by_frequency
from driftline.contract.model import Contract
from driftline.contract.parts import SliceRule
from driftline.errors import StatementRejected
from driftline.store import Store
from driftline.store.inputs_table import column_type
from driftline.store.protocol import Statement
from driftline.store.reading import refuse_unless_reading

_LONGEST_VALUE = 100
_PLACE = "slice_place"
# The reference's distinct rows travel within the statement, which may be this long.
_LONGEST_STATEMENT = 256 * 1024 * 1024


def slice_parts(contract: Contract) -> list[list[Any]]:
    """Return what slices depend on in the contract, for fingerprints."""
    return [[rule.name, rule.by, rule.max_values, rule.min_rows] for rule in contract.slices]


def groupings(contract: Contract, reference_values: pd.DataFrame | None) -> tuple[Grouping, ...]:
    """Return the contract's rules as they are applied; values of the reference keep their slices first."""
    return tuple(
        Grouping(
            rule.name,
            f"{VALUE_PREFIX}{index}",
            contract.slice_expression(rule).is_condition,
            rule.max_values,
            rule.min_rows,
            _most_frequent(reference_values, index, rule.max_values),
        )
        for index, rule in enumerate(contract.slices)
    )


def _most_frequent(reference_values: pd.DataFrame | None, index: int, most: int) -> tuple[str, ...]:
    if reference_values is None or reference_values.empty:
        return ()
    return tuple(by_frequency(reference_values[f"{VALUE_PREFIX}{index}"])[:most])


@dataclass(frozen=True, slots=True)
class Working:
    """Windows on whose inputs the engine can evaluate the same rules: ``contract`` has no others.

    ``failures`` say why it cannot evaluate the others, by the window's start; a key for every one of the windows.
    """

    contract: Contract
    failures: Mapping[int, tuple[Failure, ...]]


def working(store: Store, contract: Contract, span: Span) -> list[Working]:
    """Return the windows of ``span`` by the rules that the engine can evaluate on their inputs.

    Types are the engine's to judge, and some values too (a division by zero); one such rule costs no other its figures,
    and one such value no other window.
    """
    try:
        _try(store, contract, span)
    except StatementRejected:
        refused = {rule.name: _refusals(store, contract, rule, span) for rule in contract.slices}
    else:
        return [Working(contract, dict.fromkeys(span.starts, ()))]
    together: dict[tuple[SliceRule, ...], dict[int, tuple[Failure, ...]]] = {}
    for start_ms in span.starts:
        kept = tuple(rule for rule in contract.slices if start_ms not in refused[rule.name])
        reasons = {name: windows[start_ms] for name, windows in refused.items() if start_ms in windows}
        failures = tuple(Failure("", f"slice {name}: {reason}", slice=name) for name, reason in reasons.items())
        together.setdefault(kept, {})[start_ms] = failures
    return [Working(contract.model_copy(update={"slices": kept}), found) for kept, found in together.items()]


def _refusals(store: Store, contract: Contract, rule: SliceRule, span: Span) -> Mapping[int, str]:
    """Return why the engine cannot evaluate a rule, by the windows in which it cannot."""
    return ask_by_halves(span, partial(_try, store, contract.model_copy(update={"slices": (rule,)}))).refused


def _try(store: Store, contract: Contract, span: Span) -> list[dict[str, Any]]:
    """Have the engine evaluate the contract's rules together on the span's inputs."""
    if not contract.slices:
        return []
    parameters = {**span.parameters(contract), "inputs": contract.raw_inputs_table}
    sql = _TRIED.replace("NAMES", ", ".join(_value_names(contract))).replace("SLICES", _selected(contract))
    return store.query(sql, parameters)


def sliced_inputs(store: Store, contract: Contract, span: Span, columns: Sequence[str]) -> dict[int, pa.Table]:
    """Return the named features and the slice values of the inputs, by start_ms; the rows of ``input_frames``."""
    parameters: dict[str, Any] = {**span.parameters(contract), "inputs": contract.raw_inputs_table}
    parameters |= {f"column_{index}": name for index, name in enumerate(columns)}
    chosen = "".join(f"{{column_{index}:Identifier}}, " for index in range(len(columns)))
    sql = _INPUTS.replace("COLUMNS, ", chosen).replace("SLICES", _selected(contract))
    split = split_by(store.arrow(sql, parameters), ("start_ms",), [*columns, *_value_names(contract)])
    return {key[0]: rows for key, rows in split.items()}


def members(store: Store, contract: Contract, span: Span) -> dict[tuple[int, str], pa.Table]:
    """Return ``id``, ``hour``, ``failed``, ``labelled``, ``scored`` and the slice values of predictions.

    By (start_ms, model_version). Values are those of the input of the same id and hour; none where there is no input.
    """
    parameters = {**span.parameters(contract), "inputs": contract.raw_inputs_table}
    sql = for_task(_MEMBERS, contract)
    names = _value_names(contract)
    sql = sql.replace("NAMES", ", ".join(names)).replace("SLICES", _selected(contract))
    wanted = (*REQUEST, "failed", "labelled", "scored", *names)
    split = split_by(store.arrow(sql, parameters), ("start_ms", "model_version"), wanted)
    return {(key[0], key[1]): rows for key, rows in split.items()}


def reference_values(store: Store, contract: Contract, reference: Reference) -> pd.DataFrame | None:
    """Return the slice values of a reference's rows, in their order; None where it lacks a column that they need."""
    needed = sorted({name for rule in contract.slices for name in contract.slice_expression(rule).columns})
    if not needed:
        needed = ["event_time"]  # rules of constants only
    file = pq.ParquetFile(io.BytesIO(reference.parquet))
    if not set(needed) <= set(file.schema_arrow.names):
        return None
    rows = file.read(columns=needed).to_pandas()
    places, distinct = _distinct(rows)
    types = ", ".join(f"`{name}` {_type_of(contract, name)}" for name in needed).replace("'", "''")
    encoded = base64.b64encode(_parquet(distinct, contract)).decode()
    table = f"format(Parquet, '{_PLACE} Int64, {types}', base64Decode('{encoded}'))"
    sql = f"SELECT {_PLACE}, {_selected(contract)} FROM {table}"  # noqa: S608 - names of the contract, and base64
    text = store.text(sql, output_format="JSONCompactColumns", settings={"max_query_size": _LONGEST_STATEMENT})
    order, *values = json.loads(text)
    columns = dict(zip(_value_names(contract), values, strict=True))
    found = pd.DataFrame(columns, order, dtype="category")
    of_rows: pd.DataFrame = found.loc[places].reset_index(drop=True)
    return of_rows


def _distinct(rows: pd.DataFrame) -> tuple[Any, pd.DataFrame]:
    """Return for each row its place among the distinct rows, and those with their places."""
    places = rows.groupby(list(rows.columns), dropna=False, sort=False, observed=True).ngroup().to_numpy()
    distinct = rows.assign(**{_PLACE: places}).drop_duplicates(_PLACE)
    return places, distinct


def _parquet(rows: pd.DataFrame, contract: Contract) -> bytes:
    fields = [(name, pa.int64() if name == _PLACE else _arrow_type(contract, name)) for name in rows.columns]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(rows, pa.schema(fields), preserve_index=False, safe=False), sink)
    return sink.getvalue()


def _type_of(contract: Contract, name: str) -> str:
    return column_type(contract.columns[name]) if name in contract.columns else "DateTime64(3, 'UTC')"


def _arrow_type(contract: Contract, name: str) -> pa.DataType:
    kind = contract.columns[name].type if name in contract.columns else "datetime"
    if kind == "number":
        return pa.float64()
    return {"boolean": pa.bool_(), "datetime": pa.timestamp("ms", "UTC")}.get(kind, pa.string())


def _value_names(contract: Contract) -> list[str]:
    return [f"{VALUE_PREFIX}{index}" for index in range(len(contract.slices))]


def _selected(contract: Contract) -> str:
    """Return the expressions of all rules as a list of columns of text, null where there is no value."""
    return ", ".join(
        f"CAST(substringUTF8(toString(({_guarded(contract, rule)})), 1, {_LONGEST_VALUE}), 'Nullable(String)') "
        f"AS {VALUE_PREFIX}{index}"
        for index, rule in enumerate(contract.slices)
    )


def _guarded(contract: Contract, rule: SliceRule) -> str:
    """Return the text of a rule that the contract's own grammar and the rules of readers both accept."""
    text = contract.slice_expression(rule).text
    refuse_unless_reading(Statement(f"SELECT ({text})"), frozenset())
    return text


_SPAN = """
    event_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
    AND event_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC') AND has({starts:Array(Int64)}, start_ms)
"""
_START = "intDiv(toUnixTimestamp64Milli(event_time), {size:Int64}) * {size:Int64} AS start_ms"
_INPUTS = f"""
    SELECT {_START}, COLUMNS, SLICES FROM {{inputs:Identifier}} FINAL
    WHERE id IN (SELECT id FROM (
        SELECT id, {_START} FROM {{inputs:Identifier}} FINAL WHERE {_SPAN}
        ORDER BY cityHash64(id), id LIMIT {{rows:UInt32}} BY start_ms)) AND {_SPAN}
    ORDER BY start_ms, id
"""  # noqa: S608  # all parts are constants of this module
_TRIED = f"""
    SELECT countIf(NOT ignore(NAMES)) AS n FROM (SELECT {_START}, SLICES FROM {{inputs:Identifier}} WHERE {_SPAN})
"""  # noqa: S608
_MEMBERS = f"""
    SELECT m.start_ms AS start_ms, model_version, m.id AS id, m.hour AS hour, failed, labelled, scored, NAMES FROM (
        SELECT start_ms, model_version, p.id AS id, hour, NOT (ANSWERED) AS failed, labelled,
            ANSWERED AND VALID AS scored
        {JOINED} ORDER BY cityHash64(id), id, hour LIMIT {{rows:UInt32}} BY start_ms, model_version) AS m
    LEFT JOIN (
        SELECT {_START}, id AS `input.id`, {HOUR} AS `input.hour`, SLICES FROM {{inputs:Identifier}} FINAL
        WHERE {_SPAN}) AS i ON m.id = i.`input.id` AND m.hour = i.`input.hour`
    ORDER BY start_ms, model_version, id, hour
"""  # noqa: S608
