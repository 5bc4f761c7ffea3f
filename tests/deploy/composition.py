"""The compose files as data: services after YAML's merges, and the commands of those that run our image."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILES = ("docker-compose.yml", "docker-compose.tls.yml")
OUR_IMAGE = "driftline:0.1.0"
_VARIABLE = re.compile(r"\$\{(\w+)(?::?[-?]([^}]*))?\}")


def read(name: str = FILES[0]) -> dict[str, Any]:
    """Return a compose file as YAML says it, variables as they stand."""
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return found


def our_services() -> dict[str, dict[str, Any]]:
    """Return the services that run our image, by name."""
    return {name: service for name, service in read()["services"].items() if service["image"] == OUR_IMAGE}


def words(service: Mapping[str, Any]) -> list[str]:
    """Return the command line that a service gives to ``driftline``, with the variables' defaults."""
    return [interpolated(word) for word in service["command"]]


def interpolated(text: str) -> str:
    """Return ``text`` as compose reads it where only the defaults of variables are known."""
    return _VARIABLE.sub(lambda match: os.environ.get(match[1]) or match[2] or "", text)
