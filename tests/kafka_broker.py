"""Real Kafka 4 brokers for tests: KRaft nodes on free loopback ports, one alone or three that keep copies.

Its jars come from the folder that ``DRIFTLINE_KAFKA_JARS`` names, else from ``.cache/kafka``
in the repository, filled once by Maven from ``tests/kafka/pom.xml``. Where Java or Maven are
missing, or Maven reaches no registry, tests skip and say so.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock
from kafka import KafkaAdminClient

from driftline.transport import open_transport

_REPOSITORY = Path(__file__).parents[1]
_POM = _REPOSITORY / "tests" / "kafka" / "pom.xml"
_BROKER_JAR = "kafka_2.13-4.1.0.jar"
_DOWNLOAD_SECONDS = 600
_START_SECONDS = 90
_STOP_SECONDS = 30

_PROPERTIES = """
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={folder}/data
offsets.topic.num.partitions=1
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""


class BrokerUnavailable(Exception):
    """This machine cannot run the broker; the message says what is missing."""


@dataclass
class KafkaBroker:
    """One broker; keeps its data in ``folder`` over ``stop``, ``kill`` and ``start``."""

    jars: Path
    folder: Path
    port: int = field(default_factory=lambda: free_port())
    controller_port: int = field(default_factory=lambda: free_port())
    node: int = 1
    memory_mb: int = 512
    settings: Mapping[str, str] = field(default_factory=dict)
    """Beyond the usual ones, and instead of them."""
    java_options: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The broker's address as driftline writes it."""
        return f"kafka://127.0.0.1:{self.port}"

    def format(self, cluster_id: str | None = None, voters: str | None = None, copies: int = 1, *scram: str) -> None:
        """Write configuration and empty storage; ``scram`` are users, as Kafka's storage tool takes them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        usual = _PROPERTIES.format(
            node=self.node,
            voters=voters or self.voter,
            port=self.port,
            controller_port=self.controller_port,
            folder=self.folder,
            copies=copies,
        )
        kept = [line for line in usual.splitlines() if line.partition("=")[0] not in self.settings]
        own = [f"{name}={value}" for name, value in self.settings.items()]
        self._properties.write_text("\n".join(kept + own) + "\n")
        command = ["kafka.tools.StorageTool", "format", "-t", cluster_id or new_cluster_id()]
        users = [part for user in scram for part in ("--add-scram", user)]
        command += ["-c", str(self._properties), *users]
        subprocess.run(self._java(*command), check=True, capture_output=True, timeout=_START_SECONDS)

    @property
    def voter(self) -> str:
        """This node in the list of controllers."""
        return f"{self.node}@127.0.0.1:{self.controller_port}"

    @property
    def is_running(self) -> bool:
        """Whether it was started and not ended."""
        return self._process is not None

    def start(self) -> None:
        """Start the broker and return when it answers."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start the broker's process."""
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._properties)), stdout=log, stderr=subprocess.STDOUT
            )

    def wait(self) -> None:
        """Return when the broker answers."""
        self._wait_for_port()
        open_transport(f"{self.url}?connect_seconds={_START_SECONDS}").close()

    def stop(self) -> None:
        """Stop the broker in order."""
        self._end(signal.SIGTERM)

    def ask_to_stop(self) -> None:
        """Ask the broker to stop, without waiting."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End the broker at once, as a crash does."""
        self._end(signal.SIGKILL)

    def _wait_for_port(self) -> None:
        """Return when the port is open, so that the client, which leaks a socket per refusal, is not refused."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        msg = f"the broker did not start; see {self.folder / 'broker.log'}"
        raise RuntimeError(msg)

    def _end(self, signal_number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal_number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _java(self, *arguments: str) -> list[str]:
        return [
            _tool("java"), f"-Xmx{self.memory_mb}m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
            *self.java_options, "-cp", f"{self.jars}/*", *arguments,
        ]  # fmt: skip


@dataclass
class KafkaCluster:
    """Three brokers that keep three copies; data stay over ``kill``, ``stop_all`` and ``start``."""

    brokers: Sequence[KafkaBroker]

    @classmethod
    def make(cls, jars: Path, folder: Path, size: int = 3) -> KafkaCluster:
        """Format and start ``size`` brokers."""
        brokers = [KafkaBroker(jars, folder / f"broker{node}", node=node, memory_mb=256) for node in range(1, size + 1)]
        cluster_id, voters = new_cluster_id(), ",".join(broker.voter for broker in brokers)
        for broker in brokers:
            broker.format(cluster_id, voters, size)
        cluster = cls(brokers)
        cluster.start_all()
        return cluster

    @property
    def url(self) -> str:
        """The address of all brokers."""
        return "kafka://" + ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def kill(self, index: int) -> None:
        """End one broker (from 0) at once, as a crash does."""
        self.brokers[index].kill()

    def start(self, index: int) -> None:
        """Start one broker (from 0) and return when it answers."""
        self.brokers[index].start()

    def start_all(self) -> None:
        """Start what does not run; return when all answer and know each other."""
        for broker in self.brokers:
            if not broker.is_running:
                broker.launch()
        for broker in self.brokers:
            broker.wait()
        self._wait_for_all()

    def stop_all(self) -> None:
        """End all brokers in order, at the same time: a controller alone would wait for the others."""
        for broker in self.brokers:
            broker.ask_to_stop()
        for broker in self.brokers:
            broker.stop()

    def kill_all(self) -> None:
        """End all brokers at once, as a power cut would if it spared the disks' caches."""
        for broker in self.brokers:
            broker.kill()

    def _wait_for_all(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        admin = KafkaAdminClient(bootstrap_servers=[f"127.0.0.1:{broker.port}" for broker in self.brokers])
        try:
            while len(admin.describe_cluster()["brokers"]) < len(self.brokers):
                if time.monotonic() > deadline:
                    msg = "not all brokers of the cluster found each other"
                    raise RuntimeError(msg)
                time.sleep(0.2)
        finally:
            admin.close()


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """The folder of the broker's jars; the test skips where they cannot be had."""
    try:
        return fetch_jars()
    except BrokerUnavailable as error:
        pytest.skip(f"no Kafka broker: {error}")


@pytest.fixture(scope="session")
def kafka_broker(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A running broker, one for the whole session."""
    broker = KafkaBroker(kafka_jars, tmp_path_factory.mktemp("kafka"))
    broker.format()
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def kafka_cluster(kafka_jars: Path, tmp_path: Path) -> Iterator[KafkaCluster]:
    """Three running brokers of a test's own, which it may kill and start again."""
    cluster = KafkaCluster.make(kafka_jars, tmp_path / "cluster")
    try:
        yield cluster
    finally:
        cluster.kill_all()


def fetch_jars() -> Path:
    """Return the folder of the broker's jars, filled by Maven where they are not there yet.

    Raises:
        BrokerUnavailable: Java or Maven are missing, or Maven fails.
    """
    _tool("java")
    jars = Path(os.environ.get("DRIFTLINE_KAFKA_JARS") or _REPOSITORY / ".cache" / "kafka")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{jars}.lock"):
        if not (jars / _BROKER_JAR).exists():
            _copy_jars(jars)
    return jars


def _copy_jars(jars: Path) -> None:
    """Fill a folder beside ``jars`` and rename it, so that an interrupted download is never taken for a whole one."""
    partial = jars.with_name(f"{jars.name}.partial")
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    command = [_tool("mvn"), "-q", "-B", "-f", str(_POM), *goal]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired as error:
        msg = f"maven did not finish in {_DOWNLOAD_SECONDS} s"
        raise BrokerUnavailable(msg) from error
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        msg = f"maven could not fetch the jars: {lines[0] if lines else 'no output'}"
        raise BrokerUnavailable(msg)
    shutil.rmtree(jars, ignore_errors=True)
    partial.rename(jars)


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        msg = f"{name} is not installed"
        raise BrokerUnavailable(msg)
    return path


def new_cluster_id() -> str:
    """Return an id as Kafka makes them; one that begins with a dash would look like an option."""
    return "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
