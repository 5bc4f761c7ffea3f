"""Query results in Grafana's shape: a frame is a list of fields of equal length.

Owns the reading of the engine's JSON, the kinds of columns, the turn from long to wide that the
data source makes for time series, and the names of series in legends. Times are epoch ms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from driftline.clock import to_ms
from driftline.errors import UsageError

Kind = Literal["time", "number", "string", "boolean", "other"]

_WRAPPER = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)\Z")
_NUMBER = re.compile(r"U?Int\d+\Z|B?Float\d+\Z|Decimal")
_TIME = re.compile(r"Date(?:Time)?(?:32|64)?\b")
_TEXT = re.compile(r"(?:Fixed)?String|Enum|UUID|IPv")


@dataclass(frozen=True, slots=True)
class Field:
    """One column; ``labels`` tell the series of a wide frame apart."""

    name: str
    kind: Kind
    values: Sequence[Any]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """The result of one query of a panel."""

    fields: tuple[Field, ...]

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return len(self.fields[0].values) if self.fields else 0


def read_frame(json_compact: str) -> Frame:
    """Return the frame of a result in the engine's format ``JSONCompact``; NaN and infinity arrive as None."""
    answer = msgspec.json.decode(json_compact)
    columns = list(zip(*answer["data"], strict=True)) or [() for _ in answer["meta"]]
    return Frame(
        tuple(_field(meta["name"], meta["type"], column) for meta, column in zip(answer["meta"], columns, strict=True))
    )


def kind_of(engine_type: str) -> Kind:
    """Return what Grafana makes of a column of the engine's type.

    >>> kind_of("LowCardinality(Nullable(String))"), kind_of("DateTime64(3, 'UTC')"), kind_of("Array(Int8)")
    ('string', 'time', 'other')
    """
    while (inner := _WRAPPER.match(engine_type)) is not None:
        engine_type = inner[1]
    if _TIME.match(engine_type):
        return "time"
    if engine_type == "Bool":
        return "boolean"
    if _NUMBER.match(engine_type):
        return "number"
    return "string" if _TEXT.match(engine_type) else "other"


def long_to_wide(frame: Frame) -> Frame:
    """Return one value field per combination of the string columns, as the data source does for ``format: 0``.

    The first time column is the index and must ascend; a combination without a row at a time is None there.
    Fields are ordered by value column, then by labels. A frame without string columns is wide already.

    Raises:
        UsageError: there is no time column, or times do not ascend.
    """
    index = next((column for column in frame.fields if column.kind == "time"), None)
    if index is None:
        msg = "a time series needs a time column; alias one as `time`"
        raise UsageError(msg)
    if any(later < earlier for earlier, later in zip(index.values, index.values[1:], strict=False)):
        msg = "a time series must be sorted; end the query with ORDER BY time"
        raise UsageError(msg)
    label_columns = [column for column in frame.fields if column.kind in {"string", "boolean"}]
    value_columns = [column for column in frame.fields if column.kind == "number"]
    if not label_columns:
        return Frame((index, *value_columns))
    times = list(dict.fromkeys(index.values))
    position = {time: row for row, time in enumerate(times)}
    keys = [
        tuple("" if value is None else str(value) for value in row)
        for row in zip(*(c.values for c in label_columns), strict=True)
    ]
    names = [column.name for column in label_columns]
    wide = []
    for column in value_columns:
        series: dict[tuple[str, ...], list[Any]] = {key: [None] * len(times) for key in sorted(set(keys))}
        for time, key, value in zip(index.values, keys, column.values, strict=True):
            series[key][position[time]] = value
        wide += [
            Field(column.name, "number", values, dict(zip(names, key, strict=True))) for key, values in series.items()
        ]
    return Frame((Field(index.name, "time", times), *wide))


def legend_names(frames: Sequence[Frame]) -> list[list[str]]:
    """Return each field's name in the legend: with one label name over all frames, value column and label value.

    A value column named ``Value`` is left out, so ``SELECT time, column AS series, x AS Value`` gives clean legends.
    """
    label_names = {name for frame in frames for column in frame.fields for name in column.labels}
    return [[_legend_name(column, len(label_names)) for column in frame.fields] for frame in frames]


def _legend_name(column: Field, label_name_count: int) -> str:
    if not column.labels:
        return column.name
    value_name = "" if column.name == "Value" else f"{column.name} "
    if label_name_count == 1:
        return value_name + next(iter(column.labels.values()))
    return value_name + "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(column.labels.items())) + "}"


def _field(name: str, engine_type: str, values: Sequence[Any]) -> Field:
    kind = kind_of(engine_type)
    if kind == "time":
        if "DateTime" in engine_type and "'UTC'" not in engine_type:
            msg = f"column `{name}` is a {engine_type} of the server's time zone; select toTimeZone({name}, 'UTC')"
            raise UsageError(msg)
        values = [None if value is None else _epoch_ms(value) for value in values]
    return Field(name, kind, list(values))


def _epoch_ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))
