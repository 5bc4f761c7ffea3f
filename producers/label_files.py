"""Rows of a file of labels, CSV or Parquet, as they stand there, one after another in bounded memory.

What a row means is ``label_rows``'s. Every row knows its place, so that a bad one can be found.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftline.contract import Contract
from driftline.errors import InputDataError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_PARQUET_MAGIC = b"PAR1"
_BATCH_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """Names of the columns, ``""`` where nobody gave one: the usual names are then looked for."""

    id: str = ""
    label: str = ""
    label_time: str = ""


@dataclass(frozen=True, slots=True)
class RawLabel:
    """One row as it stands in the file. ``problem`` says why it has no values, ``""`` when it has.

    ``place`` is what people call it: the line of a CSV (its last, where a value spans several), the row of a Parquet.
    """

    place: str
    id: Any = None
    label: Any = None
    label_time: Any = None
    problem: str = ""


class LabelFile:
    """A file of labels, opened and found to have the columns that are needed."""

    def __init__(self, path: Path, contract: Contract, columns: LabelColumns, *, needs_time: bool = True) -> None:
        """Read the header.

        Raises:
            InputDataError: the file is absent, empty or unreadable, or lacks a column.
        """
        self.path = path
        self._is_parquet = _is_parquet(path)
        self._header = _parquet_names(path) if self._is_parquet else _csv_header(path)
        wanted = {
            "id": (columns.id, ("id", contract.fields.id)),
            "label": (columns.label, ("label", contract.label.name)),
            "label_time": (columns.label_time, ("label_time",)),
        }
        if not needs_time:
            del wanted["label_time"]
        self._places = {role: self._find(role, *names) for role, names in wanted.items()}

    @property
    def row_count(self) -> int:
        """How many rows there are; 0 where only reading all would tell."""
        if not self._is_parquet:
            return 0
        with closing(_opened_parquet(self.path)) as file:
            return int(file.metadata.num_rows)

    def rows(self) -> Iterator[RawLabel]:
        """Yield every row, in the file's order; blank lines are no rows."""
        return self._parquet_rows() if self._is_parquet else self._csv_rows()

    def _find(self, role: str, given: str, usual: Sequence[str]) -> int:
        option = f"--{role.removeprefix('label_')}-column"
        names = (given,) if given else usual
        found = [name for name in dict.fromkeys(names) if name in self._header]
        if not found:
            listed = ", ".join(self._header)
            wanted = " or ".join(dict.fromkeys(names))
            msg = f"{self.path} needs a column {wanted}; it has {listed}; name the column with {option}"
            raise InputDataError(msg)
        if self._header.count(found[0]) > 1:
            msg = f"{self.path} has {self._header.count(found[0])} columns {found[0]}; keep one"
            raise InputDataError(msg)
        return self._header.index(found[0])

    def _csv_rows(self) -> Iterator[RawLabel]:
        with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            next(reader)
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield RawLabel(f"line {reader.line_num}", problem=f"not CSV: {error}")
                    continue
                if row:
                    yield self._csv_row(f"line {reader.line_num}", row)

    def _csv_row(self, place: str, row: list[str]) -> RawLabel:
        if len(row) != len(self._header):
            return RawLabel(place, problem=f"{len(row)} values; the header names {len(self._header)}")
        return RawLabel(place, **{role: row[index] for role, index in self._places.items()})

    def _parquet_rows(self) -> Iterator[RawLabel]:
        names = [self._header[index] for index in self._places.values()]
        number = 0
        with closing(_opened_parquet(self.path)) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(dict.fromkeys(names))):
                columns = [batch.column(name).to_pylist() for name in names]
                for values in zip(*columns, strict=True):
                    number += 1
                    yield RawLabel(f"row {number}", **dict(zip(self._places, values, strict=True)))


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(len(_PARQUET_MAGIC))
    except OSError as error:
        msg = f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
        raise InputDataError(msg) from error
    if not start:
        msg = f"{path} is empty; a file of labels has a header and a row for each label"
        raise InputDataError(msg)
    return start == _PARQUET_MAGIC


def _csv_header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            header = next(csv.reader(lines, strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{path} is neither CSV in UTF-8 nor Parquet: {error}"
        raise InputDataError(msg) from error
    return [name.strip() for name in header]


def _parquet_names(path: Path) -> list[str]:
    with closing(_opened_parquet(path)) as file:
        return [str(name) for name in file.schema_arrow.names]


def _opened_parquet(path: Path) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"{path} cannot be read as Parquet: {error}"
        raise InputDataError(msg) from error
