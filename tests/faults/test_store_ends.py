"""``driftline consume`` when the store that it writes to goes away: a server to come back, or a holder that ended."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumers.auditing.audit import audit
from driftline.contract import read_contract
from driftline.store.holder import Note, read_note
from driftline.store.opening import open_store
from driftline.transport import Partition, open_transport
from tests.consumers.making import T0, input_of
from tests.faults.test_sigkill import MONITOR, command, fill, finish
from tests.store_process import holding

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def monitor(tmp_path: Path) -> Path:
    path = tmp_path / "monitor.yaml"
    path.write_text(MONITOR)
    return path


@contextmanager
def consuming(home: Path, monitor: Path, log: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    line = command(home, monitor, log)
    at = line.index("consume")
    live = [*line[:at], *options, "consume", "--flush-seconds", "0.1"]
    with subprocess.Popen(live, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def note_of(home: Path) -> Note:
    note = read_note(home)
    assert note is not None
    return note


def counts_something(home: Path) -> None:
    """Return once a consumer has stored a segment; the store is asked through its holder."""
    with open_store(f"chdb://{home}/store", home) as store:
        while not store.scalar("SELECT count() FROM segments"):
            pass


def send_one_more(log: str) -> None:
    transport = open_transport(log)
    with transport.producer() as producer:
        producer.send(Partition("shop.inputs", 0), key=b"k", value=input_of("one more", T0))
    transport.close()


def assert_nothing_is_lost(home: Path, monitor: Path, log: str) -> None:
    finish(command(home, monitor, log))
    transport = open_transport(log)
    with open_store(f"chdb://{home}/store", home) as store:
        accounts = audit(store, transport, read_contract(monitor))
    transport.close()
    assert [(account.pending, account.mismatches) for account in accounts] == [(0, ())] * 3


def test_sigterm_ends_a_consumer_that_waits_for_its_server(tmp_path: Path, monitor: Path) -> None:
    home, log = tmp_path / "home", f"local://{tmp_path}/log"
    fill(log)
    with holding(home, serve=True) as server:
        note = note_of(home)
        url = f"clickhouse://driftline:{note.token}@127.0.0.1:{note.port}/default"
        with consuming(tmp_path / "other", monitor, log, "--store", url) as consumer:
            counts_something(home)
            server.kill()
            server.wait()
            send_one_more(log)
            assert consumer.stderr is not None
            while "store_unavailable" not in (line := consumer.stderr.readline()):
                assert line, "the consumer ended by itself"

            consumer.send_signal(signal.SIGTERM)
            _, told = consumer.communicate(timeout=10)

    last = told.splitlines()[-1]
    assert consumer.returncode == 3
    assert last.startswith("driftline: stopped before ")
    assert f"rows were stored: store clickhouse://127.0.0.1:{note.port}/default does not answer: " in last
    assert last.endswith("; nothing is lost, the next start reads them again")
    assert_nothing_is_lost(home, monitor, log)


def test_a_consumer_whose_holder_ended_ends_and_the_next_one_holds_the_store(tmp_path: Path, monitor: Path) -> None:
    home, log = tmp_path / "home", f"local://{tmp_path}/log"
    fill(log)
    with holding(home, serve=True) as holder:
        note = note_of(home)
        with consuming(home, monitor, log) as consumer:
            counts_something(home)
            holder.kill()
            holder.wait()
            send_one_more(log)

            _, told = consumer.communicate(timeout=60)

    assert consumer.returncode == 3
    assert told.splitlines()[-1] == (
        f"driftline: process {holder.pid}, which served the store clickhouse://127.0.0.1:{note.port}/default, ended; "
        "start this command again: it then opens the store itself, or through its next holder"
    )
    assert_nothing_is_lost(home, monitor, log)
