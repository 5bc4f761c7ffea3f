"""What a monitor file may say: the contract between a model's owner and driftline.

Pure data with rules; reading files, line numbers and search order are ``loading``'s. Keys whose
feature comes in a later release are validated here all the same and listed in
``RESERVED_KEYS``, so that a file written today keeps its meaning.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

import msgspec
from pydantic import Field, model_validator

from driftline.contract.expressions import Expression, ExpressionError, read_aggregate, read_expression
from driftline.contract.parts import (
    AlertRule,
    CheckRule,
    Column,
    CustomMetric,
    DriftRule,
    EventTime,
    Fields,
    Kpi,
    LabelRule,
    Part,
    PredictionRule,
    QualityRule,
    ReferenceRule,
    Retention,
    SliceRule,
    Topics,
    Versions,
    WindowRule,
)
from driftline.contract.values import NAME, ColumnType, Name, Share, Task

RESERVED_KEYS: dict[str, str] = {
    "alerts": "alert rules generated from the contract",
    "retention.raw": "expiry of raw rows",
    "retention.aggregates": "expiry of counts, profiles and runs",
    "drift.max_alarms_per_month": "calibrated charts",
    "drift.calendar": "special days",
    "columns.*.pii": "dropping or hashing of personal data",
}

KPI_COLUMNS = ("id", "event_time", "prediction", "class", "probability", "label", "label_class")
"""What a KPI may read beside the features; ``probability`` is the positive class's."""

CLASS_PREFIX = "class="
"""Before the class in the column of a figure of one class."""

METRIC_COLUMNS = ("id", "event_time", "prediction", "probability", "label")
"""What a custom metric may read beside the features; classes are text, ``probability`` is the positive class's."""

# As many make the statement for the table of inputs nearly as long as the engine reads (256 KiB).
MAX_COLUMNS = 2_000
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
RESERVED_COLUMNS = frozenset(
    {"id", "event_time", "append_time", "id_hash", "source_id", "p", "o", "ver", "prediction", "label", "model_version"}
)


class Contract(Part):
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
            name = value["model"] if NAME.match(str(value.get("model"))) else "model"
            topics = {"inputs": f"{name}.inputs", "predictions": f"{name}.predictions", "labels": f"{name}.labels"}
            return {**value, "topics": topics}
        return value

    @model_validator(mode="after")
    def _not_too_many_columns(self) -> Self:
        if len(self.columns) > MAX_COLUMNS:
            remedy = "leave out those that nobody looks at, or monitor them as a second model"
            msg = f"`columns` must be at most {MAX_COLUMNS:,} columns; got {len(self.columns):,}; {remedy}"
            raise ValueError(msg)
        return self

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
            by_class = check.column.startswith(CLASS_PREFIX) and check.source == "batch"
            if check.column not in known and not by_class:
                near = f"use one of {', '.join(self.columns)}, prediction, label"
                msg = f"`checks.{index}.column` must be one of the contract's columns; got {check.column}; {near}"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _slices_read_columns(self) -> Self:
        names = [rule.name for rule in self.slices]
        for index, rule in enumerate(self.slices):
            if rule.name == "all" or rule.name in names[:index]:
                remedy = "rename it; `all` is the whole window"
                msg = f"`slices.{index}.name` must be a name of its own; got {rule.name}; {remedy}"
                raise ValueError(msg)
            try:
                self.slice_expression(rule)
            except ExpressionError as error:
                rule_text = "must be one SQL expression over the row's columns"
                msg = f"`slices.{index}.by` {rule_text}; got {rule.by[:100]!r}: {error}"
                raise ValueError(msg) from error
        return self

    @model_validator(mode="after")
    def _checks_name_slices(self) -> Self:
        names = {rule.name for rule in self.slices}
        for index, check in enumerate(self.checks):
            if check.slice == "all":
                continue
            if check.slice.partition("=")[0] not in names:
                near = f"use all, or NAME=VALUE with a name of `slices` ({', '.join(sorted(names)) or 'none'})"
                msg = f"`checks.{index}.slice` must be a slice of the contract; got {check.slice}; {near}"
                raise ValueError(msg)
            if check.source == "stream":
                msg = f"`checks.{index}.source` must be batch for a slice; got stream; add `source: batch`"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _kpis_read_columns(self) -> Self:
        names = [kpi.name for kpi in self.kpis]
        for index, kpi in enumerate(self.kpis):
            if kpi.name in names[:index]:
                msg = f"`kpis.{index}.name` must be a name of its own; got {kpi.name}; rename it"
                raise ValueError(msg)
            try:
                self.kpi_expression(kpi)
            except ExpressionError as error:
                rule = "must be one SQL aggregate over the columns, prediction, class, probability and label"
                msg = f"`kpis.{index}.sql` {rule}; got {kpi.sql[:100]!r}: {error}"
                raise ValueError(msg) from error
        return self

    @model_validator(mode="after")
    def _absent_label_fits_task(self) -> Self:
        absent = self.label.absent_means
        if absent is not None and self.task == "regression" and not _is_number(absent):
            msg = f"`label.absent_means` must be a number for task regression; got {absent!r}; write one, or remove it"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _metrics_read_columns(self) -> Self:
        names = [metric.name for metric in self.metrics]
        for index, metric in enumerate(self.metrics):
            if metric.name in names[:index]:
                msg = f"`metrics.{index}.name` must be a name of its own; got {metric.name}; rename it"
                raise ValueError(msg)
            try:
                self.metric_expression(metric)
            except ExpressionError as error:
                rule = "must be one SQL aggregate over the columns, prediction, label and probability"
                msg = f"`metrics.{index}.sql` {rule}; got {str(metric.sql)[:100]!r}: {error}"
                raise ValueError(msg) from error
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

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with ``update``, which is not validated; it goes by an id of its own."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("id", None)  # pydantic copies what has been computed, too
        return copied

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

    def slice_expression(self, rule: SliceRule) -> Expression:
        """Return what ``rule`` slices by; ``event_time`` may be read beside the columns.

        Raises:
            ExpressionError: it is no expression over them; a contract that was read holds none such.
        """
        return read_expression(rule.by, {*self.columns, "event_time"})

    def kpi_expression(self, kpi: Kpi) -> Expression:
        """Return what ``kpi`` sums up: over the columns, the champion's answer and the label, null where there is none.

        Raises:
            ExpressionError: it is no expression over them; a contract that was read holds none such.
        """
        return read_aggregate(kpi.sql, {*self.columns, *KPI_COLUMNS})

    def metric_expression(self, metric: CustomMetric) -> Expression | None:
        """Return what a custom metric's ``sql`` sums up over the scored rows; None for a metric that is no SQL.

        Raises:
            ExpressionError: it is no expression over them; a contract that was read holds none such.
        """
        if metric.sql is None:
            return None
        return read_aggregate(metric.sql, {*self.columns, *METRIC_COLUMNS})

    def known_at_prediction(self) -> tuple[str, ...]:
        """Return the names of the columns whose values exist when the model is asked."""
        return tuple(name for name, column in self.columns.items() if column.known_at == "prediction")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
