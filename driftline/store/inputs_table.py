"""The table of one model's inputs: a typed column per feature of its contract.

A column that a later contract adds is added to the table; one that it drops stays, for the
rows written before. A contract that does not fit what is stored changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from driftline.contract import Column, Contract
from driftline.errors import ContractError
from driftline.store.client import Store
from driftline.store.registry import require_same_windows

_TYPES = {
    "number": "Nullable(Float64)",
    "category": "LowCardinality(Nullable(String))",
    "boolean": "Nullable(Bool)",
    "text": "Nullable(String)",
    "datetime": "Nullable(DateTime64(3, 'UTC'))",
}


def inputs_ddl(contract: Contract) -> str:
    """Return the statement that makes the model's table of inputs."""
    features = ", ".join(f"`{name}` {column_type(column)}" for name, column in contract.columns.items())
    return (
        f"CREATE TABLE IF NOT EXISTS {contract.raw_inputs_table} (id String, event_time DateTime64(3, 'UTC'), "
        f"append_time DateTime64(3, 'UTC'), id_hash UInt64, {features}, source_id LowCardinality(String), "
        "p UInt16, o UInt64, ver UInt64 MATERIALIZED bitNot(o)) ENGINE = ReplacingMergeTree(ver) "
        "PARTITION BY toYYYYMM(event_time) ORDER BY (toStartOfHour(event_time), id) "
        "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
    )


def column_type(column: Column) -> str:
    """Return the engine's type for a feature."""
    return _TYPES[column.type]


def ensure_inputs_table(store: Store, contract: Contract) -> None:
    """Make the table or add the columns it lacks.

    Raises:
        ContractError: a column exists with another type than the contract says, or ``require_same_windows``;
            the store is as it was.
    """
    existing = _existing_columns(store, contract)
    _require_same_types(existing, contract)
    require_same_windows(store, contract)
    if not existing:  # a user without the right to make tables works on tables made before
        store.execute(inputs_ddl(contract))
        return
    for name, column in contract.columns.items():
        if name not in existing:
            store.execute(
                f"ALTER TABLE {contract.raw_inputs_table} ADD COLUMN IF NOT EXISTS `{name}` {column_type(column)}"
            )


def _existing_columns(store: Store, contract: Contract) -> dict[str, str]:
    rows = store.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}",
        {"table": contract.raw_inputs_table},
    )
    return {row["name"]: row["type"] for row in rows}


def _require_same_types(existing: Mapping[str, str], contract: Contract) -> None:
    ours = {engine_type: name for name, engine_type in _TYPES.items()}
    for name, column in contract.columns.items():
        stored = existing.get(name, column_type(column))
        if stored != column_type(column):
            msg = (
                f"`columns.{name}.type` must stay {ours.get(stored, stored)}, the type of its values in the table "
                f"{contract.raw_inputs_table}; got {column.type}; set it back, or give the column another name, with "
                f"`field: {column.field or name}`"
            )
            raise ContractError(msg)
