"""The store as driftline sees it: bound statements in, Arrow tables or rows out, our errors.

The only module that talks to ClickHouse. One class serves both engines, a ClickHouse server
over HTTP and chDB in this process, since clickhouse-connect drives either. Owns connections
and the translation of errors; who may open an embedded store is ``opening``'s, what the
tables are is ``migrations``'s.

Each thread gets its own connection. Times come back aware, in UTC.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error, OperationalError

from driftline.errors import StatementRejected, StoreError, StoreHolderEnded, StoreNotWritable, StoreUnavailable
from driftline.store.holder import is_alive
from driftline.store.protocol import Refused, Statement
from driftline.store.reading import refuse_unless_reading

# Codes after which the same statement may succeed later: sockets, timeouts, memory, too many
# queries or parts, replication and Keeper trouble, read-only replicas, server shutting down.
_TRANSIENT = frozenset({3, 32, 95, 96, 159, 160, 198, 201, 202, 203, 209, 210, 225, 236, 241, 242, 252, 285, 286})
_TRANSIENT_RANGE = frozenset({279, 319, 394, 425, 439, 499, 635, 722, 999})
# NOT_ENOUGH_SPACE, CANNOT_WRITE_TO_FILE_DESCRIPTOR, CANNOT_OPEN_FILE for writing, CANNOT_CREATE_DIRECTORY.
_DISK = frozenset({75, 76, 243, 271})
_DISK_WORDS = ("No space left on device", "Read-only file system", "Permission denied", "disk quota exceeded")

# What the system says of a connection, amid the names of the libraries it came through.
_REFUSAL = re.compile(r"\[Errno -?\d+\] ([^\"'()\[\]]+)")

# Rows must never be dropped as look-alikes of earlier ones nor acknowledged before they are written.
_SAFE_INSERTS: Mapping[str, Any] = {"async_insert": 0, "deduplicate_insert": "disable"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is: ``path`` for chDB in this process, else a server's host, port and credentials.

    ``holder_pid`` is the process that serves an embedded store there, so that its end is not taken for a pause.
    """

    path: str | None = None
    host: str = "127.0.0.1"
    port: int = 8123
    user: str = "default"
    password: str = ""
    database: str = "default"
    secure: bool = False
    ca_file: str | None = None
    holder_pid: int | None = None

    def __str__(self) -> str:
        return f"chdb://{self.path}" if self.path else f"clickhouse://{self.host}:{self.port}/{self.database}"


