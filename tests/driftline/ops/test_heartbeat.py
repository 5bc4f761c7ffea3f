from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from structlog.testing import capture_logs

from driftline.clock import ManualClock
from driftline.errors import UsageError
from driftline.ops.health import FRESH_SECONDS, Health
from driftline.ops.heartbeat import Heartbeat, parse_heartbeat_url
from driftline.ops.meters import Meters

PATH = "/ping/3f2b-secret"


@contextmanager
def listening(status: int = 200) -> Iterator[tuple[str, list[str]]]:
    """A web server that answers ``status``, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def health(clock: ManualClock) -> Health:
    health = Health(clock, ["consumer"], reads_log=True)
    health.assigned(1)
    for what in ("store", "log", "flush"):
        health.answered(what)
    return health


def sent(meters: Meters) -> tuple[float | None, float | None]:
    value = meters.registry.get_sample_value
    return value("driftline_heartbeats_total"), value("driftline_heartbeat_errors_total")


def test_it_is_sent_while_events_reach_the_store(clock: ManualClock, health: Health) -> None:
    meters = Meters(clock)
    with listening() as (url, asked):
        assert Heartbeat(url + PATH, health, meters).beat()
    assert (asked, sent(meters)) == ([PATH], (1, 0))


def test_a_dead_store_withholds_it(clock: ManualClock, health: Health) -> None:
    with listening() as (url, asked):
        heartbeat = Heartbeat(url, health, Meters(clock))
        health.failed("store", "store does not answer")
        assert not heartbeat.beat()
        health.answered("store")
        assert heartbeat.beat()
        clock.sleep(FRESH_SECONDS + 1)  # and so does one that nobody has heard of since
        assert not heartbeat.beat()
    assert len(asked) == 1


@pytest.mark.parametrize("status", [302, 404, 500])
def test_another_answer_than_yes_is_counted_and_logged_without_the_secret(
    clock: ManualClock, health: Health, status: int
) -> None:
    meters = Meters(clock)
    with listening(status) as (url, asked), capture_logs() as lines:
        assert not Heartbeat(url + PATH, health, meters).beat()
    assert (len(asked), sent(meters)) == (1, (0, 1))
    assert lines == [
        {"event": "heartbeat_failed", "log_level": "warning", "host": "127.0.0.1", "error": f"status {status}"}
    ]


def test_nobody_listening_is_counted_and_logged_without_the_secret(clock: ManualClock, health: Health) -> None:
    meters = Meters(clock)
    with listening() as (url, _):
        pass
    with capture_logs() as lines:
        assert not Heartbeat(url + PATH, health, meters).beat()
    assert sent(meters) == (0, 1)
    assert lines == [
        {"event": "heartbeat_failed", "log_level": "warning", "host": "127.0.0.1", "error": "ConnectionError"}
    ]


@pytest.mark.parametrize(
    "url", ["https://hc.example/abc", "http://127.0.0.1:8000/x", "http://[::1]:80/x", "http://localhost/x"]
)
def test_https_and_this_machine_are_accepted(url: str) -> None:
    assert parse_heartbeat_url(url) == url


@pytest.mark.parametrize(
    ("url", "got"),
    [
        ("http://hc.example/secret", "http to hc.example"),
        ("http://127.0.0.1.example/secret", "http to 127.0.0.1.example"),
        ("ftp://hc.example/secret", "ftp to hc.example"),
        ("hc.example/secret", "no scheme to no host"),
        ("https://[bad/secret", "no scheme to no host"),
    ],
)
def test_anything_else_is_refused_without_repeating_the_secret(url: str, got: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_heartbeat_url(url)
    assert str(refused.value) == (
        f"the heartbeat's address must be https, or http to this machine; got {got}; mend DRIFTLINE_HEARTBEAT_URL"
    )
