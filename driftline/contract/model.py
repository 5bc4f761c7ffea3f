"""What a monitor file may say: the contract between a model's owner and driftline.

Pure data with rules; reading files, line numbers and search order are ``loading``'s. Keys whose
feature comes in a later release are validated here all the same and listed in
``RESERVED_KEYS``, so that a file written today keeps its meaning.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from driftline.windows import granularity, parse_granularity

RESERVED_KEYS: dict[str, str] = {
    "slices": "per-slice statistics and quality",
    "metrics": "custom metrics",
    "kpis": "business figures by SQL",
    "alerts": "alert rules generated from the contract",
    "retention": "expiry per table",
    "drift.max_alarms_per_month": "calibrated charts",
    "drift.calendar": "special days",
    "label.absent_means": "a class for labels that never come",
    "columns.*.pii": "dropping or hashing of personal data",
    "columns.*.importance": "importance-weighted drift",
}

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,200}\Z")
RESERVED_COLUMNS = frozenset(
    {"id", "event_time", "append_time", "id_hash", "source_id", "p", "o", "ver", "prediction", "label", "model_version"}
)

_ENVELOPE_NAMES = frozenset({"model_version", "latency_ms", "status", "prediction", "label", "label_time"})


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


def _not_before_1970(value: datetime) -> datetime:
    if value < datetime(1970, 1, 1, tzinfo=UTC):
        msg = "must be 1970-01-01 or later; windows and watermarks count from there"
        raise ValueError(msg)
    return value


TimeZone = Annotated[str, AfterValidator(_known_zone)]
JsonName = Annotated[str, Field(min_length=1)]
Name = Annotated[str, _matching(_NAME, "lower-case letters, digits and underscores, starting with a letter")]
TopicName = Annotated[str, _matching(_TOPIC, "letters, digits, dot, underscore and hyphen, at most 200")]
Share = Annotated[float, Field(ge=0, le=1)]
Severity = Literal["info", "warning", "critical"]
ColumnType = Literal["number", "category", "boolean", "text", "datetime"]
Task = Literal["regression", "binary", "multiclass"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False, frozen=True, allow_inf_nan=False)


class Range(_Part):
    """Closed interval of allowed numbers; an absent side is open-ended. Written ``[low, high]`` with null for open."""

    low: float | None = None
    high: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_pair(cls, value: Any) -> Any:
        if isinstance(value, list):
            if len(value) != 2:
                msg = "must be a pair [low, high], null for an open side"
                raise ValueError(msg)
            return {"low": value[0], "high": value[1]}
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            msg = f"must have its low end first; got [{self.low:g}, {self.high:g}]; swap them"
            raise ValueError(msg)
        return self


class Topics(_Part):
    """Names of the three topics."""

    inputs: TopicName
    predictions: TopicName
    labels: TopicName

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({self.inputs, self.predictions, self.labels}) != 3:
            msg = "must name three different topics"
            raise ValueError(msg)
        return self


class Fields(_Part):
    """Where the envelope's values stand in an event; ``features: "."`` means beside the envelope."""

    id: JsonName = "id"
    event_time: JsonName = "event_time"
    features: JsonName = "features"

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = {"id": self.id, "event_time": self.event_time, "features": self.features}
        for key, name in names.items():
            if name in _ENVELOPE_NAMES or list(names.values()).count(name) > 1:
                msg = f"`fields.{key}` must be a name of its own in the event; got {name}; rename it in the producer"
                raise ValueError(msg)
        return self


class EventTime(_Part):
    """Rules of event time: the zone people think in, and the oldest moment accepted."""

    timezone: TimeZone = "UTC"
    floor: Annotated[Moment, AfterValidator(_not_before_1970)] = datetime(2000, 1, 1, tzinfo=UTC)


class Versions(_Part):
    """Model versions: the one in charge, and those compared with it."""

    champion: str = "champion"
    challengers: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for index, name in enumerate(self.challengers):
            if name in (self.champion, *self.challengers[:index]):
                msg = f"`versions.challengers.{index}` must be a version not named before; got {name}; remove it"
                raise ValueError(msg)
        return self

    @property
    def all(self) -> tuple[str, ...]:
        """Champion first, then the challengers."""
        return (self.champion, *self.challengers)


