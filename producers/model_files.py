"""Model files: skops with a card beside it that pins its hash; never pickle, which runs what it reads.

``<home>/models/<model>/<version>.skops`` holds the estimator, ``<version>.json`` says what it is. The card
is written last: a version exists when its card does.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile

import msgspec
import sklearn
import skops.io

from driftline.contract import Contract
from driftline.errors import InputDataError, StoreNotWritable
from producers.features import SOURCES
from producers.model import Algorithm, DurationModel, TrainedOn, train
from producers.taxi import read_trips

TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.model_selection._split.KFold",
)
"""All that a model file may hold beyond skops's own list; anything else is refused."""

_TRAIN_AGAIN = "train it again with `driftline train --force`"


class ModelCard(msgspec.Struct, frozen=True):
    """What stands beside a model file; ``sha256`` is that of the file."""

    version: str
    algorithm: Algorithm
    timezone: str
    sha256: str
    scikit_learn: str
    held_out_mae_minutes: float | None
    sources: tuple[str, ...]
    trusted_types: tuple[str, ...]
    trained_on: TrainedOn
    held_out_log_loss: float | None = None
    classes: tuple[str, ...] = ()


def models_folder(home: Path, contract: Contract) -> Path:
    """Return the folder of the model's versions."""
    return home / "models" / contract.model


def model_exists(folder: Path, version: str) -> bool:
    """Return whether ``version`` has been trained."""
    return _card_path(folder, version).exists()


def train_if_absent(home: Path, contract: Contract, month: Path, *, force: bool = False) -> tuple[DurationModel, ...]:
    """Train and save the contract's versions on ``month``; return those trained now, which may be none.

    Raises:
        InputDataError: the month cannot be read or does not suffice for training.
    """
    folder = models_folder(home, contract)
    absent = [version for version in contract.versions.all if force or not model_exists(folder, version)]
    if not absent:
        return ()
    trips = read_trips([month])
    try:
        models = tuple(train(trips, contract, version) for version in absent)
    except InputDataError as error:
        msg = f"{month}: {error}"
        raise InputDataError(msg) from error
    for model in models:
        save_model(model, folder)
    return models


def save_model(model: DurationModel, folder: Path) -> Path:
    """Write the model and its card; an existing version is replaced whole.

    Raises:
        StoreNotWritable: the folder is read-only or its disk is full.
    """
    path, card_path = _model_path(folder, model.version), _card_path(folder, model.version)
    body = skops.io.dumps(model.pipeline, compression=ZIP_DEFLATED, compresslevel=1)
    card = msgspec.json.format(msgspec.json.encode(_card_of(model, body)), indent=2) + b"\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        card_path.unlink(missing_ok=True)
        _write_whole(path, body)
        _write_whole(card_path, card)
    except OSError as error:
        msg = f"{folder}: models cannot be written: {error.strerror}; free space, or choose another --home"
        raise StoreNotWritable(msg) from error
    return path


def _card_of(model: DurationModel, body: bytes) -> ModelCard:
    return ModelCard(
        version=model.version,
        algorithm=model.algorithm,
        timezone=model.timezone,
        sha256=hashlib.sha256(body).hexdigest(),
        scikit_learn=sklearn.__version__,
        held_out_mae_minutes=model.held_out_mae_minutes,
        sources=SOURCES,
        trusted_types=TRUSTED_TYPES,
        trained_on=model.trained_on,
        held_out_log_loss=model.held_out_log_loss,
        classes=model.classes,
    )


def load_models(home: Path, contract: Contract) -> tuple[DurationModel, ...]:
    """Return all versions of the contract, champion first; see ``load_model``."""
    folder = models_folder(home, contract)
    return tuple(load_model(folder, version) for version in contract.versions.all)


def load_model(folder: Path, version: str) -> DurationModel:
    """Return a saved version after its bytes were found to be those the card pins.

    Raises:
        InputDataError: it is absent, was changed, holds types beyond ``TRUSTED_TYPES``, or belongs to another
            release of scikit-learn or driftline.
    """
    path = _model_path(folder, version)
    card = _read_card(_card_path(folder, version), version)
    body = _pinned_bytes(path, card)
    _require_same_code(path, card)
    try:
        unknown = set(skops.io.get_untrusted_types(data=body)) - set(TRUSTED_TYPES)
        if unknown:
            msg = f"{path}: a model file may not hold {', '.join(sorted(unknown))}; {_TRAIN_AGAIN}"
            raise InputDataError(msg)
        pipeline = skops.io.loads(body, trusted=list(TRUSTED_TYPES))
    except (BadZipFile, KeyError, ValueError) as error:
        msg = f"{path}: not a skops file: {error}; {_TRAIN_AGAIN}"
        raise InputDataError(msg) from error
    return DurationModel(
        card.version,
        card.algorithm,
        card.timezone,
        card.trained_on,
        card.held_out_mae_minutes,
        pipeline,
        card.held_out_log_loss,
        card.classes,
    )


def _read_card(path: Path, version: str) -> ModelCard:
    try:
        return msgspec.json.decode(path.read_bytes(), type=ModelCard)
    except FileNotFoundError as error:
        msg = f"model version {version} has not been trained ({path} is absent); run `driftline train` on a month first"
        raise InputDataError(msg) from error
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        msg = f"{path}: the model's card cannot be read: {error}; {_TRAIN_AGAIN}"
        raise InputDataError(msg) from error


def _pinned_bytes(path: Path, card: ModelCard) -> bytes:
    try:
        body = path.read_bytes()
    except OSError as error:
        msg = f"{path}: the model file cannot be read: {error.strerror}; {_TRAIN_AGAIN}"
        raise InputDataError(msg) from error
    found = hashlib.sha256(body).hexdigest()
    if found != card.sha256:
        msg = f"{path}: sha256 must be {card.sha256}; got {found}; a changed file is not loaded; {_TRAIN_AGAIN}"
        raise InputDataError(msg)
    return body


def _require_same_code(path: Path, card: ModelCard) -> None:
    if card.scikit_learn != sklearn.__version__:
        msg = f"{path}: trained with scikit-learn {card.scikit_learn}; this is {sklearn.__version__}; {_TRAIN_AGAIN}"
        raise InputDataError(msg)
    if card.sources != SOURCES:
        msg = f"{path}: trained on {', '.join(card.sources)}; this release uses {', '.join(SOURCES)}; {_TRAIN_AGAIN}"
        raise InputDataError(msg)


def _write_whole(path: Path, body: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(body)
    os.replace(partial, path)


def _model_path(folder: Path, version: str) -> Path:
    return folder / f"{version}.skops"


def _card_path(folder: Path, version: str) -> Path:
    return folder / f"{version}.json"
