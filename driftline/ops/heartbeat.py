"""A sign of life to somebody outside, sent only while events really reach the store.

Alerts that are computed from the store are silent when the store is dead; a service that expects a
request every minute is not. The address is often a secret by itself: no message shows more than its host.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

import requests
import structlog

from driftline.errors import UsageError
from driftline.ops.health import Health
from driftline.ops.meters import Meters

_log = structlog.get_logger(__name__)
EVERY_SECONDS = 60.0
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Asks ``url`` with GET; ``parse_heartbeat_url`` has accepted it."""

    url: str
    health: Health
    meters: Meters

    def beat(self) -> bool:
        """Send one heartbeat unless something is wrong; return whether it was answered. Never raises."""
        if reasons := self.health.against_flowing():
            _log.debug("heartbeat_withheld", reasons=reasons)
            return False
        try:
            # A redirect could lead to plain text, so none is followed and none counts as an answer.
            answer = requests.get(self.url, timeout=_TIMEOUT_SECONDS, allow_redirects=False, stream=True)
            answer.close()
            trouble = "" if answer.ok and not answer.is_redirect else f"status {answer.status_code}"
        except requests.RequestException as error:
            trouble = type(error).__name__  # its text holds the address
        if trouble:
            self.meters.heartbeat_errors.inc()
            _log.warning("heartbeat_failed", host=urlsplit(self.url).hostname, error=trouble)
            return False
        self.meters.heartbeats.inc()
        return True


def parse_heartbeat_url(url: str) -> str:
    """Return ``url`` if it may be asked: https, or http to this machine.

    Raises:
        UsageError: it may not; the message does not repeat what could be a secret.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if host and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        return url
    got = f"{parts.scheme or 'no scheme'} to {host or 'no host'}"
    msg = f"the heartbeat's address must be https, or http to this machine; got {got}; mend DRIFTLINE_HEARTBEAT_URL"
    raise UsageError(msg)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
