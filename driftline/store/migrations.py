"""Numbered schema files of ``clickhouse/schema``, applied once each, in order.

Owns the version of a store. Tables that depend on a contract (``inputs_<model>``) are
``inputs_table``'s. A file that has landed is never edited: a later file changes what it made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from driftline.errors import StatementRejected, StoreTooNew
from driftline.store.client import Store

_ACCESS_DENIED = 497
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number UInt32, name String, checksum String, applied DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree ORDER BY number
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One schema file; ``applied`` says whether this store has it."""

    number: int
    name: str
    sql: str
    applied: bool = False

    @property
    def checksum(self) -> str:
        """Hash of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()[:16]

    @property
    def statements(self) -> Iterator[str]:
        """The file's statements, without their semicolons."""
        return (part.strip() for part in self.sql.split(";\n") if part.strip())


def known_migrations() -> list[Migration]:
    """Return the migrations that this version of driftline ships, oldest first."""
    folder = resources.files("clickhouse") / "schema"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    return [Migration(int(item.name[:4]), item.name[5:-4], item.read_text(encoding="utf-8")) for item in files]


def migration_status(store: Store) -> list[Migration]:
    """Return all known migrations, each marked as applied to ``store`` or not."""
    done = _applied(store)
    return [Migration(m.number, m.name, m.sql, applied=m.number in done) for m in known_migrations()]


def migrate(store: Store) -> list[Migration]:
    """Apply what ``store`` lacks and return it. Safe to repeat and after a crash in between.

    Raises:
        StoreTooNew: the store has migrations that this version does not know.
        StatementRejected: it lacks some, and its user may not make tables.
    """
    pending = []
    for migration in known_migrations():
        if migration.number in _applied(store):
            continue
        _apply(store, migration)
        pending.append(migration)
    refuse_newer(store)
    return pending


def _apply(store: Store, migration: Migration) -> None:
    """Make the ledger where it is absent: a user who may make no tables can open a store that lacks nothing."""
    try:
        store.execute(_LEDGER)
        for statement in migration.statements:
            store.execute(_repeatable(statement))
        row = {"number": migration.number, "name": migration.name, "checksum": migration.checksum}
        store.insert_rows("schema_migrations", [row])
    except StatementRejected as error:
        if error.code != _ACCESS_DENIED:
            raise
        msg = (
            f"store {store.address} lacks migration {migration.number:04} ({migration.name}), and its user "
            f"{store.address.user} may not make tables; run `driftline db migrate` as one who may"
        )
        raise StatementRejected(msg, error.code) from error


def refuse_newer(store: Store) -> None:
    """Raise ``StoreTooNew`` where a newer version of driftline has migrated ``store``."""
    newest_known = known_migrations()[-1].number
    newest_applied = max(_applied(store), default=0)
    if newest_applied > newest_known:
        msg = (
            f"store {store.address} has schema {newest_applied}, this version of driftline knows up to {newest_known}; "
            "use the newer driftline, or another --home"
        )
        raise StoreTooNew(msg)


def _applied(store: Store) -> set[int]:
    if not store.scalar(
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'schema_migrations'"
    ):
        return set()
    return {row["number"] for row in store.query("SELECT number FROM schema_migrations FINAL")}


def _repeatable(statement: str) -> str:
    for kind in ("CREATE TABLE ", "CREATE VIEW "):
        statement = statement.replace(kind, f"{kind}IF NOT EXISTS ", 1)
    return statement
