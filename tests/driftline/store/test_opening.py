from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline.errors import StoreBusy, StoreNotWritable, UsageError
from driftline.store import Address
from driftline.store.opening import open_store, parse_url
from tests.store_process import holding

pytestmark = pytest.mark.timeout(60)


def url(home: Path) -> str:
    return f"chdb://{home}/store"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def count(home: Path) -> int:
    with open_store(url(home), home) as store:
        return int(store.scalar("SELECT count() FROM annotations"))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("cannot mount a small tmpfs: needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_the_home_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"

    assert count(home) == 0

    assert mode(home) == 0o700
    assert mode(home / "endpoint.json") == 0o600


def test_a_second_process_reads_and_writes_while_the_first_holds_the_store(tmp_path: Path) -> None:
    with holding(tmp_path, serve=True), open_store(url(tmp_path), tmp_path) as second:
        assert second.address.path is None
        second.insert_rows("annotations", [{"model": "m", "title": "t"}])
        assert second.scalar("SELECT count() FROM annotations") == 1
    assert count(tmp_path) == 1


def test_who_may_serve_also_works_through_the_process_that_serves(tmp_path: Path) -> None:
    with holding(tmp_path, serve=True), open_store(url(tmp_path), tmp_path, serve=True) as second:
        assert second.address.path is None


def test_tokens_survive_the_process_that_made_them(tmp_path: Path) -> None:
    tokens = []
    for _ in range(2):
        with holding(tmp_path, serve=True):
            note = json.loads((tmp_path / "endpoint.json").read_text())
            tokens.append((note["token"], note["reader_token"]))
    assert tokens[0] == tokens[1]
    assert len({*tokens[0]}) == 2
    assert min(map(len, tokens[0])) >= 40


def test_a_store_that_is_held_and_not_served_is_busy_and_names_its_process(tmp_path: Path) -> None:
    with holding(tmp_path, serve=False) as holder, pytest.raises(StoreBusy) as caught:
        open_store(url(tmp_path), tmp_path, timeout_seconds=0.3)
    assert str(caught.value) == (
        f"process {holder.pid} holds the store in {tmp_path} and does not serve it; "
        "wait until it ends, stop it or use another --home"
    )


def test_a_short_command_that_holds_the_store_only_delays_another(tmp_path: Path) -> None:
    with holding(tmp_path, serve=False) as holder:
        waiting = subprocess.Popen(
            [sys.executable, "-c", _COUNT, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert holder.stdin is not None
        holder.stdin.close()
        out, _ = waiting.communicate(timeout=30)
    assert (waiting.returncode, out) == (0, "0\n")


def test_no_acknowledged_row_is_lost_when_the_holder_is_killed(tmp_path: Path) -> None:
    with holding(tmp_path, serve=True) as holder, open_store(url(tmp_path), tmp_path) as writer:
        for number in range(50):
            writer.insert_rows("segments", [{"topic": "t", "lo": number, "hi": number}])
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(timeout=10)
        with open_store(url(tmp_path), tmp_path) as store:
            assert store.address.path is not None
            assert store.scalar("SELECT count() FROM segments") == 50


def test_a_note_of_a_dead_process_is_ignored(tmp_path: Path) -> None:
    with holding(tmp_path, serve=True) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(timeout=10)
    with holding(tmp_path, serve=False), pytest.raises(StoreBusy):
        open_store(url(tmp_path), tmp_path, timeout_seconds=0)


def test_a_store_whose_path_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("x")
    with pytest.raises(StoreNotWritable) as caught:
        open_store(url(tmp_path), tmp_path)
    assert str(caught.value) == f"{tmp_path}/store is a file and no folder; name another with --home"


def test_a_home_that_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("x")
    with pytest.raises(StoreNotWritable) as caught:
        open_store(url(home), home)
    assert str(caught.value) == f"{home} is a file and no folder; name another with --home"


def test_a_home_that_the_system_does_not_let_make_is_refused_in_one_line() -> None:
    with pytest.raises(StoreNotWritable) as caught:
        open_store("chdb:///proc/nowhere/store", Path("/proc/nowhere"))
    assert str(caught.value) == (
        "folder /proc/nowhere cannot be made: no such file or directory; name another with --home"
    )


def test_a_read_only_folder_is_refused_in_one_line(tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    home = tiny_disk / "home"
    with pytest.raises(StoreNotWritable) as caught:
        open_store(url(home), home)
    assert str(caught.value) == f"folder {home} cannot be made: read-only file system; name another with --home"


def test_a_full_disk_is_refused_in_one_line(tiny_disk: Path) -> None:
    home = tiny_disk / "home"
    home.mkdir()
    with pytest.raises(OSError, match="No space left"):
        (tiny_disk / "filler").write_bytes(b"\0" * 9_000_000)
    run = subprocess.run(
        [sys.executable, "-c", _COUNT, str(home)], capture_output=True, text=True, timeout=30, check=False
    )
    assert run.returncode == 3
    assert run.stderr == (
        f"StoreNotWritable: folder {home}/store cannot be written: no space left on device; "
        "free space, mend its permissions or use another --home\n"
    )


def test_a_disk_that_fills_up_refuses_the_rows_and_keeps_the_store(tiny_disk: Path) -> None:
    with open_store(url(tiny_disk), tiny_disk) as store:
        store.insert_rows("annotations", [{"model": "m", "title": "small"}])
        rows = [{"model": "m", "title": "large", "text": os.urandom(6_000_000).hex()}]
        with pytest.raises(StoreNotWritable, match=r"cannot be written: .*free space or mend the folder's permissions"):
            store.insert_rows("annotations", rows)
        assert store.scalar("SELECT count() FROM annotations WHERE title = 'small'") == 1


def test_files_held_under_another_home_are_refused_without_a_stack_trace(tmp_path: Path) -> None:
    with holding(tmp_path, serve=False):
        other = tmp_path / "other"
        run = subprocess.run(
            [sys.executable, "-c", _COUNT, str(other), url(tmp_path)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert run.returncode == 3
    assert run.stderr.splitlines()[-1] == (
        f"StoreNotWritable: store {url(tmp_path)} cannot be opened: its files are held by a process with another "
        "--home, damaged or on a full disk; use that --home, free space or use another folder"
    )


@pytest.mark.parametrize(
    "wrong", ["", "chdb://relative", "chdb:", "sqlite:///x", "clickhouse://", "clickhouse://h:port/d"]
)
def test_a_url_that_names_no_store_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(wrong)
    assert str(caught.value) == (
        f"--store must be chdb:///folder or clickhouse://user@host:port/database; got {wrong!r}"
    )


def test_a_server_url_names_everything_that_a_connection_needs() -> None:
    assert parse_url("clickhouse://ann:p%40ss@db.example:9999/ml?secure=1") == Address(
        host="db.example", port=9999, user="ann", password="p@ss", database="ml", secure=True
    )


def test_ports_and_database_have_the_servers_defaults() -> None:
    assert parse_url("clickhouse://h") == Address(host="h", port=8123, user="default", database="default")
    assert parse_url("clickhouse://h?secure=1").port == 8443


def test_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(UsageError) as caught:
        parse_url("postgres://ann:secret@db/ml")
    assert "secret" not in str(caught.value)


_COUNT = """
import sys
from pathlib import Path
from driftline.errors import DriftlineError
from driftline.store.opening import open_store
home = Path(sys.argv[1])
url = sys.argv[2] if len(sys.argv) > 2 else f"chdb://{home}/store"
try:
    with open_store(url, home) as store:
        print(store.scalar("SELECT count() FROM annotations"))
except DriftlineError as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(3)
"""
