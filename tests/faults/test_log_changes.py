"""Logs that are made again (F18), read a second time (F21), torn (F26), or counted by an older version (F28)."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from consumers.drill.faults import kill_one, outcome_of
from consumers.drill.load import Load
from consumers.drill.rig import Rig
from driftline.contract import read_contract
from driftline.errors import TransportError
from driftline.events import STREAMS
from driftline.store import Store
from driftline.store.inputs_table import ensure_inputs_table
from driftline.store.migrations import known_migrations, migrate
from driftline.store.opening import open_store, parse_url
from driftline.transport import Partition, open_transport
from driftline.transport.local import LocalTransport
from tests.faults.conftest import FULL, NEEDS_FULL, Record

SEED, EVENTS = 20230504, 20_000 if FULL else 1_500
SMALL_STEPS = (sys.executable, "-m", "tests.faults.small_steps")

pytestmark = pytest.mark.timeout(900 if FULL else 180)


def test_a_topic_deleted_and_made_again_is_counted_in_both_its_lives(tmp_path: Path, hold: Record) -> None:
    rig, begun = Rig(tmp_path, Load(SEED, EVENTS), command=SMALL_STEPS), time.monotonic()
    rig.fill()
    rig.finish()
    with rig.transport() as transport:
        assert isinstance(transport, LocalTransport)
        for stream in STREAMS:
            transport.delete_topic(rig.topic(stream))
            transport.create_topic(rig.topic(stream), 2)
    rig.load, rig.truth.records = replace(rig.load, seed=SEED + 1), 0  # the audit counts the present incarnation
    rig.truth.forget_watermarks()
    rig.fill()
    kill_one(rig, rig.consume(), 0.1)
    rig.finish()

    done = "topics deleted and made again between two loads, a kill -9 in the second"
    hold(outcome_of("F18", done, rig, 1, rig.judge(), time.monotonic() - begun))


@NEEDS_FULL
def test_a_second_store_that_reads_the_same_log_holds_the_same(tmp_path: Path, hold: Record) -> None:
    first, begun = Rig(tmp_path / "first", Load(SEED, EVENTS), command=SMALL_STEPS), time.monotonic()
    first.fill()
    first.finish()
    second = Rig(tmp_path / "second", first.load, first.log, command=SMALL_STEPS, truth=first.truth)
    second.finish()

    assert first.judge().holds
    hold(outcome_of("F21", "the log read into a second store", second, 1, second.judge(), time.monotonic() - begun))


def test_a_store_of_an_older_schema_goes_on_in_the_middle_of_a_segment(tmp_path: Path, hold: Record) -> None:
    """What the first consumer has stored is carried over into a store that has the first two schema files only."""
    now, begun = Rig(tmp_path / "now", Load(SEED, EVENTS, poison=0.05), command=SMALL_STEPS), time.monotonic()
    now.fill()
    kill_one(now, now.consume(), 0.2)
    old = Rig(tmp_path / "old", now.load, now.log, command=SMALL_STEPS, truth=now.truth)
    carry_over(now, old, first_files=2)

    old.finish()

    done = "a store of schema 0002 opened by this version amid its log"
    hold(outcome_of("F28", done, old, 1, old.judge(), time.monotonic() - begun))


def carry_over(source: Rig, target: Rig, first_files: int) -> None:
    target.home.mkdir(parents=True)
    contract = read_contract(source.monitor)
    with Store(parse_url(f"chdb://{target.home}/store")) as store:
        with pytest.MonkeyPatch.context() as patch:
            known = known_migrations()[:first_files]
            patch.setattr("driftline.store.migrations.known_migrations", lambda: known)
            migrate(store)
        ensure_inputs_table(store, contract)
        tables = {table: columns_of(store, table) for table in tables_of(store)}
    with open_store(f"chdb://{source.home}/store", source.home) as store:
        tables = {
            table: [name for name in names if name in columns_of(store, table)] for table, names in tables.items()
        }
        rows = {
            table: store.arrow(f"SELECT {', '.join(f'`{name}`' for name in names)} FROM {table}")
            for table, names in tables.items()
        }
    assert rows["segments"].num_rows > 0
    assert rows["dead_letters"].num_rows > 0
    with Store(parse_url(f"chdb://{target.home}/store")) as store:
        for table, columns in rows.items():
            store.insert(table, columns)


def tables_of(store: Store) -> list[str]:
    rows = store.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' "
        "AND name != 'schema_migrations'"
    )
    return [row["name"] for row in rows]


def columns_of(store: Store, table: str) -> list[str]:
    rows = store.query(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String} "
        "AND default_kind NOT IN ('MATERIALIZED', 'ALIAS')",
        {"table": table},
    )
    return [row["name"] for row in rows]


STEPS = 4


@pytest.fixture(scope="module")
def torn_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log as a killed producer leaves it: its topic in the file, four appends of 20 records each still in the WAL."""
    folder, copy = tmp_path_factory.mktemp("log"), tmp_path_factory.mktemp("copy") / "log"
    transport = open_transport(f"local://{folder}")
    transport.create_topic("torn", 1)
    with closing(sqlite3.connect(folder / "log.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    producer = transport.producer()
    for step in range(STEPS):
        for number in range(20):
            producer.send(Partition("torn", 0), key=b"k", value=b"%d:%d:" % (step, number) + b"x" * 200)
        producer.flush()
    shutil.copytree(folder, copy)
    producer.close()
    transport.close()
    return copy


def values_of(folder: Path) -> list[bytes]:
    transport = open_transport(f"local://{folder}")
    try:
        with transport.consumer() as consumer:
            consumer.assign({Partition("torn", 0): 0})
            return [value or b"" for batch in consumer.poll(0) for value in batch.values]
    finally:
        transport.close()


def test_a_torn_tail_of_the_log_leaves_whole_appends(torn_log: Path, tmp_path: Path) -> None:
    whole = values_of(shutil.copytree(torn_log, tmp_path / "whole"))
    assert len(whole) == 20 * STEPS
    size = (torn_log / "log.db-wal").stat().st_size
    kept = set()

    for cut in range(size, 0, -997 if FULL else -9_973):
        folder = shutil.copytree(torn_log, tmp_path / f"cut{cut}")
        with (folder / "log.db-wal").open("r+b") as file:
            file.truncate(cut)
        values = values_of(folder)
        assert values == whole[: len(values)]
        assert len(values) % 20 == 0
        kept.add(len(values))
        shutil.rmtree(folder)

    assert kept == {20 * step for step in range(STEPS + 1)}


def test_a_flipped_byte_in_the_unfinished_part_of_the_log_never_changes_a_record(
    torn_log: Path, tmp_path: Path
) -> None:
    whole = values_of(shutil.copytree(torn_log, tmp_path / "whole"))
    size = (torn_log / "log.db-wal").stat().st_size

    for at in range(32, size, 1_009 if FULL else 10_007):
        folder = shutil.copytree(torn_log, tmp_path / f"flip{at}")
        with (folder / "log.db-wal").open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x55]))
        try:
            values = values_of(folder)
        except TransportError:
            values = []
        assert values == whole[: len(values)]
        shutil.rmtree(folder)


def test_a_flipped_bit_anywhere_in_the_log_is_refused_or_changes_nothing(torn_log: Path, tmp_path: Path) -> None:
    settled = shutil.copytree(torn_log, tmp_path / "settled")
    with closing(sqlite3.connect(settled / "log.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole, size = values_of(settled), (settled / "log.db").stat().st_size
    dice, refused = Random(26), 0

    for turn in range(400 if FULL else 60):
        folder = shutil.copytree(settled, tmp_path / f"bit{turn}")
        at, bit = dice.randrange(size), 1 << dice.randrange(8)
        with (folder / "log.db").open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ bit]))
        try:
            assert values_of(folder) == whole, (at, bit)
        except TransportError:
            refused += 1
        shutil.rmtree(folder)

    assert refused
