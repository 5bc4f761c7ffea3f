"""Reports as files and as rows: written whole or not at all, listed, and removed when they are old.

Files lie under a folder of this machine, rows in the store. The file comes first and goes last: a row never names
a file that has not been written.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from driftline.store import Store
from driftline.windows import Window, granularity

AskedBy = Literal["person", "check"]
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class ReportKey:
    """What a report is about; a newer report of the same replaces it."""

    model: str
    model_version: str
    window: Window

    @property
    def granularity(self) -> str:
        """The short name of the window's size."""
        return granularity(self.window.size)

    @property
    def path(self) -> str:
        """Where the report lies under the folder of reports, without ``.gz``; a version may have any name."""
        version = _SAFE.sub("-", self.model_version)[:40].strip(".-") or "version"
        mark = hashlib.sha256(self.model_version.encode()).hexdigest()[:8]
        return f"{self.model}/{self.granularity}-{self.window.start:%Y%m%dT%H%M%SZ}-{version}-{mark}.html"

    @property
    def row(self) -> dict[str, Any]:
        """The key's columns."""
        return {
            "model": self.model,
            "model_version": self.model_version,
            "granularity": self.granularity,
            "window_start": self.window.start,
        }


@dataclass(frozen=True, slots=True)
class ReportInfo:
    """A report as it is listed; ``left_out`` maps columns and parts that are not in it to the reason."""

    model_version: str
    granularity: str
    window_start: datetime
    window_end: datetime
    run_id: UUID
    path: str
    sha256: str
    bytes: int
    n_rows: int
    left_out: Mapping[str, str]
    asked_by: str
    reference_id: str
    contract_id: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Drawn:
    """A finished page, zipped, and what it rests on."""

    key: ReportKey
    page: bytes
    left_out: Mapping[str, str]
    n_rows: int
    reference_id: str
    contract_id: str


def save(store: Store, folder: Path, drawn: Drawn, asked_by: AskedBy) -> Path:
    """Write the page under ``folder`` and its row, and return the file."""
    file = folder / f"{drawn.key.path}.gz"
    write_whole(file, drawn.page)
    digest = hashlib.sha256(drawn.page).hexdigest()
    row = {
        **drawn.key.row,
        "window_end": drawn.key.window.end,
        "run_id": uuid5(NAMESPACE_URL, f"driftline:report|{drawn.key.path}|{digest}"),
        "path": drawn.key.path,
        "sha256": digest,
        "bytes": len(drawn.page),
        "n_rows": drawn.n_rows,
        "left_out": msgspec.json.encode(drawn.left_out).decode(),
        "asked_by": asked_by,
        "reference_id": drawn.reference_id,
        "contract_id": drawn.contract_id,
    }
    store.insert_rows("reports", [row])
    return file


def write_whole(file: Path, content: bytes) -> None:
    """Write ``content`` so that ``file`` is either what it was or all of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with partial.open("wb") as sink:
            sink.write(content)
            sink.flush()
            os.fsync(sink.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def list_reports(store: Store, model: str) -> list[ReportInfo]:
    """Return the reports of ``model``, the newest window first."""
    names = ", ".join(name for name in ReportInfo.__dataclass_fields__ if name != "asked_by")
    rows = store.query(
        f"SELECT {names}, toString(asked_by) AS asked_by FROM reports FINAL WHERE model = {{model:String}} "  # noqa: S608
        "ORDER BY window_start DESC, granularity, model_version",
        {"model": model},
    )
    return [ReportInfo(**{**row, "left_out": msgspec.json.decode(row["left_out"])}) for row in rows]


def prune(store: Store, folder: Path, model: str, written_before: datetime) -> list[ReportInfo]:
    """Remove the reports that were written before a moment, rows first, and return them."""
    old = [info for info in list_reports(store, model) if info.created < written_before]
    if old:
        paths = [info.path for info in old]
        store.execute(
            "INSERT INTO reports SELECT * REPLACE (now64(3) AS created, 1 AS is_deleted) FROM reports FINAL "
            "WHERE model = {model:String} AND has({paths:Array(String)}, path)",
            {"model": model, "paths": paths},
        )
    for info in old:
        (folder / f"{info.path}.gz").unlink(missing_ok=True)
    return old
