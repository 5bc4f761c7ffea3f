"""A simulated week, the models trained on it, and the real months where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driftline.contract import Contract, read_contract
from producers.model import DurationModel
from producers.model_files import load_models, train_if_absent
from tests.simulated import simulated_month

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def contract() -> Contract:
    return read_contract(ROOT / "monitors" / "nyc_green_taxi.yaml")


@pytest.fixture(scope="session")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_month(7, 11, tmp_path_factory.mktemp("simulated"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, contract: Contract, week: Path) -> Path:
    folder = tmp_path_factory.mktemp("home")
    train_if_absent(folder, contract, week)
    return folder


@pytest.fixture(scope="session")
def models(home: Path, contract: Contract) -> tuple[DurationModel, ...]:
    return load_models(home, contract)


@pytest.fixture(scope="session")
def real_months() -> tuple[Path, Path]:
    folder = Path(os.environ.get("DRIFTLINE_TEST_DATA", ROOT.parent / "shared" / "data"))
    months = folder / "green_tripdata_2023-01.parquet", folder / "green_tripdata_2023-02.parquet"
    if not all(month.exists() for month in months):
        pytest.skip(f"no real months in {folder}; set DRIFTLINE_TEST_DATA to a folder with green 2023-01 and 2023-02")
    return months
