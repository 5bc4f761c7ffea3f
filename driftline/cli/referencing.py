"""From a file to a reference set: rows of the user's own, or a month of trips that the example models predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from batch.worker import Workers
    from driftline.contract import Contract
    from driftline.store import Store


def build_from_file(home: Path, contract: Contract, store: Store, workers: Workers, file: Path) -> str:
    """Make ``file`` the current reference and return its id.

    A file with ``event_time``, ``label`` and the contract's columns is taken as it is, with a column
    ``prediction.VERSION`` per version. Any other must be a month of trips, on which absent versions are trained.

    Raises:
        InputDataError: it is neither.
    """
    from batch.reference_building import build_reference
    from batch.reference_rows import holds_rows, read_rows

    frame = read_rows(file, contract) if holds_rows(file, contract) else _predicted_trips(home, contract, file)
    return build_reference(store, contract, frame, contract.versions.all, file.name, workers)


def _predicted_trips(home: Path, contract: Contract, month_file: Path) -> pd.DataFrame:
    from batch.reference import PREDICTION_PREFIX
    from producers.model_files import load_models, train_if_absent
    from producers.taxi import read_month

    frame = read_month(month_file).frame
    train_if_absent(home, contract, month_file)
    for model in load_models(home, contract):
        frame[PREDICTION_PREFIX + model.version] = model.predict(frame)
    return frame
