"""``driftline consume`` killed with SIGKILL, again and again: the store must not be able to tell.

The kills come at random moments of a seeded schedule, while a consumer flushes every tenth of a second. What
is compared with a consumer that nobody disturbed: the audit, all rows of ``segment_counts`` bit for bit, and
the views that readers see (which add up segments in any order, so that a last bit may differ). ``make faults``
runs twenty kills.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from consumers.auditing.audit import audit
from driftline.contract import read_contract
from driftline.events import STREAMS, Marker, marker_headers
from driftline.store.opening import open_store
from driftline.transport import Partition, Transport, open_transport
from tests.consumers.making import HOUR, MINUTE, T0, input_of, label_of, prediction_of

FULL = os.environ.get("DRIFTLINE_FULL_FAULTS") == "1"
KILLS = 20 if FULL else 4
EVENTS, PARTITIONS, SEED = 5_000, 2, 20230501
MONITOR = """
model: shop
columns:
  amount: {type: number, range: [0, 100]}
  colour: {type: category, values: [red, green]}
"""
# What differs between two runs by its nature: who wrote a row, when.
SEGMENT_COUNTS = "SELECT * EXCEPT (writer, seg_version) FROM segment_counts FINAL ORDER BY ALL"
WINDOW_COUNTS = "SELECT * EXCEPT (written) FROM window_counts ORDER BY ALL"
METRICS = "SELECT * EXCEPT (revision, run_id, computed_at) FROM metrics ORDER BY ALL"


def test_killed_consumers_leave_the_same_figures_as_an_undisturbed_one(tmp_path: Path) -> None:
    log = f"local://{tmp_path}/log"
    monitor = tmp_path / "monitor.yaml"
    monitor.write_text(MONITOR)
    fill(log)

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    finish(command(undisturbed, monitor, log))
    kills = kill_repeatedly(command(killed, monitor, log), random.Random(SEED), KILLS)
    finish(command(killed, monitor, log))

    expected, found = readings(undisturbed, monitor, log), readings(killed, monitor, log)
    assert kills == KILLS
    assert found["audit"] == expected["audit"]
    assert found["mismatches"] == []
    assert found["segment_counts"] == expected["segment_counts"]
    assert found["window_counts"] == expected["window_counts"]
    assert found["metrics"] == expected["metrics"]
    assert len(found["metrics"]) > 500


@pytest.mark.kafka
def test_killed_consumers_of_a_real_broker_leave_the_same_figures(tmp_path: Path, kafka_broker: Any) -> None:
    monitor = tmp_path / "monitor.yaml"
    monitor.write_text(MONITOR.replace("model: shop", "model: killed"))
    fill(kafka_broker.url, "killed")

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    finish(command(undisturbed, monitor, kafka_broker.url))
    kill_repeatedly(command(killed, monitor, kafka_broker.url), random.Random(SEED), 5)
    finish(command(killed, monitor, kafka_broker.url))

    expected = readings(undisturbed, monitor, kafka_broker.url)
    found = readings(killed, monitor, kafka_broker.url)
    assert found["mismatches"] == []
    assert found == expected


def fill(log: str, model: str = "shop") -> None:
    """Three topics of events with duplicates, poison, violations and markers, in no tidy order of time."""
    rng, transport = random.Random(SEED), open_transport(log)
    for stream in STREAMS:
        transport.create_topic(f"{model}.{stream}", PARTITIONS)
    send(transport, model, rng)
    transport.close()


def send(transport: Transport, model: str, rng: random.Random) -> None:
    with transport.producer() as producer:
        for number in range(EVENTS):
            at, number_sent = T0 + number * 3 * MINUTE // 10 - rng.randint(0, HOUR), number
            if rng.random() < 0.05:
                number_sent = rng.randint(0, number)  # an id of before, perhaps in another hour
            name = f"e{number_sent}"
            values = [
                input_of(
                    name, at, amount=rng.choice([rng.random() * 120, None, "x"]), colour=rng.choice(["red", "blue"])
                ),
                prediction_of(name, at, rng.random()),
                label_of(name, at + HOUR, rng.random()),
            ]
            for stream, value in zip(STREAMS, values, strict=True):
                body = b"\xff{" if rng.random() < 0.01 else value
                producer.send(Partition(f"{model}.{stream}", number_sent % PARTITIONS), key=name.encode(), value=body)
            if number % 500 == 0:
                mark(producer, model, Marker("test", at - HOUR))
        mark(producer, model, Marker("test", T0 + 10 * 24 * HOUR, end=True))


def mark(producer: Any, model: str, marker: Marker) -> None:
    for stream in STREAMS:
        for index in range(PARTITIONS):
            producer.send(Partition(f"{model}.{stream}", index), key=b"", value=b"", headers=marker_headers(marker))


def command(home: Path, monitor: Path, log: str) -> list[str]:
    options = ["--home", str(home), "--monitor", str(monitor), "--transport", log]
    return [
        sys.executable,
        "-m",
        "tests.faults.small_steps",
        *options,
        "consume",
        "--until-end",
        "--flush-seconds",
        "0.1",
    ]


def kill_repeatedly(arguments: list[str], rng: random.Random, times: int) -> int:
    """Start the consumer and kill it at a random moment after its first write, ``times`` over; return how often."""
    kills = 0
    home = Path(arguments[arguments.index("--home") + 1])
    while kills < times:
        before = newest_write(home)
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while newest_write(home) == before and process.poll() is None:
            time.sleep(0.02)
        time.sleep(rng.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        if process.returncode != -signal.SIGKILL:
            break
    return kills


def newest_write(home: Path) -> float:
    """Return when the table of commit records last changed on disk."""
    return max((folder.stat().st_mtime for folder in home.glob("store/data/default/segments/")), default=0.0)


def finish(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def readings(home: Path, monitor: Path, log: str) -> dict[str, Any]:
    contract = read_contract(monitor)
    with open_store(f"chdb://{home}/store", home) as store:
        accounts = audit(store, open_transport(log), contract)
        assert all(account.pending == 0 for account in accounts)
        return {
            "audit": accounts,
            "mismatches": [mismatch for account in accounts for mismatch in account.mismatches],
            "segment_counts": store.query(SEGMENT_COUNTS),
            "window_counts": rounded(store.query(WINDOW_COUNTS)),
            "metrics": rounded(store.query(METRICS)),
        }


def rounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: float(f"{v:.12g}") if isinstance(v, float) else v for name, v in row.items()} for row in rows]
