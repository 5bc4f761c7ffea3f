"""The table of one model's inputs: a typed column per feature of its contract.

A column that a later contract adds is added to the table; one that it drops stays, for the
rows written before.
"""

from __future__ import annotations

from driftline.contract import Column, Contract
from driftline.errors import StatementRejected
from driftline.store.client import Store

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
        StatementRejected: a column exists with another type than the contract says.
    """
    store.execute(inputs_ddl(contract))
    rows = store.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}",
        {"table": contract.raw_inputs_table},
    )
    existing = {row["name"]: row["type"] for row in rows}
    for name, column in contract.columns.items():
        wanted = column_type(column)
        if name not in existing:
            store.execute(f"ALTER TABLE {contract.raw_inputs_table} ADD COLUMN IF NOT EXISTS `{name}` {wanted}")
        elif existing[name] != wanted:
            msg = (
                f"`columns.{name}` has type {column.type} in the contract; the table {contract.raw_inputs_table} holds "
                f"{existing[name]}; give the column another name, with `field: {name}`"
            )
            raise StatementRejected(msg)