class Column(_Part):
    """One feature of an input."""

    type: ColumnType
    field: str | None = None
    unit: str | None = None
    range: Range | None = None
    values: tuple[str, ...] | None = None
    max_missing_share: Share | None = None
    max_out_of_range_share: Share | None = None
    max_unseen_share: Share | None = None
    drift_threshold: Annotated[float, Field(gt=0)] | None = None
    known_at: Literal["prediction", "label"] = "prediction"
    pii: Literal["drop", "hash"] | None = None
    importance: Annotated[float, Field(ge=0)] | None = None
    description: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _values_as_text(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("values"), list):
            for index, item in enumerate(value["values"]):
                if isinstance(item, bool) or not isinstance(item, str | int):
                    msg = f"`values.{index}` must be text or a whole number; got {item!r}; put it in quotes"
                    raise ValueError(msg)
            return {**value, "values": tuple(str(item) for item in value["values"])}
        return value

    @model_validator(mode="after")
    def _fits_type(self) -> Self:
        if self.range is not None and self.type != "number":
            msg = f"`range` needs type number; got type {self.type}; remove it or change the type"
            raise ValueError(msg)
        if self.values is not None and self.type != "category":
            msg = f"`values` needs type category; got type {self.type}; remove it or change the type"
            raise ValueError(msg)
        return self


class PredictionRule(_Part):
    """What a prediction looks like."""

    unit: str | None = None
    range: Range | None = None


class LabelDelay(_Part):
    """How long labels take: the usual worst case, and the age after which none is expected any more."""

    p99: Duration = timedelta(days=1)
    max: Duration = timedelta(days=30)


class LabelRule(_Part):
    """What a label looks like. Labels outside ``range`` are counted and kept out of quality figures."""

    name: Name = "label"
    unit: str | None = None
    range: Range | None = None
    delay: LabelDelay = LabelDelay()
    expected_share: Share | None = None
    absent_means: str | None = None


class WindowRule(_Part):
    """Sizes of the windows, all aligned to UTC, and how late an event may be before it re-opens one."""

    stream: Duration = timedelta(hours=1)
    profile: Duration = timedelta(hours=1)
    data: Duration = timedelta(days=1)
    drift: Duration = timedelta(days=1)
    quality: tuple[Duration, ...] = (timedelta(hours=1), timedelta(days=1))
    allowed_lateness: Duration = timedelta(0)
    idle_after: Duration | None = None

    @model_validator(mode="after")
    def _nested(self) -> Self:
        sizes = {"profile": self.profile, "data": self.data, "drift": self.drift}
        sizes |= {f"quality.{index}": size for index, size in enumerate(self.quality)}
        for name, size in {"stream": self.stream, **sizes}.items():
            if size <= timedelta(0):
                msg = f"`windows.{name}` must be longer than zero; got 0s; use 1h, or another duration"
                raise ValueError(msg)
            if size % self.stream:
                wanted, got, below = granularity(self.stream), granularity(size), size // self.stream * self.stream
                near = " or ".join(granularity(fit) for fit in (below, below + self.stream) if fit)
                msg = f"`windows.{name}` must be a multiple of `windows.stream` ({wanted}); got {got}; use {near}"
                raise ValueError(msg)
        return self

    @property
    def largest(self) -> timedelta:
        """The largest window of any kind."""
        return max(self.stream, self.profile, self.data, self.drift, *self.quality)


class SliceRule(_Part):
    """A subset judged on its own: a name and an SQL expression over the features."""

    name: Name
    by: str
    max_values: Annotated[int, Field(ge=1, le=1000)] = 20
    min_rows: Annotated[int, Field(ge=1)] = 100


class ReferenceRule(_Part):
    """What a window is compared with."""

    kind: Literal["fixed", "trailing", "seasonal"] = "fixed"
    days: Annotated[int, Field(ge=1)] | None = None


class DriftRule(_Part):
    """Evidently's statistical tests, pinned, with the score from which each says "drift".

    The verdict carries ``severity`` info by default: these tests call many healthy windows drifted, so
    they are shown and do not raise a check until they are calibrated.
    """

    number_method: str = "wasserstein"
    number_threshold: Annotated[float, Field(gt=0)] = 0.1
    category_method: str = "jensenshannon"
    category_threshold: Annotated[float, Field(gt=0)] = 0.1
    min_rows: Annotated[int, Field(ge=2)] = 200
    severity: Severity = "info"
    max_alarms_per_month: Annotated[float, Field(gt=0)] = 1.0
    calendar: str | None = None


class QualityRule(_Part):
    """When a quality figure may be judged. Errors are in the label's unit."""

    min_labels: Annotated[int, Field(ge=1)] = 50
    max_error_ratio: Annotated[float, Field(gt=0)] | None = None


class CheckRule(_Part):
    """A bound on one metric of one column, judged per window; ``insufficient`` below ``min_rows`` rows.

    A share fails only when it exceeds its bound by more than chance explains: three standard errors of a
    binomial share at the bound, so that three odd rows in a quiet night do not alarm.
    """

    metric: Name
    column: str = ""
    source: Literal["stream", "batch"] = "stream"
    granularity: Duration | None = None
    min: float | None = None
    max: float | None = None
    min_rows: Annotated[int, Field(ge=1)] = 30
    severity: Severity = "warning"

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            msg = "needs `min`, `max` or both"
            raise ValueError(msg)
        if self.min is not None and self.max is not None and self.min > self.max:
            msg = f"`min` must not exceed `max`; got {self.min:g} and {self.max:g}; swap them"
            raise ValueError(msg)
        return self


