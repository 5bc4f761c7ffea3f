"""A store that is away, silent or full while events come (F7, F9)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.drill.faults import outcome_of
from consumers.drill.load import Load
from consumers.drill.rig import Rig, end
from driftline.store.holder import read_note
from tests.faults.conftest import FULL, NEEDS_FULL, Record
from tests.kafka_broker import free_port

SEED = 20230503
SMALL_STEPS = (sys.executable, "-m", "tests.faults.small_steps")
TIMES, SECONDS = 3, 60.0

pytestmark = pytest.mark.timeout(900 if FULL else 180)


def serve(rig: Rig, port: int) -> subprocess.Popen[bytes]:
    holder = rig.start("store", "serve", "--port", str(port))
    while (note := read_note(rig.home)) is None or (note.pid, note.port) != (holder.pid, port):
        assert holder.poll() is None, "the store did not start"
        time.sleep(0.05)
    return holder


@NEEDS_FULL
def test_a_store_that_is_refused_and_then_silent_is_waited_for(tmp_path: Path, hold: Record) -> None:
    rig = Rig(tmp_path, Load(SEED, 15_000), command=SMALL_STEPS)
    begun, port = time.monotonic(), free_port()
    holder = serve(rig, port)
    note = read_note(rig.home)
    assert note is not None
    store = ["--store", f"clickhouse://driftline@127.0.0.1:{port}/default"]
    consumer = rig.consume(*store, environment={"DRIFTLINE_STORE_PASSWORD": note.token})
    rate = rig.load.events * 3 / (TIMES * 2 * (SECONDS + 3))
    try:
        with rig.filling(rate):
            while rig.newest_write() == 0:
                time.sleep(0.05)
            for _ in range(TIMES):
                end(holder)
                time.sleep(SECONDS)
                holder = serve(rig, port)
                time.sleep(3)
                holder.send_signal(signal.SIGSTOP)
                time.sleep(SECONDS)
                holder.send_signal(signal.SIGCONT)
                time.sleep(3)
        assert consumer.poll() is None, "the consumer did not outlive the outage"
        consumer.send_signal(signal.SIGTERM)
        assert consumer.wait(60) == 0
    finally:
        end(consumer)
        end(holder)
    rig.finish()
    done = f"the store killed for {SECONDS:g} s, then stopped for {SECONDS:g} s"
    hold(outcome_of("F7", done, rig, 2 * TIMES, rig.judge(), time.monotonic() - begun))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("cannot mount a small tmpfs: needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_consumer_whose_disk_is_full_ends_with_the_reason_and_the_next_one_makes_up_for_it(
    tmp_path: Path, small_disk: Path, hold: Record
) -> None:
    log = f"local://{tmp_path}/log"
    rig = Rig(small_disk, Load(SEED, 20_000 if FULL else 3_000), log=log, command=SMALL_STEPS)
    begun = time.monotonic()
    consumer = rig.consume()
    filler = small_disk / "filler"
    try:
        rig.fill()
        while rig.newest_write() == 0:
            time.sleep(0.02)
        with pytest.raises(OSError, match="No space left"):
            fill_up(filler)
        code = consumer.wait(60)
    finally:
        end(consumer)
        filler.unlink(missing_ok=True)

    assert code == 3
    rig.finish()
    done = "the disk of the store full while it is written, then freed"
    hold(outcome_of("F9", done, rig, 1, rig.judge(), time.monotonic() - begun))


def fill_up(file: Path) -> None:
    with file.open("wb", buffering=0) as raw:
        while True:
            raw.write(b"\0" * 65_536)
