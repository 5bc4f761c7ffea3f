"""What each user of ``clickhouse/server`` may not do, by the engine itself; ``test_services`` shows what it may."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import chdb
import pytest

from batch.ledger.deleting import RESULT_TABLES, delete_results
from driftline.contract import parse_contract
from driftline.errors import StatementRejected
from driftline.store import Address, Store
from driftline.store.migrations import known_migrations
from driftline.store.opening import open_store, parse_url
from driftline.windows import Window
from grafana.builder import files
from grafana.macros import Selection, TimeRange, prepare, variables_in
from tests.store_as_user import DATABASE, PASSWORD, USERS_FILE, served_as

pytestmark = pytest.mark.xdist_group("grants")

ACCESS_DENIED, READ_ONLY = 497, 164
OUTSIDE = [
    "SELECT * FROM file('/etc/hostname', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1/', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1', 'system.one')",
    "SELECT * FROM s3('http://127.0.0.1/bucket/key.csv')",
    "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "INSERT INTO FUNCTION file('/tmp/x.csv') SELECT 1",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an empty database, brought up to date by the user that migrates."""
    folder = tmp_path_factory.mktemp("grants")
    connection = chdb.connect(str(folder / "store"))
    connection.query(f"CREATE DATABASE {DATABASE}")
    connection.close()
    with (
        served_as("driftline_migrate", folder / "store", folder / "driftline_migrate") as url,
        open_store(url, folder, password=PASSWORD) as store,
    ):
        _refuses(store, OUTSIDE)
        _refuses(
            store, ["INSERT INTO segments (topic) VALUES ('t')", "CREATE TABLE elsewhere.t (x UInt8) ENGINE = Memory"]
        )
    return folder


def _refuses(store: Store, statements: list[str]) -> None:
    for statement in statements:
        with pytest.raises(StatementRejected) as caught:
            store.execute(statement)
        assert caught.value.code in {ACCESS_DENIED, READ_ONLY}, f"{statement}: {caught.value}"


@pytest.fixture
def store(request: pytest.FixtureRequest, folder: Path) -> Iterator[Store]:
    with (
        served_as(request.param, folder / "store", folder / request.param) as url,
        open_store(url, folder, password=PASSWORD) as opened,
    ):
        yield opened


@pytest.mark.parametrize("store", ["driftline_ingest", "driftline_batch"], indirect=True)
def test_who_works_on_the_tables_may_neither_make_nor_drop_them_nor_reach_outside(store: Store) -> None:
    _refuses(store, OUTSIDE)
    _refuses(
        store,
        [
            "CREATE TABLE t (x UInt8) ENGINE = Memory",
            "DROP TABLE segments",
            "ALTER TABLE segments DELETE WHERE 1",
            "TRUNCATE TABLE segments",
            "SELECT * FROM system.users",
            "CREATE USER ann",
            "GRANT SELECT ON *.* TO default",
        ],
    )


@pytest.mark.parametrize("store", ["driftline_ingest"], indirect=True)
def test_who_ingests_neither_writes_nor_reads_what_jobs_write(store: Store) -> None:
    _refuses(
        store,
        [
            "INSERT INTO job_metrics (job) VALUES ('quality')",
            "INSERT INTO reference_sets (model) VALUES ('m')",
            "SELECT frame FROM reference_sets",
        ],
    )


@pytest.mark.parametrize("store", ["driftline_batch"], indirect=True)
def test_who_judges_does_not_write_what_comes_from_the_log(store: Store) -> None:
    _refuses(store, ["INSERT INTO segments (topic) VALUES ('t')", "INSERT INTO labels (id) VALUES ('1')"])
    assert store.scalar("SELECT count() FROM segments") == 0


@pytest.mark.parametrize("store", ["driftline_batch"], indirect=True)
def test_who_judges_may_delete_what_jobs_found_and_nothing_else(store: Store) -> None:
    day = datetime(2023, 2, 1, tzinfo=UTC)
    row = {"job": "data", "model": "m", "granularity": "1d", "window_start": day}
    for table in RESULT_TABLES:
        store.insert_rows(table, [row])
    contract = parse_contract("model: m\ncolumns: {x: {type: number}}", "test")
    assert delete_results(store, contract, Window(day, day + timedelta(days=1)), []) == 1
    assert [store.scalar(f"SELECT count() FROM {table}") for table in RESULT_TABLES] == [0] * len(RESULT_TABLES)
    _refuses(store, ["ALTER TABLE predictions DELETE WHERE 1", "ALTER TABLE job_runs DROP COLUMN job"])


@pytest.mark.parametrize("store", ["driftline_batch"], indirect=True)
def test_who_judges_may_put_a_references_rows_into_a_statement(store: Store) -> None:
    assert store.scalar("SELECT x + 1 FROM format(JSONEachRow, 'x Int64', '{\"x\": 1}')") == 2


@pytest.fixture
def grafana(folder: Path) -> Iterator[Address]:
    with served_as("driftline_grafana", folder / "store", folder / "driftline_grafana") as url:
        yield parse_url(url)


def ask(address: Address, sql: str) -> str:
    """Ask as Grafana does, without a setting of ours: its user may set none."""
    import clickhouse_connect

    client = clickhouse_connect.get_client(
        host=address.host, port=address.port, username=address.user, password=PASSWORD, database=address.database,
        autogenerate_session_id=False,
    )  # fmt: skip
    try:
        return client.raw_query(sql, fmt="TabSeparated").decode()
    finally:
        client.close()


def test_grafana_reads_every_dashboard_and_nothing_else(grafana: Address) -> None:
    for dashboard in files.dashboards():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                ask(grafana, _plain(target["rawSql"]))
    ask(grafana, "SELECT reason, status FROM dead_letter_status")
    for statement in [
        *OUTSIDE,
        "SELECT * FROM segments",
        "SELECT * FROM inputs_nyc_green_taxi",
        "SELECT raw FROM dead_letters",
        "SELECT raw FROM dead_letter_status",
        "SELECT body FROM contracts",
        "SELECT frame FROM reference_sets",
        "INSERT INTO annotations (model) VALUES ('m')",
        "DROP VIEW metrics",
        "SELECT 1 SETTINGS max_memory_usage = 0",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT * FROM system.users",
    ]:
        with pytest.raises(Exception, match=r"Code: (497|164|60)\b"):
            ask(grafana, statement)


def _plain(sql: str) -> str:
    return prepare(sql, TimeRange(0, 86_400_000), {name: Selection(("a",)) for name in variables_in(sql)})


def test_every_table_of_the_schema_is_written_by_someone_and_every_view_is_known() -> None:
    granted = USERS_FILE.read_text(encoding="utf-8")
    schema = "\n".join(migration.sql for migration in known_migrations())
    tables = set(re.findall(r"^CREATE TABLE (\w+)", schema, re.MULTILINE))
    writable = set(re.findall(r"GRANT (?:SELECT, )?INSERT(?:, ALTER DELETE)? ON driftline\.(\w+)<", granted))

    assert tables - writable == set(), "grant INSERT to the user whose process writes it"
    assert writable - tables == {"schema_migrations"}