class Store:
    """A connection to the tables and views of ``clickhouse/schema``.

    Every method may raise ``StoreUnavailable`` (try again), ``StoreNotWritable`` (folder or disk)
    and ``StatementRejected`` (never succeeds as it is), through another process also ``StoreHolderEnded``.
    """

    def __init__(self, address: Address, on_close: Callable[[], None] = lambda: None) -> None:
        self.address = address
        self._on_close = on_close
        self._threads = threading.local()
        self._clients: list[Client] = []
        self._lock = threading.Lock()
        with _translated(address):
            self._client()

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the rows of ``sql``; values are bound as ``{name:Type}``, never formatted in."""
        with _translated(self.address):
            result = self._client().query(sql, parameters=dict(parameters or {}), tz_mode="aware")
            return list(result.named_results())

    def scalar(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Return the first value of the first row, or None where there are no rows."""
        with _translated(self.address):
            rows = self._client().query(sql, parameters=dict(parameters or {}), tz_mode="aware").result_rows
            return rows[0][0] if rows else None

    def arrow(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Return the result of ``sql`` as an Arrow table, strings as Arrow strings."""
        with _translated(self.address):
            return self._client().query_arrow(sql, parameters=dict(parameters or {}), use_strings=True)

    def text(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        output_format: str,
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the result of ``sql`` as the engine prints it in ``output_format``, such as ``JSONEachRow``."""
        with _translated(self.address):
            answer = self._client().raw_query(
                sql, parameters=dict(parameters or {}), settings=dict(settings or {}), fmt=output_format
            )
            return answer.decode("utf-8", errors="replace")

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement that returns nothing, such as DDL."""
        with _translated(self.address):
            self._client().command(sql, parameters=dict(parameters or {}))

    def insert(self, table: str, columns: pa.Table) -> None:
        """Append ``columns`` to ``table`` as one block; returns once the engine has written it."""
        if columns.num_rows:
            with _translated(self.address):
                self._client().insert_arrow(table, columns)

    def insert_rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append a few ``rows``, each with the same keys, to ``table``."""
        if rows:
            names = list(rows[0])
            values = [[row[name] for name in names] for row in rows]
            try:
                with _translated(self.address):
                    self._client().insert(table, values, column_names=names)
            finally:
                values.clear()  # clickhouse-connect keeps them in a reference cycle until the collector comes by

    def read_text(self, sql: str, *, output_format: str, settings: Mapping[str, Any] | None = None) -> str:
        """Return ``text`` of a statement of anyone's: it changes nothing, opens no file and no connection.

        The rules are those of ``reading``; here the engine keeps them, elsewhere the process that serves it and the
        server's own read-only mode.
        """
        wanted = Statement(sql, output_format=output_format, settings={k: str(v) for k, v in (settings or {}).items()})
        try:
            if self.address.path is not None:
                return _read_embedded(Path(self.address.path), wanted)
            refuse_unless_reading(wanted, self._table_functions())
        except Refused as refused:
            raise _store_error(str(refused), refused.code, self.address) from refused
        return self.text(sql, output_format=output_format, settings={**(settings or {}), "readonly": 2})

    def version(self) -> str:
        """Return the engine's version."""
        return str(self.scalar("SELECT version()"))

    def close(self) -> None:
        """Close every thread's connection, then call ``on_close``. Idempotent."""
        with self._lock:
            clients, self._clients = self._clients, []
            on_close, self._on_close = self._on_close, lambda: None
        for client in clients:
            client.close()
        self._threads = threading.local()
        on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _table_functions(self) -> frozenset[str]:
        return frozenset(row["name"] for row in self.query("SELECT lower(name) AS name FROM system.table_functions"))

    def _client(self) -> Client:
        client: Client | None = getattr(self._threads, "client", None)
        if client is None:
            client = self._threads.client = _connect(self.address)
            with self._lock:
                self._clients.append(client)
        return client


def _connect(address: Address) -> Client:
    # It logs what it raises, to a terminal that then shows our error too.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    settings = dict(_SAFE_INSERTS)
    if address.path is not None:
        return clickhouse_connect.get_client(
            interface="chdb", path=address.path, database=address.database, settings=settings
        )
    return clickhouse_connect.get_client(
        host=address.host,
        port=address.port,
        username=address.user,
        password=address.password,
        database=address.database,
        secure=address.secure,
        ca_cert=address.ca_file,
        settings={**settings, "wait_end_of_query": 1},
        connect_timeout=5,
        send_receive_timeout=120,
        autogenerate_session_id=False,
    )


@contextmanager
def _translated(address: Address) -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        raise _our_error(error, address) from error
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        msg = f"rows do not fit their table: {error}"
        raise StatementRejected(msg) from error


def _our_error(error: ClickHouseError, address: Address) -> StoreError:
    code = (error.code if isinstance(error, Error) else None) or 0
    return _store_error(str(error), code, address, unreachable=isinstance(error, OperationalError) and code == 0)


def _store_error(message: str, code: int, address: Address, *, unreachable: bool = False) -> StoreError:
    text = " ".join(message.split())
    if code in _DISK or any(word in text for word in _DISK_WORDS):
        remedy = "free space or mend the folder's permissions, then retry"
        return StoreNotWritable(f"store {address} cannot be written: {_short(text)}; {remedy}")
    if code in _TRANSIENT | _TRANSIENT_RANGE or unreachable:
        if address.holder_pid is not None and not is_alive(address.holder_pid):
            remedy = "start this command again: it then opens the store itself, or through its next holder"
            return StoreHolderEnded(f"process {address.holder_pid}, which served the store {address}, ended; {remedy}")
        refusal = _REFUSAL.search(text)
        reason = refusal[1] if refusal else _short(text)
        msg = f"store {address} does not answer: {reason}; check that it runs, then retry"
        return StoreUnavailable(msg)
    return StatementRejected(f"store {address} refuses the statement: {_short(text)}", code)


def _read_embedded(path: Path, wanted: Statement) -> str:
    from driftline.store.engine import Engine

    engine = Engine(path)
    try:
        return engine.run(wanted, read_only=True).body.decode("utf-8", errors="replace")
    finally:
        engine.close()


def _short(text: str) -> str:
    return text if len(text) <= 500 else text[:497] + "..."
