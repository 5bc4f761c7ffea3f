"""From a month of trips to a reference set with predictions: the step that needs both producers and batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batch.worker import Workers
    from driftline.contract import Contract
    from driftline.store import Store


def build_from_month(home: Path, contract: Contract, store: Store, workers: Workers, month_file: Path) -> str:
    """Make ``month_file`` the current reference and return its id; train the contract's versions unless they exist."""
    from batch.reference import PREDICTION_PREFIX
    from batch.reference_building import build_reference
    from producers.model_files import load_models, train_if_absent
    from producers.taxi import read_month

    frame = read_month(month_file).frame
    train_if_absent(home, contract, month_file)
    for model in load_models(home, contract):
        frame[PREDICTION_PREFIX + model.version] = model.predict(frame)
    return build_reference(store, contract, frame, contract.versions.all, month_file.name, workers)
