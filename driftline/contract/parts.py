"""The parts of a contract, one class a section; what holds between sections is ``model.Contract``'s."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from driftline.contract.values import (
    ColumnType,
    Duration,
    JsonName,
    Moment,
    Name,
    Severity,
    Share,
    TimeZone,
    TopicName,
    not_before_1970,
)
from driftline.windows import granularity

# What predictions and labels carry beside the id and the times; no input field may be mapped onto them.
_ENVELOPE_NAMES = frozenset({"model_version", "latency_ms", "status", "prediction", "label", "label_time"})


class Part(BaseModel):
    """A section: no unknown keys, no NaN, never changed after it was read."""

    model_config = ConfigDict(extra="forbid", strict=False, frozen=True, allow_inf_nan=False)


class Range(Part):
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


class Topics(Part):
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


class Fields(Part):
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


class EventTime(Part):
    """Rules of event time: the zone people think in, and the oldest moment accepted."""

    timezone: TimeZone = "UTC"
    floor: Annotated[Moment, AfterValidator(not_before_1970)] = datetime(2000, 1, 1, tzinfo=UTC)


class Versions(Part):
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


class Column(Part):
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


class PredictionRule(Part):
    """What a prediction looks like."""

    unit: str | None = None
    range: Range | None = None


class LabelDelay(Part):
    """How long labels take: the usual worst case, and the age after which none is expected any more."""

    p99: Duration = timedelta(days=1)
    max: Duration = timedelta(days=30)


class LabelRule(Part):
    """What a label looks like. Labels outside ``range`` are counted and kept out of quality figures."""

    name: Name = "label"
    unit: str | None = None
    range: Range | None = None
    delay: LabelDelay = LabelDelay()
    expected_share: Share | None = None
    absent_means: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _absent_as_text(cls, value: Any) -> Any:
        absent = value.get("absent_means") if isinstance(value, dict) else None
        if isinstance(absent, bool):
            msg = f"`absent_means` must be a class or a number; got {absent}; put a class in quotes"
            raise ValueError(msg)
        return {**value, "absent_means": str(absent)} if isinstance(absent, int | float) else value


class WindowRule(Part):
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
        if self.idle_after is not None and self.idle_after <= timedelta(0):
            msg = "`windows.idle_after` must be longer than zero; got 0s; use 2m, or leave it out"
            raise ValueError(msg)
        return self

    @property
    def largest(self) -> timedelta:
        """The largest window of any kind."""
        return max(self.stream, self.profile, self.data, self.drift, *self.quality)


class SliceRule(Part):
    """Subsets judged on their own: one per value of a column or an SQL expression, or the rows where a condition holds.

    The ``max_values`` most frequent values get a slice each, all others share one.
    """

    name: Name
    by: Annotated[str, Field(min_length=1)]
    max_values: Annotated[int, Field(ge=1, le=1000)] = 20
    min_rows: Annotated[int, Field(ge=2)] = 100


class ReferenceRule(Part):
    """What a window is compared with: the set promoted last, or the days before it, all of them or the same hours."""

    kind: Literal["fixed", "trailing", "seasonal"] = "fixed"
    days: Annotated[int, Field(ge=1, le=1000)] | None = None

    @model_validator(mode="after")
    def _days_of_a_past(self) -> Self:
        if self.days is not None and self.kind == "fixed":
            msg = f"`reference.days` needs kind trailing or seasonal; got {self.days} and kind fixed; remove it"
            raise ValueError(msg)
        return self

    @property
    def length(self) -> int:
        """How many days before a window make its reference; four weeks unless said."""
        return self.days or 28


class DriftRule(Part):
    """Evidently's statistical tests, pinned, with the score from which each says "drift".

    Their verdict carries ``severity`` info by default: these tests call many healthy windows drifted, so they are
    shown and raise nothing. What raises is a score more than ``max_ratio`` times what 99 of 100 healthy windows of
    that size stay below, learned from the reference; null for no such check.
    """

    number_method: str = "wasserstein"
    number_threshold: Annotated[float, Field(gt=0)] = 0.1
    category_method: str = "jensenshannon"
    category_threshold: Annotated[float, Field(gt=0)] = 0.1
    min_rows: Annotated[int, Field(ge=2)] = 200
    severity: Severity = "info"
    max_ratio: Annotated[float, Field(gt=0)] | None = 1.5
    ratio_severity: Severity = "warning"
    multivariate: bool = False
    max_alarms_per_month: Annotated[float, Field(gt=0)] = 1.0
    calendar: str | None = None


class QualityRule(Part):
    """When a quality figure may be judged. Errors are in the label's unit."""

    min_labels: Annotated[int, Field(ge=1)] = 50
    min_positives: Annotated[int, Field(ge=1)] = 20
    max_error_ratio: Annotated[float, Field(gt=0)] | None = None
    max_estimate_gap: Annotated[float, Field(ge=0)] | None = None


class CheckRule(Part):
    """A bound on one metric of one column, judged per window; ``insufficient`` below ``min_rows`` rows.

    A share fails only when it exceeds its bound by more than chance explains: three standard errors of a
    binomial share at the bound, so that three odd rows in a quiet night do not alarm.
    """

    metric: Name
    column: str = ""
    slice: str = "all"
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


class CustomMetric(Part):
    """A figure of the user's own over a window's scored rows: one of an Evidently metric, SQL and a Python function.

    ``parameters`` are the Evidently metric's or the function's keyword arguments.
    """

    name: Name
    evidently: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$")] | None = None
    sql: Annotated[str, Field(min_length=1)] | None = None
    python: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    parameters: dict[str, str | int | float | bool] = {}

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("evidently", "sql", "python") if getattr(self, name) is not None]
        if len(given) != 1:
            msg = f"needs one of `evidently`, `sql` and `python`; got {', '.join(given) or 'none'}"
            raise ValueError(msg)
        if self.parameters and self.sql is not None:
            msg = "`parameters` must be left out beside `sql`; write the values into the expression"
            raise ValueError(msg)
        return self


class Kpi(Part):
    """A business figure: an SQL aggregate over a window's inputs, the champion's answers and the labels so far."""

    name: Name
    sql: Annotated[str, Field(min_length=1)]
    unit: str | None = None


class AlertRule(Part):
    """When to tell whom."""

    metric: Name
    slice: str = "all"
    above: float | None = None
    below: float | None = None
    for_: Annotated[Duration, Field(alias="for")] = timedelta(0)
    severity: Severity = "warning"
    receiver: str | None = None


class Retention(Part):
    """How long rows are kept, by append time; absent means for ever."""

    raw: Duration | None = None
    aggregates: Duration | None = None
    dead_letters: Duration | None = timedelta(days=14)
