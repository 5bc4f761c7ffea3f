"""What is special about the log in one SQLite file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from driftline.clock import ManualClock, from_ms, to_ms
from driftline.errors import DeliveryFailed, TransportError, TransportUnavailable, UsageError
from driftline.transport import Partition, open_transport
from driftline.transport.local import LocalTransport

_REPOSITORY = Path(__file__).parents[3]
_NOON = datetime(2023, 2, 1, 12, tzinfo=UTC)
_PLACE = Partition("trips", 0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(_NOON)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "log"


@pytest.fixture
def transport(folder: Path, clock: ManualClock) -> Iterator[LocalTransport]:
    opened = LocalTransport.open(f"local://{folder}", clock)
    opened.create_topic("trips", 1)
    yield opened
    opened.close()


def append(transport: LocalTransport, *values: bytes) -> None:
    with transport.producer() as producer:
        for value in values:
            producer.send(_PLACE, key=b"key", value=value)


def read_all(transport: LocalTransport) -> list[bytes | None]:
    with transport.consumer() as consumer:
        consumer.assign({_PLACE: 0})
        return [value for batch in consumer.poll(0) for value in batch.values]


class TestOpening:
    def test_an_absent_folder_is_made_for_its_owner_only(self, transport: LocalTransport, folder: Path) -> None:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert transport.url == f"local://{folder}"

    def test_a_relative_folder_lies_in_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        LocalTransport.open("local://data/log").close()
        assert (tmp_path / "data" / "log" / "log.db").exists()

    def test_leading_slashes_count_once(self, folder: Path) -> None:
        opened = open_transport(f"local:///{folder}")
        assert opened.url == f"local://{folder}"
        opened.close()

    @pytest.mark.parametrize("url", ["local://", "local:", "local:/tmp/log"])
    def test_an_address_without_a_folder_is_refused(self, url: str) -> None:
        with pytest.raises(UsageError) as caught:
            LocalTransport.open(url)
        assert str(caught.value) == f"a local log is addressed as local:///path/to/folder; got {url!r}"

    def test_a_folder_that_cannot_be_made_is_said_to_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(TransportError) as caught:
            LocalTransport.open(f"local://{tmp_path}/file/log")
        assert str(caught.value) == (
            f"the folder of the local log cannot be made: {tmp_path}/file/log: Not a directory; "
            "choose another with --transport"
        )

    def test_a_file_that_is_not_a_database_is_refused(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "log.db").write_bytes(b"this is not a database, and long enough to be seen as none" * 20)
        with pytest.raises(TransportError) as caught:
            LocalTransport.open(f"local://{folder}")
        assert str(caught.value) == (
            f"{folder}/log.db is not a driftline log or is damaged: file is not a database; "
            "choose another folder or restore a copy"
        )

    def test_another_programs_database_is_refused_and_left_alone(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        stranger = sqlite3.connect(folder / "log.db")
        stranger.execute("CREATE TABLE notes (text)")
        stranger.close()
        before = (folder / "log.db").read_bytes()
        with pytest.raises(TransportError) as caught:
            LocalTransport.open(f"local://{folder}")
        assert str(caught.value) == (
            f"{folder}/log.db is a database of another program, not a driftline log; "
            "choose another folder with --transport"
        )
        assert (folder / "log.db").read_bytes() == before

    def test_a_log_of_a_newer_version_is_refused(self, transport: LocalTransport, folder: Path) -> None:
        newer = sqlite3.connect(folder / "log.db")
        newer.execute("PRAGMA user_version = 3")
        newer.close()
        with pytest.raises(TransportError) as caught:
            LocalTransport.open(f"local://{folder}")
        assert str(caught.value) == (
            f"{folder}/log.db was made by a newer version of driftline (layout 3, this one knows 2); upgrade driftline"
        )

    def test_a_log_of_the_first_layout_is_read_on_and_checked_from_then_on(
        self, transport: LocalTransport, folder: Path
    ) -> None:
        transport.create_topic("t", 1)
        with transport.producer() as producer:
            producer.send(Partition("t", 0), key=None, value=b"old")
            producer.flush()
        older = sqlite3.connect(folder / "log.db")
        older.executescript("ALTER TABLE records DROP COLUMN checksum; PRAGMA user_version = 1")
        older.close()

        with closing(LocalTransport.open(f"local://{folder}")) as again, again.producer() as producer:
            producer.send(Partition("t", 0), key=None, value=b"new")
            producer.flush()
            with again.consumer() as consumer:
                consumer.assign({Partition("t", 0): 0})
                assert [value for batch in consumer.poll(0) for value in batch.values] == [b"old", b"new"]
        found = sqlite3.connect(folder / "log.db")
        assert found.execute("SELECT checksum IS NULL FROM records ORDER BY id").fetchall() == [(1,), (0,)]
        found.close()

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("UPDATE records SET value = X'6263' WHERE id & 7 = 1", "the record at offset 1 of t[0] is damaged"),
            ("UPDATE records SET append_time_ms = append_time_ms + 1 WHERE id & 7 = 1", "offset 1 of t[0] is damaged"),
            ("UPDATE records SET value = 'b' WHERE id & 7 = 1", "the record at offset 1 of t[0] is damaged"),
            ("DELETE FROM records WHERE id & 7 = 1", "the record at offset 1 of t[0] is gone"),
            ("DELETE FROM records WHERE id & 7 = 2", "the record at offset 2 of t[0] is gone"),
        ],
    )
    def test_a_record_that_is_not_the_one_appended_is_refused_by_name(
        self, transport: LocalTransport, folder: Path, change: str, said: str
    ) -> None:
        transport.create_topic("t", 1)
        with transport.producer() as producer:
            for value in (b"a", b"b", b"c"):
                producer.send(Partition("t", 0), key=None, value=value)
            producer.flush()
        damaging = sqlite3.connect(folder / "log.db")
        damaging.execute(change)
        damaging.commit()
        damaging.close()

        with transport.consumer() as consumer:
            consumer.assign({Partition("t", 0): 0})
            with pytest.raises(TransportError) as caught:
                consumer.poll(0)
        assert said in str(caught.value)
        assert str(caught.value).endswith("; restore a copy of the file, or replay into a new log")

    def test_every_commit_is_synced_and_readers_do_not_block_writers(
        self, transport: LocalTransport, folder: Path
    ) -> None:
        found = sqlite3.connect(folder / "log.db")
        assert found.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        found.execute("BEGIN")
        assert found.execute("SELECT count(*) FROM records").fetchone() == (0,)
        append(transport, b"meanwhile")
        assert found.execute("SELECT count(*) FROM records").fetchone() == (0,)
        found.close()
        assert read_all(transport) == [b"meanwhile"]

    def test_all_who_open_a_new_log_at_the_same_moment_find_the_same_one(self, tmp_path: Path) -> None:
        for attempt in range(8):
            start = threading.Barrier(6)

            def open_and_create(folder: Path = tmp_path / str(attempt), start: threading.Barrier = start) -> str:
                start.wait()
                opened = LocalTransport.open(f"local://{folder}")
                topic_id = opened.create_topic("trips", 1).topic_id
                opened.close()
                return topic_id

            with ThreadPoolExecutor(6) as threads:
                calls = [threads.submit(open_and_create) for _ in range(6)]
            assert len({call.result() for call in calls}) == 1


class TestAppending:
    def test_records_are_seen_by_nobody_before_they_are_flushed(self, transport: LocalTransport) -> None:
        with transport.producer() as producer:
            producer.send(_PLACE, key=b"key", value=b"value")
            assert read_all(transport) == []
            assert dict(producer.acknowledged) == {}
            producer.flush()
            assert read_all(transport) == [b"value"]

    def test_a_full_buffer_is_appended_without_a_flush(self, transport: LocalTransport) -> None:
        with transport.producer() as producer:
            for _ in range(10_001):
                producer.send(_PLACE, key=b"key", value=b"value")
            assert dict(producer.acknowledged) == {"trips": 10_000}

    def test_large_values_fill_the_buffer_by_their_bytes(self, transport: LocalTransport) -> None:
        with transport.producer() as producer:
            for _ in range(3):
                producer.send(_PLACE, key=b"key", value=bytes(6 * 1024 * 1024))
            assert dict(producer.acknowledged) == {"trips": 3}

    def test_append_time_is_the_clocks_and_stands_still_while_the_clock_goes_back(
        self, transport: LocalTransport, clock: ManualClock
    ) -> None:
        for step in (0, 5, -60, 56):  # seconds: noon, :05, a minute back, then :01
            clock.advance(timedelta(seconds=step))
            append(transport, b"value")
        with transport.consumer() as consumer:
            consumer.assign({_PLACE: 0})
            (batch,) = consumer.poll(0)
        assert [from_ms(moment) - _NOON for moment in batch.append_times_ms] == [
            timedelta(seconds=seconds) for seconds in (0, 5, 5, 5)
        ]
        assert batch.append_times_ms[0] == to_ms(_NOON)

    def test_a_log_held_by_another_process_is_unavailable_and_nothing_queued_is_lost(
        self, transport: LocalTransport, folder: Path
    ) -> None:
        holder = sqlite3.connect(folder / "log.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with transport.producer() as producer:
            producer.send(_PLACE, key=b"key", value=b"value")
            with pytest.raises(TransportUnavailable) as caught:
                producer.flush(timeout_seconds=0.05)
            holder.execute("ROLLBACK")
            holder.close()
            producer.flush()
        assert str(caught.value) == (
            f"the local log {folder}/log.db is held by another process; try again or stop that process"
        )
        assert read_all(transport) == [b"value"]

    def test_records_for_a_topic_deleted_meanwhile_are_refused_and_the_others_appended(
        self, transport: LocalTransport
    ) -> None:
        transport.create_topic("doomed", 1)
        with transport.producer() as producer:
            producer.send(Partition("doomed", 0), key=b"key", value=b"lost")
            producer.send(_PLACE, key=b"key", value=b"kept")
            transport.delete_topic("doomed")
            with pytest.raises(DeliveryFailed) as caught:
                producer.flush()
            assert dict(producer.acknowledged) == {"trips": 1}
        assert str(caught.value) == "1 records were not appended: doomed[0] was deleted meanwhile; send them again"
        assert read_all(transport) == [b"kept"]

    def test_a_full_disk_is_unavailable_and_what_was_queued_is_appended_later(self, folder: Path) -> None:
        """A limit on the size of files stands for the disk: the system then refuses the write."""
        script = f"""
