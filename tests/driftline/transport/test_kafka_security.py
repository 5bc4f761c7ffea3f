"""TLS and names on a real broker with one listener for each protection."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from driftline.errors import DriftlineError, TransportError, TransportUnavailable, UsageError
from driftline.transport import Partition, open_transport
from tests.kafka_broker import KafkaBroker, free_port

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.xdist_group("kafka")]

_PASSWORD = "pass-for-tests"  # noqa: S105
_LISTENERS = ("PLAIN", "SCRAM", "TLS", "SASLTLS", "TOKENS")
_PROTOCOLS = "PLAIN:SASL_PLAINTEXT,SCRAM:SASL_PLAINTEXT,TLS:SSL,SASLTLS:SASL_SSL,TOKENS:SASL_PLAINTEXT"
_MODULES = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class SecuredBroker:
    """A running broker, the port of each of its listeners, and a folder with certificates and secrets."""

    ports: dict[str, int]
    files: Path

    def url(self, listener: str, options: str) -> str:
        return f"kafka://localhost:{self.ports[listener]}?connect_seconds=8&{options.format(files=self.files)}"


def make_keys(folder: Path) -> None:
    """Make an authority, the broker's key signed by it for ``localhost``, and a client's."""

    def keytool(*arguments: str) -> None:
        command = ["keytool", *arguments, "-storepass", _PASSWORD, "-keypass", _PASSWORD]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for authority in ("ca", "stranger"):
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}",
            "-keyout", f"{authority}.key", "-out", f"{authority}.pem", "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
    for name, extra in (("broker", "subjectAltName=DNS:localhost"), ("client", "extendedKeyUsage=clientAuth")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
                "-out", f"{name}.csr")  # fmt: skip
        (folder / "extension").write_text(extra + "\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "extension", "-out", f"{name}.pem")  # fmt: skip
    openssl("pkcs12", "-export", "-in", "broker.pem", "-inkey", "broker.key", "-certfile", "ca.pem",
            "-out", "broker.p12", "-passout", f"pass:{_PASSWORD}")  # fmt: skip
    keytool("-importcert", "-noprompt", "-alias", "ca", "-file", "ca.pem", "-keystore", "trust.p12")


def settings(ports: dict[str, int], port: int, controller_port: int, folder: Path) -> dict[str, str]:
    own = "".join(f",{name}://localhost:{ports[name]}" for name in _LISTENERS)
    name = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required"
    return {
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{own}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}{own}",
        "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,{_PROTOCOLS}",
        "ssl.keystore.location": f"{folder}/broker.p12",
        "ssl.keystore.password": _PASSWORD,
        "ssl.keystore.type": "PKCS12",
        "ssl.truststore.location": f"{folder}/trust.p12",
        "ssl.truststore.password": _PASSWORD,
        "listener.name.tls.ssl.client.auth": "required",
        "listener.name.plain.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.plain.plain.sasl.jaas.config": (
            f'{_MODULES}.plain.PlainLoginModule required user_ann="{_PASSWORD}";'
        ),
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.scram.scram-sha-256.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
        "listener.name.sasltls.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasltls.plain.sasl.jaas.config": (
            f'{_MODULES}.plain.PlainLoginModule required user_ann="{_PASSWORD}";'
        ),
        "listener.name.tokens.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.tokens.oauthbearer.sasl.jaas.config": f'{name} unsecuredLoginStringClaim_sub="broker";',
    }


@pytest.fixture(scope="module")
def secured(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    folder = tmp_path_factory.mktemp("secured")
    make_keys(folder)
    (folder / "password").write_text(_PASSWORD + "\n")
    (folder / "wrong").write_text("something else\n")
    (folder / "token").write_text(unsecured_token())
    ports = {name: free_port() for name in _LISTENERS}
    broker = KafkaBroker(kafka_jars, folder / "broker", memory_mb=256)
    broker.settings = settings(ports, broker.port, broker.controller_port, folder)
    users = [f"SCRAM-SHA-{bits}=[name=bob,password={_PASSWORD}]" for bits in (256, 512)]
    broker.format(None, None, 1, *users)
    try:
        broker.start()
        yield SecuredBroker(ports, folder)
    finally:
        broker.stop()


def unsecured_token() -> str:
    """Return a token that a broker takes which checks no signatures, as Kafka's development setting does."""

    def part(content: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    now = int(time.time())
    return f"{part({'alg': 'none'})}.{part({'sub': 'ann', 'iat': now, 'exp': now + 3_600, 'scope': 'kafka'})}."


_PLAIN = "mechanism=PLAIN&user=ann&password_file={files}/password"
_CLIENT = "tls=1&ca_file={files}/ca.pem&cert_file={files}/client.pem&key_file={files}/client.key"


@pytest.mark.parametrize(
    ("listener", "options"),
    [
        ("PLAIN", _PLAIN),
        ("SCRAM", "mechanism=scram-sha-256&user=bob&password_file={files}/password"),
        ("SCRAM", "mechanism=scram-sha-512&user=bob&password_file={files}/password"),
        ("TLS", _CLIENT),
        ("SASLTLS", "tls=1&ca_file={files}/ca.pem&" + _PLAIN),
        ("TOKENS", "mechanism=oauthbearer&token_file={files}/token"),
    ],
)
def test_records_are_written_and_read_over_each_protection(
    secured: SecuredBroker, listener: str, options: str, request: pytest.FixtureRequest
) -> None:
    transport = open_transport(secured.url(listener, options))
    place = Partition(f"topic-{abs(hash(request.node.name))}", 0)
    transport.create_topic(place.topic, 1)
    with transport.producer() as producer, transport.consumer(f"group-{place.topic}") as consumer:
        producer.send(place, key=b"key", value=b"secret")
        producer.flush()
        consumer.subscribe([place.topic])
        found: list[bytes | None] = []
        for _ in range(100):
            found += [value for batch in consumer.poll(0.2) for value in batch.values]
            for gained in consumer.changes().gained:
                consumer.seek(gained, 0)
            if found:
                break
    transport.close()
    assert found == [b"secret"]


@pytest.mark.parametrize(
    ("listener", "options", "kind", "reason"),
    [
        (
            "PLAIN",
            "mechanism=PLAIN&user=ann&password_file={files}/wrong",
            TransportError,
            "Authentication failed: Invalid username or password",
        ),
        (
            "SCRAM",
            "mechanism=SCRAM-SHA-512&user=bob&password_file={files}/wrong",
            TransportError,
            "does not take who we say we are: Sasl",
        ),
        ("TLS", _CLIENT.replace("ca.pem", "stranger.pem"), TransportUnavailable, "CERTIFICATE_VERIFY_FAILED"),
        ("TLS", "tls=1&ca_file={files}/ca.pem", TransportUnavailable, "answered within 8 s"),
        ("TLS", "tls=1&ca_file={files}/absent.pem", UsageError, "absent.pem: No such file or directory; correct them"),
        ("PLAIN", "mechanism=PLAIN&user=ann&password_file={files}/absent", UsageError, "absent: No such file"),
    ],
)
def test_what_is_refused_is_said_in_one_line(
    secured: SecuredBroker, listener: str, options: str, kind: type[DriftlineError], reason: str
) -> None:
    refused = refusal_of(secured.url(listener, options))
    assert isinstance(refused, kind)
    assert reason in str(refused)
    assert "\n" not in str(refused)
    assert _PASSWORD not in str(refused)


def refusal_of(url: str) -> DriftlineError:
    """Return why ``url`` cannot be opened; a broker may hang up before it has said that it does not know the user."""
    for _ in range(3):
        with pytest.raises(DriftlineError) as caught:
            open_transport(url)
        if "mechanism" not in url or not isinstance(caught.value, TransportUnavailable):
            break
    return caught.value


def test_a_broker_of_another_name_than_its_certificate_is_refused(secured: SecuredBroker) -> None:
    url = secured.url("TLS", _CLIENT).replace("localhost", "127.0.0.1")
    with pytest.raises(TransportUnavailable) as caught:
        open_transport(url)
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
