from __future__ import annotations

import socket
from datetime import UTC, datetime

import pytest
import requests

from driftline.clock import ManualClock
from driftline.errors import UsageError
from driftline.ops.health import Health
from driftline.ops.meters import Meters
from driftline.ops.server import OpsServer
from driftline.transport import Partition


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


def test_prometheus_reads_the_meters(clock: ManualClock) -> None:
    meters = Meters(clock)
    meters.ok.labels("trips").inc(5)
    meters.stands({Partition("trips", 1): 7}, {}, 0)
    with OpsServer(meters, Health(clock), 0) as server:
        answer = requests.get(f"{server.url}/metrics", timeout=5)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = answer.text.splitlines()
    assert 'driftline_events_ok_total{topic="trips"} 5.0' in lines
    assert 'driftline_lag_records{partition="1",topic="trips"} 7.0' in lines
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)


def test_openmetrics_is_given_to_whom_asks_for_it(clock: ManualClock) -> None:
    with OpsServer(Meters(clock), Health(clock), 0) as server:
        answer = requests.get(
            f"{server.url}/metrics", timeout=5, headers={"Accept": "application/openmetrics-text; version=1.0.0"}
        )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_health_and_readiness_say_what_is_wrong(clock: ManualClock) -> None:
    health = Health(clock, ["consumer"])
    with OpsServer(Meters(clock), health, 0) as server:

        def ask(path: str) -> tuple[int, dict[str, object]]:
            answer = requests.get(server.url + path, timeout=5)
            return answer.status_code, answer.json()

        assert ask("/healthz") == (200, {"status": "ok", "reasons": []})
        assert ask("/readyz") == (503, {"status": "unavailable", "reasons": ["the store has not answered yet"]})
        health.answered("store")
        clock.sleep(301)
        assert ask("/readyz") == (200, {"status": "ok", "reasons": []})
        reasons = ["the consumer has not moved for 301 s"]
        assert ask("/healthz") == (503, {"status": "unavailable", "reasons": reasons})


def test_a_taken_port_is_named_with_a_remedy(clock: ManualClock) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError) as refused:
            OpsServer(Meters(clock), Health(clock), port)
    assert str(refused.value) == (
        f"port {port} of 127.0.0.1 cannot be served: address already in use; "
        "choose another --ops-port, or 0 for a free one: each process needs its own"
    )


def test_an_address_of_another_machine_is_refused(clock: ManualClock) -> None:
    with pytest.raises(UsageError, match=r"port 0 of 192\.0\.2\.1 cannot be served: cannot assign requested address"):
        OpsServer(Meters(clock), Health(clock), 0, "192.0.2.1")


def test_loopback_answers_to_its_own_names_only(clock: ManualClock) -> None:
    with OpsServer(Meters(clock), Health(clock), 0) as server:
        foreign = requests.get(f"{server.url}/metrics", timeout=5, headers={"Host": "evil.example"})
        local = requests.get(f"{server.url}/metrics", timeout=5, headers={"Host": "localhost:9464"})
    assert (foreign.status_code, local.status_code) == (400, 200)


def test_every_address_answers_when_asked_for(clock: ManualClock) -> None:
    with OpsServer(Meters(clock), Health(clock), 0, "0.0.0.0") as server:  # noqa: S104  # what a container does
        port = server.url.rsplit(":", 1)[1]
        answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5, headers={"Host": "consumer:9464"})
    assert answer.status_code == 200
