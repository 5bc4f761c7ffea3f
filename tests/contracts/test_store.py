"""What every store does, whichever engine is behind it and however it is reached."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pytest

from driftline.errors import StatementRejected, StoreTooNew, StoreUnavailable
from driftline.store import Address, Store
from driftline.store.migrations import known_migrations, migrate, migration_status, refuse_newer
from driftline.store.opening import open_store
from tests.deploy.composition import read
from tests.store_process import holding

MOMENT = datetime(2023, 2, 1, 6, 30, 0, 123_000, tzinfo=UTC)
BIG = 2**64 - 2
HOSTILE = [
    "'; DROP TABLE annotations; --",
    "a\\'b",
    "tab\tnew\nline\r",
    "{x:String}",
    "ünï☃\U0001f600",
    "\\N",
    "%s",
    '"`',
]


@pytest.fixture(scope="module", params=["chdb", "endpoint", "server"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    home = tmp_path_factory.mktemp("home")
    match request.param:
        case "chdb":
            with open_store(f"chdb://{home}/store", home) as opened:
                assert opened.address.path is not None
                yield opened
        case "endpoint":
            with holding(home, serve=True), open_store(f"chdb://{home}/store", home) as opened:
                assert opened.address.path is None
                yield opened
        case _:
            yield from _server()


def _server() -> Iterator[Store]:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no ClickHouse server: Docker does not run here")
    from testcontainers.clickhouse import ClickHouseContainer

    image = read()["services"]["clickhouse"]["image"]
    with ClickHouseContainer(image, port=8123, username="t", password="t") as server:
        url = f"clickhouse://t:t@{server.get_container_host_ip()}:{server.get_exposed_port(8123)}/{server.dbname}"
        with open_store(url, Path()) as opened:
            yield opened


@pytest.fixture
def table(store: Store) -> Iterator[str]:
    store.execute(
        "CREATE TABLE kinds (id UInt32, category LowCardinality(Nullable(String)),"
        " shares Map(LowCardinality(String), Float64), run UUID, at DateTime64(3, 'UTC'),"
        " fine DateTime64(6, 'UTC'), maybe Nullable(DateTime64(3, 'UTC')), flag Bool,"
        " state Enum8('new' = 0, 'done' = 1), hash UInt64, x Nullable(Float64), tags Array(String), blob String,"
        " small Nullable(Float32), p UInt16, version UInt64 DEFAULT 0) ENGINE = ReplacingMergeTree(version) ORDER BY id"
    )
    yield "kinds"
    store.execute("DROP TABLE kinds")


def _row(number: int) -> dict[str, object]:
    return {
        "id": number, "category": None if number % 2 else "a", "shares": {"a": 0.25, "b": 0.75},
        "run": UUID(int=number),
        "at": MOMENT, "fine": MOMENT + timedelta(microseconds=7), "maybe": None if number % 2 else MOMENT,
        "flag": number % 2 == 0, "state": "done" if number % 2 else "new", "hash": BIG - number,
        "x": None if number % 2 else 0.1, "tags": HOSTILE, "blob": HOSTILE[number], "small": 0.5, "p": 65_535,
    }  # fmt: skip


def test_rows_of_every_column_type_come_back_as_they_went_in(store: Store, table: str) -> None:
    store.insert_rows(table, [_row(0), _row(1)])

    assert store.query(f"SELECT * EXCEPT version FROM {table} ORDER BY id") == [_row(0), _row(1)]


def test_arrow_columns_come_back_as_they_went_in(store: Store, table: str) -> None:
    columns = pa.table(
        {
            "id": pa.array([1, 2], pa.uint32()),
            "category": pa.array(["a", None], pa.dictionary(pa.int32(), pa.string())),
            "shares": pa.array([[("a", 0.5)], []], pa.map_(pa.string(), pa.float64())),
            "at": pa.array([MOMENT, MOMENT], pa.timestamp("ms", "UTC")),
            "flag": [True, False],
            "state": ["new", "done"],
            "hash": pa.array([BIG, 2**63], pa.uint64()),
            "x": [0.1, None],
            "blob": HOSTILE[:2],
        }
    )
    store.insert(table, columns)

    found = store.query(f"SELECT id, category, shares, at, flag, state, hash, x, blob FROM {table} ORDER BY id")
    assert found == [
        {"id": 1, "category": "a", "shares": {"a": 0.5}, "at": MOMENT, "flag": True, "state": "new", "hash": BIG,
         "x": 0.1, "blob": HOSTILE[0]},
        {"id": 2, "category": None, "shares": {}, "at": MOMENT, "flag": False, "state": "done", "hash": 2**63,
         "x": None, "blob": HOSTILE[1]},
    ]  # fmt: skip
    back = store.arrow(f"SELECT hash, blob FROM {table} ORDER BY id")
    assert back.to_pydict() == {"hash": [BIG, 2**63], "blob": HOSTILE[:2]}


def test_an_empty_insert_and_an_empty_result_are_nothing_special(store: Store, table: str) -> None:
    store.insert_rows(table, [])
    store.insert(table, pa.table({"id": pa.array([], pa.uint32())}))

    assert store.query(f"SELECT id FROM {table}") == []
    assert store.scalar(f"SELECT id FROM {table}") is None
    assert store.arrow(f"SELECT id FROM {table}").num_rows == 0


def test_final_returns_the_row_with_the_greatest_version(store: Store, table: str) -> None:
    for version, blob in ((3, "third"), (5, "fifth"), (4, "fourth")):
        store.insert_rows(table, [{**_row(1), "blob": blob, "version": version}])

    assert store.query(f"SELECT blob FROM {table} FINAL") == [{"blob": "fifth"}]


@pytest.mark.parametrize("text", HOSTILE)
def test_bound_text_is_never_read_as_sql(store: Store, text: str) -> None:
    assert store.scalar("SELECT {text:String}", {"text": text}) == text


def test_bound_values_keep_their_types(store: Store) -> None:
    values = {"n": BIG, "at": MOMENT, "many": ["a'b", "c"]}

    row = store.query("SELECT {n:UInt64} AS n, {at:DateTime64(3, 'UTC')} AS at, {many:Array(String)} AS many", values)

    assert row == [values]


def test_times_are_aware_and_utc(store: Store, table: str) -> None:
    store.insert_rows(table, [_row(0)])

    moment = store.scalar(f"SELECT at FROM {table}")

    assert moment == MOMENT
    assert moment.utcoffset() == timedelta(0)


def test_a_statement_the_engine_cannot_read_is_rejected_with_its_code(store: Store) -> None:
    with pytest.raises(StatementRejected, match=r"store .* refuses the statement: .*Syntax error") as caught:
        store.query("SELEC 1")
    assert caught.value.code == 62
    assert not caught.value.retriable


def test_a_table_that_does_not_exist_is_rejected(store: Store) -> None:
    with pytest.raises(StatementRejected) as caught:
        store.insert_rows("no_such_table", [{"a": 1}])
    assert caught.value.code in (0, 60)


def test_rows_that_do_not_fit_are_rejected(store: Store, table: str) -> None:
    with pytest.raises(StatementRejected):
        store.insert(table, pa.table({"id": ["not a number"]}))


def test_lack_of_memory_may_be_retried(store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        store.query("SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 1000000")


def test_a_reader_changes_nothing(store: Store, table: str) -> None:
    with pytest.raises(StatementRejected) as caught:
        store.read_text(f"DROP TABLE {table}", output_format="TSV")
    assert caught.value.code == 497
    assert store.read_text(f"SELECT count() FROM {table}", output_format="TSV") == "0\n"


def test_settings_of_one_call_do_not_reach_the_next(store: Store) -> None:
    store.text("SELECT 1", output_format="TSV", settings={"max_block_size": 77})

    assert store.scalar("SELECT getSetting('max_block_size')") != 77


def test_threads_write_and_read_at_the_same_time(store: Store, table: str) -> None:
    def work(number: int) -> int:
        store.insert_rows(table, [{**_row(0), "id": number}])
        return int(store.scalar(f"SELECT count() FROM {table} WHERE id = {{id:UInt32}}", {"id": number}))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(40))) == [1] * 40
    assert store.scalar(f"SELECT count() FROM {table}") == 40


def test_migrating_twice_does_nothing_the_second_time(store: Store) -> None:
    assert migrate(store) == []
    assert [m.number for m in migration_status(store) if m.applied] == [m.number for m in known_migrations()]


def test_every_view_answers_on_an_empty_store(store: Store) -> None:
    views = store.query("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View'")

    assert {"metrics", "checks"} <= {row["name"] for row in views}
    for row in views:
        assert store.query(f"SELECT * FROM {row['name']}") == []


def test_a_store_of_a_newer_version_is_refused(store: Store) -> None:
    newest = known_migrations()[-1].number
    store.insert_rows("schema_migrations", [{"number": newest + 1, "name": "later", "checksum": ""}])
    try:
        with pytest.raises(StoreTooNew) as caught:
            refuse_newer(store)
    finally:
        store.execute(f"ALTER TABLE schema_migrations DELETE WHERE number = {newest + 1} SETTINGS mutations_sync = 2")
    assert str(caught.value) == (
        f"store {store.address} has schema {newest + 1}, this version of driftline knows up to {newest}; "
        "use the newer driftline, or another --home"
    )


def test_a_wrong_password_is_rejected(store: Store) -> None:
    if store.address.path is not None:
        pytest.skip("an engine in this process has no password")
    with pytest.raises(StatementRejected, match="Authentication failed"):
        Store(replace(store.address, password="wrong"))


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match=r"store clickhouse://127\.0\.0\.1:1/default does not answer: .*"):
        Store(Address(port=1))