class CustomMetric(_Part):
    """A figure of the user's own: an Evidently metric by name, an SQL expression, or a Python callable."""

    name: Name
    evidently: str | None = None
    sql: str | None = None
    python: str | None = None


class Kpi(_Part):
    """A business figure by SQL."""

    name: Name
    sql: str
    unit: str | None = None


class AlertRule(_Part):
    """When to tell whom."""

    metric: Name
    slice: str = "all"
    above: float | None = None
    below: float | None = None
    for_: Annotated[Duration, Field(alias="for")] = timedelta(0)
    severity: Severity = "warning"
    receiver: str | None = None


class Retention(_Part):
    """How long rows are kept, by append time; absent means for ever."""

    raw: Duration | None = None
    aggregates: Duration | None = None
    dead_letters: Duration | None = timedelta(days=14)


class Contract(_Part):
    """Everything driftline needs to know about one monitored model."""

    model: Name
    owner: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    task: Task = "regression"
    positive_class: str | None = None
    decision_threshold: Share = 0.5
    topics: Topics
    fields: Fields = Fields()
    event_time: EventTime = EventTime()
    versions: Versions = Versions()
    columns: Annotated[dict[str, Column], Field(min_length=1)]
    prediction: PredictionRule = PredictionRule()
    label: LabelRule = LabelRule()
    windows: WindowRule = WindowRule()
    slices: tuple[SliceRule, ...] = ()
    reference: ReferenceRule = ReferenceRule()
    drift: DriftRule = DriftRule()
    quality: QualityRule = QualityRule()
    checks: tuple[CheckRule, ...] = ()
    metrics: tuple[CustomMetric, ...] = ()
    kpis: tuple[Kpi, ...] = ()
    alerts: tuple[AlertRule, ...] = ()
    retention: Retention = Retention()

    @model_validator(mode="before")
    @classmethod
    def _default_topics(cls, value: Any) -> Any:
        if isinstance(value, dict) and "topics" not in value:
            # A missing or unusable name is complained about once, as the model's.
            name = value["model"] if _NAME.match(str(value.get("model"))) else "model"
            topics = {"inputs": f"{name}.inputs", "predictions": f"{name}.predictions", "labels": f"{name}.labels"}
            return {**value, "topics": topics}
        return value

    @model_validator(mode="after")
    def _column_names(self) -> Self:
        for name in self.columns:
            if not _COLUMN.match(name):
                rule = "must be letters, digits and underscores, not starting with a digit"
                msg = f"`columns.{name}` {rule}; rename it and put the event's name in `field`"
                raise ValueError(msg)
            if name.lower() in RESERVED_COLUMNS:
                msg = f"`columns.{name}` is driftline's own column; rename it and put the event's name in `field`"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _one_column_per_field(self) -> Self:
        beside = self.fields.features == "."
        taken = {self.fields.id: "fields.id", self.fields.event_time: "fields.event_time"} if beside else {}
        for name, column in self.columns.items():
            field = column.field or name
            if field in taken:
                msg = f"`columns.{name}` reads the event's {field}, as `{taken[field]}` does; remove one of the two"
                raise ValueError(msg)
            taken[field] = f"columns.{name}"
        return self

    @model_validator(mode="after")
    def _checks_name_columns(self) -> Self:
        known = {*self.columns, "", "prediction", "label"}
        for index, check in enumerate(self.checks):
            if check.column not in known:
                near = f"use one of {', '.join(self.columns)}, prediction, label"
                msg = f"`checks.{index}.column` must be one of the contract's columns; got {check.column}; {near}"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _positive_class_for_binary(self) -> Self:
        if self.task == "binary" and self.positive_class is None:
            msg = "`positive_class` is needed for task binary; name the class that a probability belongs to"
            raise ValueError(msg)
        return self

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits that change whenever anything in the contract does."""
        return self.digest()

    def digest(self, *parts: str) -> str:
        """Return a hash of the named top-level keys (of all, when none is named)."""
        body = self.model_dump(mode="json", include=set(parts) or None, by_alias=True)
        canonical = msgspec.json.encode(body, order="deterministic")
        return hashlib.sha256(canonical).hexdigest()[:16]

    @property
    def raw_inputs_table(self) -> str:
        """Name of the table of this model's inputs."""
        return f"inputs_{self.model}"

    def columns_of_type(self, *types: ColumnType) -> tuple[str, ...]:
        """Return the names of the columns of these types, in the contract's order."""
        return tuple(name for name, column in self.columns.items() if column.type in types)

    def known_at_prediction(self) -> tuple[str, ...]:
        """Return the names of the columns whose values exist when the model is asked."""
        return tuple(name for name, column in self.columns.items() if column.known_at == "prediction")
