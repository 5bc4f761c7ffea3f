"""The client's settings for a protected connection."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from kafka.net.sasl.oauth import AbstractTokenProvider

from driftline.errors import UsageError
from driftline.transport.kafka_security import KafkaSecurity, read_secret


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]
    """A bearer token in a file, read again at every connection: whoever renews it writes the file anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def token(self) -> str:
        """Return the token that the file has now."""
        return read_secret(self._path, "token_file")


def security_settings(security: KafkaSecurity) -> dict[str, Any]:
    """Return what a client needs to know to protect its connections.

    Raises:
        UsageError: a file cannot be used, or there is no password.
    """
    settings: dict[str, Any] = {"security_protocol": security.protocol}
    if security.tls:
        settings["ssl_context"] = _tls_context(security)
    if security.mechanism is not None:
        settings["sasl_mechanism"] = security.mechanism
    if security.token_file is not None:
        provider = TokenFile(security.token_file)
        provider.token()  # an absent file is said now, not on the client's thread
        settings["sasl_oauth_token_provider"] = provider
    elif security.mechanism is not None:
        settings |= {"sasl_plain_username": security.user, "sasl_plain_password": security.password()}
    return settings


def _tls_context(security: KafkaSecurity) -> ssl.SSLContext:
    """Return a context that checks the broker's certificate and its name."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if security.ca_file is not None:  # this authority and no other
            context = ssl.create_default_context(cafile=str(security.ca_file))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        if security.cert_file is not None:
            context.load_cert_chain(security.cert_file, security.key_file, password="")  # "": never ask a terminal
    except OSError as error:
        files = ", ".join(str(path) for path in (security.ca_file, security.cert_file, security.key_file) if path)
        msg = (
            "ca_file, cert_file and key_file of a Kafka log must be PEM files, the key without a passphrase; "
            f"{files}: {error.strerror or error}; correct them"
        )
        raise UsageError(msg) from error
    return context
