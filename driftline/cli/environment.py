"""The environment variables that driftline reads; a secret among them may stand in a file that a variable names."""

from __future__ import annotations

import os
from pathlib import Path

from driftline.errors import UsageError

SECRETS = ("DRIFTLINE_STORE_PASSWORD", "DRIFTLINE_HEARTBEAT_URL")
VARIABLES = frozenset(
    {
        "DRIFTLINE_HOME",
        "DRIFTLINE_MONITOR",
        "DRIFTLINE_STORE",
        "DRIFTLINE_TRANSPORT",
        "DRIFTLINE_LOG_FORMAT",
        "DRIFTLINE_OPS_PORT",
        "DRIFTLINE_OPS_HOST",
        "DRIFTLINE_KAFKA_PASSWORD",
        "DRIFTLINE_WORKER_MEMORY_MB",
        "DRIFTLINE_WORKER_SECONDS",
        *SECRETS,
        *(f"{name}_FILE" for name in SECRETS),
    }
)


def secret_of(name: str) -> str | None:
    """Return the content of the file that the variable ``name``_FILE names, else the value of ``name``, else None.

    Raises:
        UsageError: the file cannot be read.
    """
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            msg = f"{name}_FILE names {path}, which cannot be read: {error.strerror}; mend the path"
            raise UsageError(msg) from error
    return os.environ.get(name)
