"""What a Kafka address may say."""

from __future__ import annotations

import pytest

from driftline.errors import UsageError
from driftline.transport.kafka_url import KafkaUrl


def test_brokers_and_options_are_read() -> None:
    parsed = KafkaUrl.parse(
        "kafka://a.internal:9092,b.internal:9093?allow_insecure=1&group=g&replication=3&connect_seconds=5"
    )
    assert parsed == KafkaUrl(("a.internal:9092", "b.internal:9093"), True, 5.0, "g", 3)


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
            "add ?allow_insecure=1 to the address if the network between is trusted"
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
        "options of a Kafka log are allow_insecure, connect_seconds, group, replication; got 'grupo'"
    )


@pytest.mark.parametrize(("name", "value"), [("replication", "0"), ("replication", "-1"), ("connect_seconds", "soon")])
def test_an_option_that_counts_must_be_a_positive_number(name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        KafkaUrl.parse(f"kafka://localhost:9092?{name}={value}")
    assert str(caught.value) == f"option {name!r} of a Kafka log is a positive whole number; got {value!r}"
