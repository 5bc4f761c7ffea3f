"""The address of a Kafka log: ``kafka://host:port[,host:port]?option=value``, checked before anything connects.

Knows no client library. Passwords never stand in an address; TLS and SASL will be read from
files and the environment, and then lift the rule that a plain connection stays on this machine.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from driftline.errors import UsageError

_SCHEME = "kafka"
_OPTIONS = ("allow_insecure", "connect_seconds", "group", "replication")
_BROKER_CHOOSES = -1


@dataclass(frozen=True, slots=True)
class KafkaUrl:
    """Brokers to ask first, and how to use them.

    ``allow_insecure`` (0 or 1) permits a connection without TLS to another machine; ``connect_seconds`` is how
    long to try at the start; ``group`` names the consumer group under which lag tools find driftline's
    positions (none are committed without it; reading then also waits for the group's coordinator);
    ``replication`` is the replication factor of topics made here (default: the broker's).
    """

    brokers: tuple[str, ...]
    allow_insecure: bool = False
    connect_seconds: float = 30.0
    group: str | None = None
    replication: int = _BROKER_CHOOSES

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
            allow_insecure=options.get("allow_insecure", "0") == "1",
            connect_seconds=float(_positive(options, "connect_seconds", 30)),
            group=options.get("group") or None,
            replication=_positive(options, "replication", _BROKER_CHOOSES),
        )
        parsed._require_private()
        return parsed

    def __str__(self) -> str:
        return f"{_SCHEME}://{','.join(self.brokers)}"

    def _require_private(self) -> None:
        for broker in self.brokers:
            if not self.allow_insecure and not _is_loopback(broker.rpartition(":")[0]):
                msg = (
                    f"a Kafka connection without TLS may only go to this machine; got {broker}; "
                    "add ?allow_insecure=1 to the address if the network between is trusted"
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


def _positive(options: dict[str, str], name: str, default: int) -> int:
    text = options.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        msg = f"option {name!r} of a Kafka log is a positive whole number; got {text!r}"
        raise UsageError(msg)
    return int(text)
