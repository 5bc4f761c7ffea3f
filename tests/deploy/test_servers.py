"""The servers of the compose file in containers: ClickHouse with our users, Grafana with our files. Needs Docker."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest

from deploy.make_secrets import make_secrets
from driftline.errors import StoreError
from driftline.store.opening import open_store
from grafana.builder import files
from tests.deploy.composition import ROOT, read

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("servers")]

SERVICES = read()["services"]
_START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A container's address, and the passwords of its users."""

    host: str
    port: int
    secrets: Path

    def password(self, name: str) -> str:
        return (self.secrets / name).read_text(encoding="utf-8")

    def url(self, user: str) -> str:
        return f"clickhouse://{user}@{self.host}:{self.port}/driftline"


@pytest.fixture(scope="module")
def network() -> Iterator[Any]:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no servers in containers: Docker does not run here")
    from testcontainers.core.network import Network

    with Network() as made:
        yield made


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("servers")
    make_secrets(folder)
    return folder / "secrets"


def _container(name: str, network: Any, secrets: Path, mounts: dict[str, str]) -> Any:
    """Return the service's container, not started, as compose would run it but for the published port."""
    from testcontainers.core.container import DockerContainer

    service = SERVICES[name]
    owner = secrets.stat()
    container = DockerContainer(
        service["image"], user=f"{owner.st_uid}:{owner.st_gid}", read_only=True, cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"], tmpfs=dict.fromkeys(service["tmpfs"], ""),
    )  # fmt: skip
    container.with_network(network).with_network_aliases(name)
    for key, value in service["environment"].items():
        container.with_env(key, str(value))
    for secret in service["secrets"]:
        container.with_volume_mapping(str(secrets / secret), f"/run/secrets/{secret}", "ro")
    for source, target in mounts.items():
        container.with_volume_mapping(str(ROOT / source), target, "ro")
    return container


def _mounts(name: str) -> dict[str, str]:
    pairs = (volume.split(":")[:2] for volume in SERVICES[name]["volumes"] if volume.startswith("./"))
    return {source.removeprefix("./"): target for source, target in pairs}


@pytest.fixture(scope="module")
def clickhouse(network: Any, secrets: Path) -> Iterator[Server]:
    from testcontainers.core.waiting_utils import wait_for_logs

    container = _container("clickhouse", network, secrets, _mounts("clickhouse")).with_exposed_ports(8123)
    with container as started:
        wait_for_logs(started, "Ready for connections", timeout=_START_SECONDS)
        server = Server(started.get_container_host_ip(), int(started.get_exposed_port(8123)), secrets)
        with open_store(server.url("driftline_migrate"), Path(), password=server.password("driftline_migrate")):
            yield server


@pytest.mark.parametrize("user", ["driftline_ingest", "driftline_batch"])
def test_a_user_opens_the_store_with_its_password_and_with_no_other(clickhouse: Server, user: str) -> None:
    with open_store(clickhouse.url(user), Path(), password=clickhouse.password(user)) as store:
        assert store.scalar("SELECT currentUser()") == user
    with pytest.raises(StoreError):
        open_store(clickhouse.url(user), Path(), password="wrong")
    with pytest.raises(StoreError):
        open_store(clickhouse.url("default"), Path(), password="")


def test_grafanas_user_sets_the_time_limit_up_to_a_bound_and_nothing_else(clickhouse: Server) -> None:
    client = clickhouse_connect.get_client(
        host=clickhouse.host, port=clickhouse.port, username="driftline_grafana", database="driftline",
        password=clickhouse.password("driftline_grafana"), autogenerate_session_id=False,
    )  # fmt: skip
    assert client.query("SELECT count() FROM metrics SETTINGS max_execution_time = 65").result_rows == [(0,)]
    for statement in (
        "SELECT 1 SETTINGS max_execution_time = 1000",
        "SELECT 1 SETTINGS max_memory_usage = 0",
        "SELECT * FROM segments",
        "SELECT * FROM url('http://127.0.0.1/', 'LineAsString')",
    ):
        with pytest.raises(Exception, match=r"Code: (452|164|497)\b"):
            client.query(statement)


@pytest.fixture(scope="module")
def grafana(network: Any, secrets: Path, clickhouse: Server) -> Iterator[Server]:
    from testcontainers.core.waiting_utils import wait_for_logs

    container = _container("grafana", network, secrets, _mounts("grafana")).with_exposed_ports(3000)
    with container as started:
        wait_for_logs(started, "HTTP Server Listen", timeout=_START_SECONDS)
        yield Server(started.get_container_host_ip(), int(started.get_exposed_port(3000)), secrets)


def _ask(grafana: Server, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    credentials = b64encode(f"admin:{grafana.password('grafana_admin')}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{grafana.host}:{grafana.port}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the container
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.mark.parametrize("dashboard", files.dashboards(), ids=lambda dashboard: str(dashboard["uid"]))
def test_grafana_shows_the_dashboard_and_answers_its_panels(grafana: Server, dashboard: dict[str, Any]) -> None:
    shown = _ask(grafana, f"/api/dashboards/uid/{dashboard['uid']}")["dashboard"]
    assert [panel["title"] for panel in shown["panels"]] == [panel["title"] for panel in dashboard["panels"]]

    source = {"type": "grafana-clickhouse-datasource", "uid": "clickhouse"}
    sql = "SELECT window_end AS time, value FROM metrics WHERE $__timeFilter(window_end) ORDER BY time"
    query = {"refId": "A", "datasource": source, "rawSql": sql, "editorType": "sql", "format": 0, "intervalMs": 60_000}
    answer = _ask(grafana, "/api/ds/query", {"queries": [query], "from": "1672531200000", "to": "1675209600000"})
    assert answer["results"]["A"]["status"] == 200, answer
