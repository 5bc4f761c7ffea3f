"""The kinds of value a monitor file holds: durations, moments, names, shares, and how each is read."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from driftline.windows import granularity, parse_granularity

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,200}\Z")


def _as_duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    text = str(value)
    return timedelta(0) if text in {"0", "0s"} else parse_granularity(text)


def _duration_text(value: timedelta) -> str:
    return granularity(value) if value else "0s"


Duration = Annotated[timedelta, BeforeValidator(_as_duration), PlainSerializer(_duration_text, return_type=str)]


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _as_moment(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


Moment = Annotated[datetime, BeforeValidator(_as_moment), AfterValidator(_utc)]


def _matching(pattern: re.Pattern[str], rule: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.match(value):
            msg = f"must be {rule}"
            raise ValueError(msg)
        return value

    return AfterValidator(check)


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = "must be a time zone of the IANA database, such as America/New_York"
        raise ValueError(msg) from error
    return value


def not_before_1970(value: datetime) -> datetime:
    """Return ``value``, or refuse one from before the epoch."""
    if value < datetime(1970, 1, 1, tzinfo=UTC):
        msg = "must be 1970-01-01 or later; windows and watermarks count from there"
        raise ValueError(msg)
    return value


TimeZone = Annotated[str, AfterValidator(_known_zone)]
JsonName = Annotated[str, Field(min_length=1)]
Name = Annotated[str, _matching(NAME, "lower-case letters, digits and underscores, starting with a letter")]
TopicName = Annotated[str, _matching(_TOPIC, "letters, digits, dot, underscore and hyphen, at most 200")]
Share = Annotated[float, Field(ge=0, le=1)]
Severity = Literal["info", "warning", "critical"]
ColumnType = Literal["number", "category", "boolean", "text", "datetime"]
Task = Literal["regression", "binary", "multiclass"]
