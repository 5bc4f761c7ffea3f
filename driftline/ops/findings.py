"""What an examination of an installation finds; each finding that is not good names its remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from driftline.errors import DriftlineError

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact; ``fail`` means that driftline cannot work, or not correctly; ``remedy`` is empty where all is well."""

    check: str
    status: Status
    message: str
    remedy: str = ""


def attempted(check: str, examine: Callable[[], list[Finding]]) -> list[Finding]:
    """Return what ``examine`` finds, or the error that kept it from looking, whose message holds its remedy."""
    try:
        return examine()
    except DriftlineError as error:
        message, _, remedy = str(error).rpartition("; ")
        return [Finding(check, "fail", message or remedy, remedy if message else "see the message")]