import resource, signal
from driftline.errors import TransportUnavailable
from driftline.transport import Partition, open_transport
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
transport = open_transport("local://{folder}")
transport.create_topic("trips", 1)
producer = transport.producer()
producer.send(Partition("trips", 0), key=b"key", value=bytes(8_000_000))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
try:
    producer.flush()
except TransportUnavailable as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
producer.close()
print(dict(producer.acknowledged))
"""
        assert run_python(script) == [
            f"the local log {folder}/log.db cannot be written: disk I/O error; free space on its disk and try again",
            "{'trips': 1}",
        ]

    def test_a_folder_without_write_permission_is_an_error_that_says_so(self) -> None:
        folder = Path(tempfile.mkdtemp())  # not tmp_path, which no other user can enter
        try:
            LocalTransport.open(f"local://{folder}").close()
            for path in (folder, *folder.iterdir()):
                path.chmod(0o555 if path.is_dir() else 0o444)
            script = f"""
import os
from driftline.errors import TransportError
from driftline.transport.local import LocalTransport
if os.geteuid() == 0:  # root may write everywhere
    os.seteuid(65534)
try:
    LocalTransport.open("local://{folder}").create_topic("trips", 1)
except TransportError as error:
    print(error)
"""
            assert run_python(script) == [
                f"the local log {folder}/log.db must be writable: attempt to write a readonly database; "
                "change its permissions or choose another folder"
            ]
        finally:
            folder.chmod(0o755)
            shutil.rmtree(folder)


class TestReading:
    def test_a_poll_waits_on_the_clock_it_was_given(self, transport: LocalTransport, clock: ManualClock) -> None:
        with transport.consumer() as consumer:
            consumer.assign({_PLACE: 0})
            assert consumer.poll(2.5) == []
        assert clock.now() == _NOON + timedelta(seconds=2.5)

    def test_partitions_take_turns_when_each_fills_a_poll(self, transport: LocalTransport) -> None:
        transport.create_topic("busy", 3)
        places = [Partition("busy", index) for index in range(3)]
        with transport.producer() as producer:
            for place in places:
                for _ in range(100):
                    producer.send(place, key=b"key", value=b"value")
        with transport.consumer() as consumer:
            consumer.assign(dict.fromkeys(places, 0))
            first_three = [batch.partition for _ in range(3) for batch in consumer.poll(0, max_records=10)]
        assert sorted(first_three) == places

    def test_a_poll_holds_a_bounded_number_of_bytes(self, transport: LocalTransport) -> None:
        with transport.producer() as producer:
            for _ in range(4_000):
                producer.send(_PLACE, key=b"key", value=bytes(20_000))
        with transport.consumer() as consumer:
            consumer.assign({_PLACE: 0})
            polls = []
            while found := consumer.poll(0):
                polls.append(sum(map(len, found)))
        assert sum(polls) == 4_000
        assert max(polls) == 2_000  # in steps of 1,000 records: the first that passes 32 MB ends the poll

    def test_a_topic_made_again_is_not_mixed_up_with_the_one_assigned(self, transport: LocalTransport) -> None:
        append(transport, b"old")
        with transport.consumer() as consumer:
            consumer.assign({_PLACE: 0})
            transport.delete_topic("trips")
            transport.create_topic("trips", 1)
            append(transport, b"new")
            assert consumer.poll(0) == []
        assert read_all(transport) == [b"new"]


def run_python(script: str) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(_REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd="/", env=environment)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_subscription_is_refused_with_the_way_to_share_partitions(tmp_path: Path) -> None:
    transport = open_transport(f"local://{tmp_path}/log")
    transport.create_topic("trips", 1)
    with transport.consumer("group") as consumer, pytest.raises(UsageError) as caught:
        consumer.subscribe(["trips"])
    transport.close()
    assert str(caught.value) == (
        f"a local log has no consumer groups; got a subscription to trips in local://{tmp_path}/log; "
        "share its partitions with `--assignment i/n`"
    )
