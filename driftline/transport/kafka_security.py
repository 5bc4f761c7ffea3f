"""How a Kafka connection is protected: TLS, and who we say we are. Options of the address; secrets are never in it.

Knows no client library. A password stands in a file (``password_file``) or in the environment
(``DRIFTLINE_KAFKA_PASSWORD``), a token in a file (``token_file``) that is read whenever a broker asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from driftline.errors import UsageError

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
OPTIONS = ("ca_file", "cert_file", "key_file", "mechanism", "password_file", "tls", "token_file", "user")
PASSWORD_VARIABLE = "DRIFTLINE_KAFKA_PASSWORD"  # noqa: S105 - the name of the variable
_TOKENS = "OAUTHBEARER"


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """What brokers are asked to prove, and what we prove to them.

    ``tls`` encrypts (1.2 or newer) and checks the broker's name against its certificate, signed by ``ca_file`` or else
    by an authority that this machine trusts. ``cert_file`` and ``key_file`` (PEM) are ours, where brokers ask for one.
    ``mechanism`` is one of ``MECHANISMS``, with ``user`` and a password or, for OAUTHBEARER, ``token_file``.
    """

    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    mechanism: str | None = None
    user: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> KafkaSecurity:
        """Read the options that concern security.

        Raises:
            UsageError: they do not fit together.
        """
        parsed = cls(
            tls=flag(options, "tls"),
            mechanism=options["mechanism"].upper() if "mechanism" in options else None,
            user=options.get("user") or None,
            **{name: Path(options[name]) for name in OPTIONS if name.endswith("_file") and options.get(name)},
        )
        for wrong, rule in parsed._broken_rules():
            if wrong:
                raise UsageError(rule)
        return parsed

    @property
    def protocol(self) -> str:
        """Kafka's name of this protection."""
        return ("SASL_" if self.mechanism else "") + ("SSL" if self.tls else "PLAINTEXT")

    def password(self) -> str:
        """Return the password, from the file where one is named, else from the environment.

        Raises:
            UsageError: there is none.
        """
        if self.password_file is not None:
            return read_secret(self.password_file, "password_file")
        if secret := os.environ.get(PASSWORD_VARIABLE):
            return secret
        msg = f"user {self.user!r} of a Kafka log needs a password; set {PASSWORD_VARIABLE} or add password_file=PATH"
        raise UsageError(msg)

    def _broken_rules(self) -> tuple[tuple[bool, str], ...]:
        by_password = self.mechanism is not None and self.mechanism != _TOKENS
        return (
            (
                self.mechanism not in {None, *MECHANISMS},
                f"option 'mechanism' of a Kafka log is one of {', '.join(MECHANISMS)}; got {self.mechanism!r}",
            ),
            (
                not self.tls and any((self.ca_file, self.cert_file, self.key_file)),
                "ca_file, cert_file and key_file of a Kafka log only serve a connection with TLS; add tls=1",
            ),
            (
                (self.cert_file is None) != (self.key_file is None),
                "cert_file and key_file of a Kafka log belong together; got one of them; add the other",
            ),
            (
                by_password and self.user is None,
                f"mechanism {self.mechanism} of a Kafka log needs a user; add user=NAME",
            ),
            (
                not by_password and any((self.user, self.password_file)),
                "user and password_file of a Kafka log need a mechanism with passwords; add mechanism=SCRAM-SHA-512",
            ),
            (
                (self.mechanism == _TOKENS) != (self.token_file is not None),
                "mechanism OAUTHBEARER and token_file of a Kafka log belong together; got one of them; add the other",
            ),
        )


def flag(options: Mapping[str, str], name: str) -> bool:
    """Return an option that is 0 (also where absent) or 1.

    Raises:
        UsageError: it is something else.
    """
    text = options.get(name, "0")
    if text not in {"0", "1"}:
        msg = f"option {name!r} of a Kafka log is 0 or 1; got {text!r}"
        raise UsageError(msg)
    return text == "1"


def read_secret(path: Path, option: str) -> str:
    """Return a file's text without the newline at its end.

    Raises:
        UsageError: it cannot be read, or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        msg = f"option {option!r} of a Kafka log must name a readable file; {path}: {reason}; correct the path"
        raise UsageError(msg) from error
    if not secret:
        msg = f"option {option!r} of a Kafka log must name a file with a secret; {path} is empty; fill it"
        raise UsageError(msg)
    return secret
