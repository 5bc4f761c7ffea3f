"""``driftline profile export`` as typed, on an embedded store filled directly."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from whylogs import DatasetProfileView

from driftline.cli.main import app
from driftline.contract import read_contract
from driftline.errors import InputDataError, UsageError
from driftline.profiles import Profile, library
from driftline.store import Address, Store
from driftline.store.migrations import migrate
from tests.batch.conftest import FIRST_DAY, trips
from tests.batch.populated import PopulatedStore

HOUR = FIRST_DAY.isoformat()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose store holds one profile: of the numbers 0 to 9, in the first hour."""
    folder = tmp_path / "home"
    folder.mkdir()
    (tmp_path / "taxi.yaml").write_text("model: taxi\ncolumns: {distance: {type: number}, zone: {type: category}}\n")
    contract = read_contract(tmp_path / "taxi.yaml")
    profile = Profile({"distance": "number"})
    profile.add_numbers("distance", np.arange(10.0))
    blob = profile.to_bytes()
    with Store(Address(path=str(folder / "store"))) as store:
        migrate(store)
        PopulatedStore(store, contract).add_inputs(trips(10, 1, days=1))
        [segment] = store.query("SELECT topic, source_id, p, lo, contract_id FROM segments")
        row = {"model": "taxi", "stream": "inputs", "window_start": FIRST_DAY, "window_seconds": 3600}
        body = {"blob": blob, "blob_crc32": zlib.crc32(blob), "library": library(), "n": 10, "seg_version": 1}
        store.insert_rows("segment_profiles", [{**segment, **row, **body}])
    return folder


def export(home: Path, to: Path, window: str = HOUR) -> str:
    options = ["--home", str(home), "--monitor", str(home.parent / "taxi.yaml")]
    result = CliRunner().invoke(app, [*options, "profile", "export", window, "--to", str(to)])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_what_is_exported_whylogs_reads(home: Path, tmp_path: Path) -> None:
    to = tmp_path / "hour.bin"
    assert export(home, to) == f"{to}: {to.stat().st_size:,} bytes\n"
    column = DatasetProfileView.read(str(to)).get_column("distance")
    assert column is not None
    found = column.to_summary_dict()
    assert (found["counts/n"], found["distribution/min"], found["distribution/max"]) == (10, 0, 9)


@pytest.mark.parametrize(("name", "reason"), [("", "is a directory"), ("none/hour.bin", "no such file or directory")])
def test_a_place_that_is_no_file_is_refused_and_left_alone(home: Path, tmp_path: Path, name: str, reason: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(UsageError) as caught:
        export(home, folder / name)
    assert (
        str(caught.value) == f"`--to` must be a file that can be written; got {folder / name}: {reason}; choose another"
    )
    assert not list(folder.iterdir())


def test_an_hour_without_a_profile_writes_nothing(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="there is no profile of inputs for the window that begins 2023-"):
        export(home, tmp_path / "hour.bin", "2023-12-24T00:00")
    assert not (tmp_path / "hour.bin").exists()
