"""What a Kafka address may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftline.errors import UsageError
from driftline.transport.kafka_security import PASSWORD_VARIABLE
from driftline.transport.kafka_url import KafkaUrl


def test_brokers_and_options_are_read() -> None:
    parsed = KafkaUrl.parse(
        "kafka://a.internal:9092,b.internal:9093?allow_insecure=1&group=g&replication=3&connect_seconds=5&min_isr=2"
    )
    assert parsed == KafkaUrl(("a.internal:9092", "b.internal:9093"), True, 5.0, "g", 3, 2)


def test_the_address_is_shown_without_its_options() -> None:
    assert (
        str(KafkaUrl.parse("kafka://localhost:9092,127.0.0.1:9093?group=g")) == "kafka://localhost:9092,127.0.0.1:9093"
    )


@pytest.mark.parametrize("broker", ["localhost:9092", "127.0.0.1:9092", "127.8.8.8:1", "[::1]:9092"])
def test_this_machine_may_be_reached_without_tls(broker: str) -> None:
    assert KafkaUrl.parse(f"kafka://{broker}").brokers == (broker,)


@pytest.mark.parametrize("broker", ["kafka.example:9092", "10.0.0.7:9092", "0.0.0.0:9092", "localhost.example:9092"])
def test_another_machine_may_not_be_reached_without_tls(broker: str) -> None:
    for brokers in (broker, f"localhost:9092,{broker}"):
        with pytest.raises(UsageError) as caught:
            KafkaUrl.parse(f"kafka://{brokers}")
        assert str(caught.value) == (
            f"a Kafka connection without TLS may only go to this machine; got {broker}; "
            "add ?tls=1 to the address, or ?allow_insecure=1 if the network between is trusted"
        )


@pytest.mark.parametrize(
    "url",
    ["kafka://", "kafka://localhost", "kafka://localhost:x", "kafka://localhost:0", "kafka://localhost:65536",
     "kafka://localhost:9092/topic", "kafka://user:secret@localhost:9092", "kafka://localhost:9092,"],
)  # fmt: skip
def test_a_malformed_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        KafkaUrl.parse(url)
    assert str(caught.value).startswith(
        "a Kafka log is addressed as kafka://host:port[,host:port][?option=value]; got "
    )


def test_a_password_is_not_repeated_in_the_message() -> None:
    with pytest.raises(UsageError) as caught:
        KafkaUrl.parse("kafka://user:secret@localhost:9092")
    assert "secret" not in str(caught.value)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        KafkaUrl.parse("kafka://localhost:9092?grupo=x")
    assert str(caught.value) == (
        "options of a Kafka log are accept, allow_insecure, ca_file, cert_file, connect_seconds, group, key_file, "
        "mechanism, min_isr, password_file, replication, tls, token_file, user; got 'grupo'"
    )


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_password_may_not_leave_this_machine_without_tls(mechanism: str) -> None:
    with pytest.raises(UsageError, match="without TLS may only go to this machine"):
        KafkaUrl.parse(f"kafka://kafka.example:9092?mechanism={mechanism}&user=u")
    assert (
        KafkaUrl.parse(f"kafka://kafka.example:9092?mechanism={mechanism}&user=u&tls=1").security.protocol == "SASL_SSL"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("tls=yes", "option 'tls' of a Kafka log is 0 or 1; got 'yes'"),
        ("allow_insecure=true", "option 'allow_insecure' of a Kafka log is 0 or 1; got 'true'"),
        (
            "mechanism=GSSAPI&user=u",
            "option 'mechanism' of a Kafka log is one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER; "
            "got 'GSSAPI'",
        ),
        ("ca_file=x", "ca_file, cert_file and key_file of a Kafka log only serve a connection with TLS; add tls=1"),
        (
            "tls=1&key_file=x",
            "cert_file and key_file of a Kafka log belong together; got one of them; add the other",
        ),
        ("mechanism=plain", "mechanism PLAIN of a Kafka log needs a user; add user=NAME"),
        (
            "user=u",
            "user and password_file of a Kafka log need a mechanism with passwords; add mechanism=SCRAM-SHA-512",
        ),
        (
            "mechanism=oauthbearer",
            "mechanism OAUTHBEARER and token_file of a Kafka log belong together; got one of them; add the other",
        ),
        (
            "accept=compacted",
            "option 'accept' of a Kafka log names rules out of create_time, foreign_keys, min_isr, replication, "
            "unclean_election; got 'compacted'",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(options: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        KafkaUrl.parse(f"kafka://localhost:9092?{options}")
    assert str(caught.value) == message


def test_a_password_comes_from_its_file_else_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "kafka://localhost:9092?mechanism=plain&user=u"
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    with pytest.raises(UsageError) as caught:
        KafkaUrl.parse(url).security.password()
    assert str(caught.value) == (
        "user 'u' of a Kafka log needs a password; set DRIFTLINE_KAFKA_PASSWORD or add password_file=PATH"
    )
    monkeypatch.setenv(PASSWORD_VARIABLE, "from outside")
    assert KafkaUrl.parse(url).security.password() == "from outside"
    (tmp_path / "password").write_text("from a file\n")
    assert KafkaUrl.parse(f"{url}&password_file={tmp_path}/password").security.password() == "from a file"
    with pytest.raises(UsageError) as caught:
        KafkaUrl.parse(f"{url}&password_file={tmp_path}/absent").security.password()
    assert str(caught.value) == (
        f"option 'password_file' of a Kafka log must name a readable file; {tmp_path}/absent: "
        "No such file or directory; correct the path"
    )


@pytest.mark.parametrize(("name", "value"), [("replication", "0"), ("replication", "-1"), ("connect_seconds", "soon")])
def test_an_option_that_counts_must_be_a_positive_number(name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        KafkaUrl.parse(f"kafka://localhost:9092?{name}={value}")
    assert str(caught.value) == f"option {name!r} of a Kafka log is a positive whole number; got {value!r}"
