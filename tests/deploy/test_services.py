"""Every service of the compose file as a process of this machine, in the order that compose starts them.

Commands and environment are the file's own; replaced are addresses, folders and the length of the simulated
months. Kafka is real. ClickHouse is the embedded engine with ClickHouse's own access control: whatever a
service does, it does with the grants of its user in ``clickhouse/server``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import chdb
import pytest

from driftline.store import Store
from driftline.store.opening import open_store
from tests.deploy.composition import ROOT, our_services, words
from tests.kafka_broker import KafkaBroker
from tests.store_as_user import DATABASE, PASSWORD, served_as

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.xdist_group("services"), pytest.mark.timeout(600)]

DRIFTLINE = Path(sys.executable).parent / "driftline"
SERVICES = our_services()
_DAYS = {"31": "7", "14": "3"}
_PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Machine:
    """Where the services run here instead of in containers."""

    folder: Path
    kafka: KafkaBroker

    @contextmanager
    def store_of(self, name: str) -> Iterator[str]:
        """Yield the address at which the service's user works on the store; empty for a service without one."""
        address = SERVICES[name]["environment"].get("DRIFTLINE_STORE", "")
        if not address:
            yield ""
            return
        user = address.removeprefix("clickhouse://").partition("@")[0]
        with served_as(user, self.folder / "store", self.folder / user) as url:
            yield url

    def command(self, name: str, port: int = 0) -> list[str]:
        """Return the service's command line."""
        months = str(self.folder / "months")
        here = {**_DAYS, "0.0.0.0": "127.0.0.1", "8080": str(port)}  # noqa: S104 - what is replaced
        replaced = [here.get(word, word).replace("/months", months) for word in words(SERVICES[name])]
        return [str(DRIFTLINE), *(word.replace("_31d_", "_7d_").replace("_14d_", "_3d_") for word in replaced)]

    def environment(self, name: str, store_url: str, ops_port: int = 0) -> dict[str, str]:
        """Return the service's environment."""
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o600)
        broker = self.kafka.url.removeprefix("kafka://")
        found = {key: str(value) for key, value in SERVICES[name]["environment"].items()}
        found["DRIFTLINE_TRANSPORT"] = found["DRIFTLINE_TRANSPORT"].replace("kafka:9092", broker)
        found["DRIFTLINE_MONITOR"] = found["DRIFTLINE_MONITOR"].replace("/etc/driftline", str(ROOT))
        if store_url:
            found |= {"DRIFTLINE_STORE": store_url, "DRIFTLINE_STORE_PASSWORD_FILE": str(password)}
        if "DRIFTLINE_OPS_PORT" in found:
            found["DRIFTLINE_OPS_PORT"] = str(ops_port)
        return {"PATH": os.environ["PATH"], "DRIFTLINE_HOME": str(self.folder / "home"), **found}

    def run(self, name: str) -> str:
        """Run a service that ends by itself and return what it printed."""
        with self.store_of(name) as url:
            return self.ran(self.command(name), self.environment(name, url))

    def ran(self, command: list[str], environment: dict[str, str]) -> str:
        done = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def run_until(self, name: str, enough: Callable[[Store], bool]) -> None:
        """Run a service that stays until the store holds ``enough``; it must be well meanwhile and stop in order."""
        ops_port = _free_port()
        with self.store_of(name) as url, open_store(url, self.folder, password=PASSWORD) as store:
            process = self.start(name, url, ops_port)
            try:
                _wait(lambda: enough(store), process)
                assert _get(f"http://127.0.0.1:{ops_port}/healthz") == 200
            finally:
                process.send_signal(signal.SIGTERM)
                _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors

    def start(self, name: str, url: str, ops_port: int, port: int = 0) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(name, port), env=self.environment(name, url, ops_port), cwd=self.folder, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip


@pytest.fixture(scope="module")
def machine(kafka_broker: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine on which all services that end have ended, and consumer and jobs have done what there was to do."""
    folder = tmp_path_factory.mktemp("services")
    connection = chdb.connect(str(folder / "store"))
    connection.query(f"CREATE DATABASE {DATABASE}")  # a server does so at its start: `default_database`
    connection.close()
    found = Machine(folder, kafka_broker)
    for name in ("migrate", "topics", "months-reference", "months-current", "reference", "replay"):
        found.run(name)
    found.run_until("consumer", _all_partitions_ended)
    found.run_until("jobs", _quality_is_judged)
    return found


def _all_partitions_ended(store: Store) -> bool:
    return bool(store.scalar("SELECT count() = 12 FROM watermarks FINAL WHERE basis = 'end'"))


def _quality_is_judged(store: Store) -> bool:
    return bool(store.scalar("SELECT countIf(job = 'quality' AND granularity = '1d') >= 3 FROM latest_runs"))


def _wait(enough: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not enough():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the service did not get there"
        time.sleep(0.5)


def _get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
        return int(answer.status)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_every_event_that_replay_sent_is_counted_once(machine: Machine) -> None:
    with machine.store_of("consumer") as url:
        out = machine.ran([str(DRIFTLINE), "audit", "--json"], machine.environment("consumer", url))

    accounts = [json.loads(line) for line in out.splitlines()]
    accounts = [account for account in accounts if "produced" in account]
    assert [account["topic"] for account in accounts] == ["trips", "predictions", "labels"]
    assert all(account["ok"] == account["produced"] > 0 for account in accounts), accounts
    assert all(account["pending"] == account["dead"] == 0 for account in accounts), accounts


def test_grafana_sees_figures_of_stream_and_batch_and_no_event(machine: Machine) -> None:
    import clickhouse_connect

    with served_as("driftline_grafana", machine.folder / "store", machine.folder / "driftline_grafana") as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        client = clickhouse_connect.get_client(
            host="127.0.0.1", port=port, username="driftline", password=PASSWORD, database=DATABASE,
            autogenerate_session_id=False,
        )  # fmt: skip
        with closing(client):
            rows = client.query("SELECT source, count() FROM metrics GROUP BY source ORDER BY source").result_rows
            assert [source for source, count in rows if count > 100] == ["batch", "stream"]
            with pytest.raises(Exception, match=r"Code: 497\b"):
                client.query("SELECT * FROM inputs_nyc_green_taxi")


def test_the_preview_answers_on_the_port_that_is_published(machine: Machine) -> None:
    port, ops_port = _free_port(), _free_port()
    with machine.store_of("preview") as url:
        process = machine.start("preview", url, ops_port, port)
        try:
            _wait(lambda: _answers(f"http://127.0.0.1:{port}/"), process)
            assert _get(f"http://127.0.0.1:{ops_port}/healthz") == 200
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def _answers(url: str) -> bool:
    try:
        return _get(url) == 200
    except OSError:
        return False


def test_every_service_of_ours_was_run(machine: Machine) -> None:
    ran = {"migrate", "topics", "months-reference", "months-current", "reference", "replay", "consumer", "jobs"}

    assert ran | {"preview"} == set(SERVICES)
