"""Mergeable sketches of columns: the only module that knows whylogs.

``why.log`` looks at every value one by one. Our columns are typed already, so they are handed to
whylogs' own metrics as arrays: the same counts, means, quantiles and cardinality, ten to forty
times quicker (``tests/driftline/test_profiles.py`` compares value by value). The resolver leaves
out the unicode-range metric, which costs more than all the others together.

A blob carries whylogs' own format, readable by whylogs itself. It has no check sum of its own and
survives most bit flips unnoticed: whoever stores one stores a CRC beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

Kind = Literal["number", "text"]
_QUANTILES = {"quantile_05": 0.05, "quantile_25": 0.25, "quantile_50": 0.5, "quantile_75": 0.75, "quantile_95": 0.95}


@cache
def library() -> str:
    """Return the sketch library and its version, to be kept beside every blob."""
    return f"whylogs {version('whylogs')}"


class Profile:
    """Sketches of some columns over some rows; add batches, merge, serialise, summarise."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        """Start empty; ``kinds`` maps each column to what its batches will hold."""
        self._writers = {name: _library().writer(name, kind) for name, kind in kinds.items()}
        self._views: dict[str, Any] = {}

    def add_numbers(self, column: str, values: npt.NDArray[np.float64]) -> None:
        """Add finite numbers; NaN means missing."""
        present = values[~np.isnan(values)]
        self._add(column, len(values), len(present), floats=present)

    def add_texts(self, column: str, values: Sequence[str | None] | npt.NDArray[np.object_]) -> None:
        """Add strings; None means missing."""
        present = [value for value in values if value is not None]
        self._add(column, len(values), len(present), strings=present)

    def merge(self, other: Self) -> None:
        """Take in all that ``other`` has seen; both must describe the same columns under the same contract."""
        mine, theirs = self._column_views(), other._column_views()
        self._views = {
            name: mine[name].merge(theirs[name]) if name in mine and name in theirs else mine.get(name) or theirs[name]
            for name in [*mine, *(name for name in theirs if name not in mine)]
        }
        self._writers = {}

    def to_bytes(self) -> bytes:
        """Return the profile in whylogs' format. Two calls need not give equal bytes."""
        moment = datetime(1970, 1, 1, tzinfo=UTC)
        view = _library().dataset_view(
            columns=self._column_views(), dataset_timestamp=moment, creation_timestamp=moment, metadata={}
        )
        return bytes(view.serialize())

    @classmethod
    def from_bytes(cls, blob: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError: the bytes are not a profile.
        """
        profile = cls({})
        try:
            profile._views = dict(_library().dataset_view.deserialize(blob).get_columns())
        except Exception as error:  # whylogs and protobuf raise what they like on foreign bytes
            msg = f"not a whylogs profile: {error}"
            raise ValueError(msg) from error
        return profile

    def rows(self) -> dict[str, int]:
        """Return the number of rows seen, by column."""
        return {name: int(view.get_metric("counts").n.value) for name, view in self._column_views().items()}

    def summary(self) -> dict[str, dict[str, float]]:
        """Return figures by column: quantiles from 5 to 95 % (of numbers), ``distinct_count``, type counts."""
        return {name: _figures(view) for name, view in self._column_views().items()}

    def _add(self, column: str, rows: int, present: int, **values: Any) -> None:
        prepared = _library().column(rows, rows - present, **values)
        with np.errstate(over="ignore", invalid="ignore"):  # the mean of 1e308s is infinite; quantiles are not
            self._writers[column]._process_extracted_column(prepared)  # noqa: SLF001  # whylogs has no public way

    def _column_views(self) -> dict[str, Any]:
        return {**self._views, **{name: writer.view() for name, writer in self._writers.items()}}


def _figures(view: Any) -> dict[str, float]:
    figures: dict[str, float] = {}
    distribution, cardinality = view.get_metric("distribution"), view.get_metric("cardinality")
    if distribution is not None and distribution.n > 0:
        figures |= {name: float(distribution.get_quantile(share)) for name, share in _QUANTILES.items()}
    if cardinality is not None:
        figures["distinct_count"] = float(round(cardinality.estimate or 0.0))
    types = view.get_metric("types").to_summary_dict()
    figures |= {f"type_{name}_count": float(count) for name, count in types.items() if name != "tensor"}
    return figures


@dataclass(frozen=True, slots=True)
class _Whylogs:
    """What we use of whylogs, imported once and late: the import takes seconds."""

    dataset_view: Any
    column_profile: Any
    schemas: Mapping[Kind, Any]
    preprocessed: Any
    numpy_view: Any
    pandas_view: Any

    def writer(self, name: str, kind: Kind) -> Any:
        return self.column_profile(name, schema=self.schemas[kind], cache_size=1024)

    def column(self, rows: int, missing: int, floats: Any = None, strings: Any = None) -> Any:
        prepared = self.preprocessed()
        prepared.len, prepared.null_count = rows, missing
        prepared.numpy = self.numpy_view(floats=floats)
        prepared.pandas = self.pandas_view(strings=None if strings is None else pd.Series(strings, dtype=object))
        return prepared


@cache
def _library() -> _Whylogs:
    os.environ.setdefault("WHYLOGS_NO_ANALYTICS", "True")
    if not hasattr(np, "unicode_"):
        np.unicode_ = np.str_  # type: ignore[attr-defined]  # whylogs 1.6.4 names a type that NumPy 2 removed
    from whylogs.core import preprocessing
    from whylogs.core.column_profile import ColumnProfile
    from whylogs.core.metrics import StandardMetric
    from whylogs.core.metrics.metrics import MetricConfig
    from whylogs.core.resolvers import Resolver
    from whylogs.core.schema import ColumnSchema
    from whylogs.core.view.dataset_profile_view import DatasetProfileView

    kinds: dict[Kind, tuple[Any, list[Any]]] = {
        "number": (np.dtype("float64"), [StandardMetric.distribution, StandardMetric.cardinality]),
        "text": (str, [StandardMetric.cardinality, StandardMetric.frequent_items]),
    }

    class TypedResolver(Resolver):  # type: ignore[misc]
        """Choose the metrics by our column kind, not by looking at values."""

        def resolve(self, name: str, why_type: Any, column_schema: Any) -> dict[str, Any]:
            kind: Kind = "number" if column_schema.dtype != str else "text"
            chosen = [StandardMetric.counts, StandardMetric.types, *kinds[kind][1]]
            return {metric.name: metric.zero(column_schema.cfg) for metric in chosen}

    config, resolver = MetricConfig(track_unicode_ranges=False), TypedResolver()
    schemas = {kind: ColumnSchema(dtype=dtype, cfg=config, resolver=resolver) for kind, (dtype, _) in kinds.items()}
    return _Whylogs(
        DatasetProfileView,
        ColumnProfile,
        schemas,
        preprocessing.PreprocessedColumn,
        preprocessing.NumpyView,
        preprocessing.PandasView,
    )
