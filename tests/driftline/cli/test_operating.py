"""Long-running commands as whoever operates them sees them: log lines, the ops port, their end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from driftline.clock import SystemClock, to_ms
from driftline.contract import parse_contract
from driftline.events import Marker, marker_headers
from driftline.transport import Partition
from driftline.transport.local import LocalTransport
from tests.consumers.making import HOUR, T0, input_of
from tests.driftline.cli.running import COMMAND, running

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]
MONITOR = """
model: shop
columns:
  amount: {type: number, range: [0, 100]}
windows: {stream: 1h, allowed_lateness: 0s}
"""
EVENTS = 100


def run(home: Path, *words: str) -> list[Any]:
    """Lines that a command prints as JSON."""
    done = subprocess.run([*COMMAND, "--home", str(home), *words], cwd=home, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A monitor and its three empty topics."""
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "shop.yaml").write_text(MONITOR)
    log = LocalTransport(tmp_path / "log", SystemClock())
    for topic in ("inputs", "predictions", "labels"):
        log.create_topic(topic_of(topic), 1)
    log.close()
    return tmp_path


def topic_of(stream: str) -> str:
    name: str = getattr(parse_contract(MONITOR, "shop.yaml").topics, stream)
    return name


def send(home: Path, *, bad: int = 0) -> None:
    """A window of events, one of them twice, a few that are none, and a marker that ends the window."""
    log = LocalTransport(home / "log", SystemClock())
    with log.producer() as producer:
        values = [input_of(f"e{n}", T0 + n, amount=1.0) for n in range(EVENTS)]
        for value in [*values, values[0], *[b"no event"] * bad]:
            producer.send(Partition(topic_of("inputs"), 0), key=b"k", value=value)
        marker = marker_headers(Marker("test", T0 + 2 * HOUR, end=False))
        producer.send(Partition(topic_of("inputs"), 0), key=b"k", value=b"", headers=marker)
        producer.flush()
    log.close()


@pytest.mark.parametrize(
    "words",
    ["consume", "up --port 0", "jobs watch", "preview --port 0", "store serve"],
)
def test_sigterm_ends_every_long_running_command_in_order(home: Path, words: str) -> None:
    with running(home, *words.split()) as command:
        started = command.line("started")
        assert started["role"] == words.split()[0]
        code, events = command.terminate()
    assert (code, events[-1]) == (0, "stopped"), events
    (process,) = run(home, "status", "--json")[0]["processes"]
    assert (process["role"], process["pid"], process["state"]) == (started["role"], started["pid"], "ended")


def test_a_consumer_stores_what_it_has_read_when_it_is_told_to_end(home: Path) -> None:
    send(home)
    with running(home, "consume", "--flush-seconds", "3600", "--ops-port", "0") as consumer:
        url = consumer.line("started")["ops"]
        consumer.until(url, f'driftline_records_consumed_total{{topic="{topic_of("inputs")}"}}', EVENTS + 2)
        assert consumer.meters(url)["driftline_flushed_rows_total"] == 0
        code, events = consumer.terminate()
    assert (code, events[-2:]) == (0, ["window_closed", "stopped"])
    account = next(line for line in run(home, "audit", "--json") if line["stream"] == "inputs")
    assert (account["ok"], account["pending"], account["mismatches"]) == (EVENTS, 0, [])


def test_a_consumer_shows_its_work_and_its_health(home: Path) -> None:
    send(home, bad=3)
    topic = f'topic="{topic_of("inputs")}"'
    with running(home, "consume", "--flush-seconds", "0.2", "--ops-port", "0") as consumer:
        url = consumer.line("started")["ops"]
        closed = consumer.line("window_closed")
        consumer.until(url, "driftline_flushed_rows_total", EVENTS)
        consumer.until(url, f"driftline_watermark_age_seconds{{{topic}}}", 1)
        meters = consumer.meters(url)
        ready, alive = (requests.get(f"{url}/{name}", timeout=10) for name in ("readyz", "healthz"))
        assert consumer.terminate()[0] == 0
    counts = {name: meters[f"driftline_{name}_total{{{topic}}}"] for name in NAMES}
    assert counts == dict(zip(NAMES, (EVENTS + 5, EVENTS, 1, 0, 3), strict=True))
    assert meters[f'driftline_lag_records{{partition="0",{topic}}}'] == 0
    assert meters[f"driftline_watermark_age_seconds{{{topic}}}"] == pytest.approx(age_seconds(T0 + 2 * HOUR), abs=60)
    assert meters["driftline_assigned_partitions"] == 3
    assert (ready.status_code, alive.status_code) == (200, 200)
    assert {name: closed[name] for name in ("stream", "window_start", "events", "level")} == {
        "stream": "inputs", "window_start": "2023-05-01T00:00:00+00:00", "events": EVENTS, "level": "info"
    }  # fmt: skip


NAMES = ("records_consumed", "events_ok", "events_duplicate", "events_late", "dead_letters")


def age_seconds(moment_ms: int) -> float:
    return (to_ms(SystemClock().now()) - moment_ms) / 1000


def test_a_line_per_flush_is_written_on_request(home: Path) -> None:
    send(home)
    with running(home, "--verbose", "consume", "--flush-seconds", "0.2") as consumer:
        flushed = consumer.line("flushed")
        assert consumer.terminate()[0] == 0
    assert (flushed["level"], flushed["logger"], flushed["rows"]) == ("debug", "driftline.cli.observing", EVENTS)


def test_a_watch_counts_the_runs_of_its_jobs(home: Path) -> None:
    send(home)
    run(home, "consume", "--until-end", "--json")
    with running(home, "jobs", "watch", "--ops-port", "0") as watch:
        url = watch.line("started")["ops"]
        ran = watch.line("jobs_ran")
        meters = watch.meters(url)
        assert requests.get(f"{url}/readyz", timeout=10).status_code == 200
        assert watch.terminate()[0] == 0
    runs = sum(value for name, value in meters.items() if name.startswith("driftline_job_runs_total"))
    assert runs == ran["runs"] > 0


def test_a_taken_ops_port_is_refused_before_anything_is_consumed(home: Path) -> None:
    with running(home, "store", "serve", "--ops-port", "0") as serving:
        port = serving.line("started")["ops"].rsplit(":", 1)[1]
        command = [*COMMAND, "--home", str(home), "consume", "--ops-port", port]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"driftline: port {port} of 127.0.0.1 cannot be served: address already in use; "
        "choose another --ops-port, or 0 for a free one: each process needs its own\n"
    )


def test_a_heartbeat_that_would_leave_in_plain_text_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_HEARTBEAT_URL", "http://hc.example/secret")
    command = [*COMMAND, "--home", str(home), "consume"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "driftline: the heartbeat's address must be https, or http to this machine; got http to hc.example; "
        "mend DRIFTLINE_HEARTBEAT_URL\n",
    )
