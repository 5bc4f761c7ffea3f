from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from driftline.clock import ManualClock, SystemClock
from driftline.ops.health import Health
from driftline.ops.meters import Meters
from driftline.ops.processes import recent_processes
from driftline.ops.recorder import Recorder
from driftline.store import Address, Store
from driftline.store.endpoint import Endpoint, Tokens
from driftline.store.migrations import migrate
from driftline.transport import Partition


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(Address(path=str(tmp_path_factory.mktemp("store")))) as store:
        migrate(store)
        yield store


@pytest.fixture
def recorder(store: Store) -> Iterator[Recorder]:
    clock = ManualClock(SystemClock().now())
    yield Recorder("consume", store, Meters(clock), Health(clock), clock)
    store.execute("TRUNCATE TABLE process_stats")


def test_a_process_is_seen_with_what_it_costs_and_what_waits_in_it(recorder: Recorder, store: Store) -> None:
    recorder.meters.stands({Partition("t", 0): 3, Partition("t", 1): 4}, {}, 12)
    recorder.record()
    (one,) = recent_processes(store)
    assert (one.role, one.pid, one.state) == ("consume", os.getpid(), "running")
    assert (one.pending_rows, one.lag) == (12, 7)
    mine, cpu = _of_its_own(os.getpid())
    others = [
        _of_its_own(child.pid) for child in psutil.Process().children(recursive=True)
    ]  # a broker of the session, say
    assert one.rss_bytes == pytest.approx(mine + sum(rss for rss, _ in others), rel=0.2)
    assert one.cpu_seconds == pytest.approx(cpu + sum(cpu for _, cpu in others), rel=0.2, abs=1)
    assert recorder.health.against_ready() == []


def test_only_the_last_row_of_a_process_is_shown_and_it_may_be_its_end(recorder: Recorder, store: Store) -> None:
    recorder.record()
    recorder.clock.sleep(15)
    recorder.record(ended=True)
    (one,) = recent_processes(store)
    assert one.state == "ended"
    assert recorder.clock.now() - one.last_seen < timedelta(milliseconds=1)


def test_a_process_that_stopped_writing_without_a_word_is_silent(recorder: Recorder, store: Store) -> None:
    recorder.clock.sleep(-120)
    recorder.record()
    assert [one.state for one in recent_processes(store)] == ["silent"]


def test_the_same_row_twice_is_one_row(recorder: Recorder, store: Store) -> None:
    recorder.record()
    recorder.record()
    assert store.scalar("SELECT count() FROM process_stats FINAL") == 1


def test_a_child_counts_as_part_of_its_parent(recorder: Recorder) -> None:
    alone = recorder.measured()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        both = recorder.measured()
        assert child.stdin is not None
        child.stdin.close()
    assert both["threads"] > alone["threads"]
    assert both["rss_bytes"] > alone["rss_bytes"]


def test_a_store_that_does_not_answer_is_counted_and_shown_and_never_raised(recorder: Recorder, store: Store) -> None:
    endpoint = Endpoint(Path(store.address.path or ""), Tokens("owner", "reader"))
    recorder.store = Store(Address(port=endpoint.port, user="driftline", password="owner"))
    recorder.record()
    assert (errors(recorder), recorder.health.against_ready()) == (0, [])
    endpoint.close()
    recorder.record()
    recorder.store.close()
    (reason,) = recorder.health.against_ready()
    assert errors(recorder) == 1
    assert reason.startswith(f"store clickhouse://127.0.0.1:{endpoint.port}/default does not answer: ")


def test_a_store_that_refuses_the_row_has_answered(recorder: Recorder, store: Store) -> None:
    store.execute("RENAME TABLE process_stats TO elsewhere")
    try:
        recorder.record()
    finally:
        store.execute("RENAME TABLE elsewhere TO process_stats")
    assert (errors(recorder), recorder.health.against_ready()) == (1, [])


def errors(recorder: Recorder) -> float | None:
    return recorder.meters.registry.get_sample_value("driftline_process_stats_errors_total")


def _of_its_own(pid: int) -> tuple[int, float]:
    """Return resident bytes and CPU seconds of one process alone, read from procfs."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    ticks = [int(part) for part in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]]
    return int(status["VmRSS"].split()[0]) * 1024, sum(ticks) / os.sysconf("SC_CLK_TCK")
