"""The address of a Kafka log: ``kafka://host:port[,host:port]?option=value``, checked before anything connects.

Knows no client library. Options about TLS and names are ``kafka_security``'s; passwords never stand in an address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from driftline.errors import UsageError
from driftline.transport import kafka_security
from driftline.transport.kafka_security import KafkaSecurity
from driftline.transport.topic_rules import ACCEPTABLE

_SCHEME = "kafka"
_OWN_OPTIONS = ("accept", "allow_insecure", "connect_seconds", "group", "min_isr", "replication")
_OPTIONS = tuple(sorted((*_OWN_OPTIONS, *kafka_security.OPTIONS)))


@dataclass(frozen=True, slots=True)
class KafkaUrl:
    """Brokers to ask first, and how to use them.

    ``allow_insecure`` (0 or 1) permits a connection without TLS to another machine; ``connect_seconds`` is how long to
    try at the start; ``group`` names the consumer group that a consumer may join, and under which lag tools find
    driftline's positions (none are committed without it); ``replication`` and ``min_isr`` are how many brokers keep
    each record of a topic, and how many must have it before it is acknowledged (None: three and two where the cluster
    has as many brokers); ``accept`` names rules of ``topic_rules`` that topics may break.
    """

    brokers: tuple[str, ...]
    allow_insecure: bool = False
    connect_seconds: float = 30.0
    group: str | None = None
    replication: int | None = None
    min_isr: int | None = None
    accept: frozenset[str] = frozenset()
    security: KafkaSecurity = field(default_factory=KafkaSecurity)

    @classmethod
    def parse(cls, url: str) -> KafkaUrl:
        """Read an address.

        Raises:
            UsageError: it is malformed, or would leave this machine without TLS.
        """
        parts = urlsplit(url)
        brokers = tuple(parts.netloc.split(","))
        if parts.scheme != _SCHEME or parts.path not in {"", "/"} or not all(map(_is_broker, brokers)):
            msg = f"a Kafka log is addressed as kafka://host:port[,host:port][?option=value]; got {_hidden(url)!r}"
            raise UsageError(msg)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := sorted(options.keys() - set(_OPTIONS)):
            msg = f"options of a Kafka log are {', '.join(_OPTIONS)}; got {unknown[0]!r}"
            raise UsageError(msg)
        parsed = cls(
            brokers,
            allow_insecure=kafka_security.flag(options, "allow_insecure"),
            connect_seconds=float(_positive(options, "connect_seconds") or 30),
            group=options.get("group") or None,
            replication=_positive(options, "replication"),
            min_isr=_positive(options, "min_isr"),
            accept=_accepted(options),
            security=KafkaSecurity.parse(options),
        )
        parsed._require_private()
        return parsed

    def __str__(self) -> str:
        return f"{_SCHEME}://{','.join(self.brokers)}"

    def _require_private(self) -> None:
        if self.allow_insecure or self.security.tls:
            return
        for broker in self.brokers:
            if not _is_loopback(broker.rpartition(":")[0]):
                msg = (
                    f"a Kafka connection without TLS may only go to this machine; got {broker}; "
                    "add ?tls=1 to the address, or ?allow_insecure=1 if the network between is trusted"
                )
                raise UsageError(msg)


def _hidden(url: str) -> str:
    """Return the address without what may be a password."""
    return re.sub(r"//[^@/]*@", "//***@", url)


def _is_broker(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and "@" not in host and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _positive(options: Mapping[str, str], name: str) -> int | None:
    text = options.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        msg = f"option {name!r} of a Kafka log is a positive whole number; got {text!r}"
        raise UsageError(msg)
    return int(text)


def _accepted(options: Mapping[str, str]) -> frozenset[str]:
    rules = frozenset(filter(None, options.get("accept", "").split(",")))
    if unknown := sorted(rules - set(ACCEPTABLE)):
        msg = f"option 'accept' of a Kafka log names rules out of {', '.join(ACCEPTABLE)}; got {unknown[0]!r}"
        raise UsageError(msg)
    return rules
