"""What a monitor file may say: the contract between a model's owner and driftline.

Pure data with rules; reading files, line numbers and search order are ``loading``'s. Keys whose
feature comes in a later release are validated here all the same and listed in
``RESERVED_KEYS``, so that a file written today keeps its meaning.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

import msgspec
from pydantic import Field, model_validator

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
    "slices": "per-slice statistics and quality",
    "metrics": "custom metrics",
    "kpis": "business figures by SQL",
    "alerts": "alert rules generated from the contract",
    "retention": "expiry per table; that of `dead_letters` is in effect",
    "drift.max_alarms_per_month": "calibrated charts",
    "drift.calendar": "special days",
    "windows.idle_after": "closing windows of topics whose producers send no markers",
    "reference.kind": "trailing and seasonal references; fixed is in effect",
    "reference.days": "the length of a trailing reference",
    "positive_class": "quality of classification",
    "decision_threshold": "quality of classification",
    "columns.*.known_at": "the estimate before labels; the example models obey it already",
    "label.absent_means": "a class for labels that never come",
    "columns.*.pii": "dropping or hashing of personal data",
    "columns.*.importance": "importance-weighted drift",
}

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

    def known_at_prediction(self) -> tuple[str, ...]:
        """Return the names of the columns whose values exist when the model is asked."""
        return tuple(name for name, column in self.columns.items() if column.known_at == "prediction")
