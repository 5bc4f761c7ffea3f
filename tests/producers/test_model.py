"""The two versions: what they know, how well they do, and that only pinned files of known types are loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io

from driftline.contract import Contract
from driftline.errors import InputDataError
from producers.features import SOURCES
from producers.model import DurationModel, train
from producers.model_files import load_model, load_models, models_folder, save_model, train_if_absent
from producers.taxi import FEATURES, Trips, read_month

AGAIN = "train it again with `driftline train --force`"


@pytest.fixture(scope="module")
def trips(week: Path) -> Trips:
    return read_month(week)


def test_models_use_only_what_is_known_at_prediction_time(contract: Contract) -> None:
    assert set(SOURCES) <= set(contract.known_at_prediction())


def test_a_prediction_ignores_everything_known_later(models: tuple[DurationModel, ...], trips: Trips) -> None:
    known = trips.frame[["event_time", *SOURCES]]
    for model in models:
        assert model.predict(known).tobytes() == model.predict(trips.frame).tobytes()


def test_the_champion_boosts_and_the_challenger_is_linear(models: tuple[DurationModel, ...]) -> None:
    assert [(m.version, m.algorithm) for m in models] == [("gbm-1", "gradient boosting"), ("linear-1", "linear")]


def test_a_trip_gets_the_same_bits_alone_as_among_others(models: tuple[DurationModel, ...], trips: Trips) -> None:
    chosen = np.random.default_rng(0).permutation(len(trips.frame))[:500]
    for model in models:
        together = model.predict(trips.frame)
        assert model.predict(trips.frame.iloc[chosen]).tobytes() == together[chosen].tobytes()
        assert model.predict(trips.frame.iloc[chosen[:1]])[0] == together[chosen[0]]


def test_nulls_and_unseen_zones_get_a_number(models: tuple[DurationModel, ...], trips: Trips) -> None:
    strange = trips.frame.head(3).assign(PULocationID="9999", DOLocationID=None, trip_distance=np.nan, VendorID=None)
    for model in models:
        assert np.isfinite(model.predict(strange)).all()


def test_no_trips_get_no_predictions(models: tuple[DurationModel, ...], trips: Trips) -> None:
    assert models[0].predict(trips.frame.head(0)).tolist() == []


def test_both_versions_beat_the_mean_on_days_they_have_not_seen(
    real_months: tuple[Path, Path], contract: Contract
) -> None:
    january, february = (read_month(month) for month in real_months)
    unseen = february.frame[february.frame["label"].between(1, 60)]
    usual = january.frame["label"][january.frame["label"].between(1, 60)].mean()
    errors = {}
    for version in contract.versions.all:
        predicted = train(january, contract, version).predict(unseen)
        errors[version] = np.abs(predicted - unseen["label"]).mean()
    assert errors["gbm-1"] < 3.0 < errors["linear-1"] < 4.0 < np.abs(unseen["label"] - usual).mean()


def test_labels_outside_the_valid_range_teach_nothing(
    contract: Contract, trips: Trips, models: tuple[DurationModel, ...]
) -> None:
    spoiled = trips.frame.copy()
    invalid = ~spoiled["label"].between(1, 60)
    assert invalid.any()
    spoiled.loc[invalid, "label"] = 1e9
    retrained = train(Trips(spoiled, trips.hashes), contract, "linear-1")
    assert retrained.predict(trips.frame).tobytes() == models[1].predict(trips.frame).tobytes()


def test_too_few_trips_are_told(contract: Contract, trips: Trips) -> None:
    few = Trips(trips.frame[trips.frame["label"].between(1, 60)].head(50), trips.hashes)
    with pytest.raises(InputDataError) as caught:
        train(few, contract, "gbm-1")
    assert str(caught.value) == (
        "training needs 200 trips whose duration_min lies in [1, 60]; got 50 of 50; "
        "use a longer file, such as a whole month"
    )


@pytest.mark.parametrize("name", ["trip_distance", "passenger_count"])
@pytest.mark.parametrize("version", ["gbm-1", "linear-1"])
def test_a_number_that_is_always_null_where_a_model_learns_is_told(
    contract: Contract, trips: Trips, name: str, version: str
) -> None:
    frame = trips.frame[trips.frame["label"].between(1, 60)].head(1_000).reset_index(drop=True)
    frame[name] = np.where(frame.index < 800, np.nan, 1.0)
    with pytest.raises(InputDataError) as caught:
        train(Trips(frame, trips.hashes), contract, version)
    assert str(caught.value) == (
        f"`{name}` is null in all 800 trips that a model would learn from; use another month, or fill the column in"
    )


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in ("trip_distance", "passenger_count")])
def test_a_category_that_is_always_null_is_a_category(contract: Contract, trips: Trips, name: str) -> None:
    frame = trips.frame.head(1_000).assign(**{name: None})
    for version in contract.versions.all:
        assert np.isfinite(train(Trips(frame, trips.hashes), contract, version).predict(frame)).all()


def test_a_month_that_does_not_suffice_is_named(tmp_path: Path, contract: Contract, week: Path) -> None:
    table = pq.read_table(week)
    nothing = pa.nulls(table.num_rows, pa.float64())
    month = tmp_path / "month.parquet"
    pq.write_table(table.set_column(table.column_names.index("trip_distance"), "trip_distance", nothing), month)
    with pytest.raises(InputDataError) as caught:
        train_if_absent(tmp_path, contract, month)
    assert str(caught.value).startswith(f"{month}: `trip_distance` is null in all ")
    assert not models_folder(tmp_path, contract).exists()


def test_training_again_leaves_what_exists(home: Path, contract: Contract) -> None:
    folder = models_folder(home, contract)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert train_if_absent(home, contract, Path("not read")) == ()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_loaded_model_answers_as_the_trained_one(tmp_path: Path, contract: Contract, trips: Trips) -> None:
    trained = train(trips, contract, "gbm-1")
    save_model(trained, tmp_path)
    loaded = load_model(tmp_path, "gbm-1")
    assert loaded.predict(trips.frame).tobytes() == trained.predict(trips.frame).tobytes()
    assert loaded.trained_on == trained.trained_on


def test_the_card_pins_the_file(home: Path, contract: Contract) -> None:
    folder = models_folder(home, contract)
    card = msgspec.json.decode((folder / "gbm-1.json").read_bytes())
    assert card["sha256"] == hashlib.sha256((folder / "gbm-1.skops").read_bytes()).hexdigest()
    assert set(FEATURES) >= set(card["sources"])


@pytest.fixture
def copied(tmp_path: Path, home: Path, contract: Contract) -> Path:
    for path in models_folder(home, contract).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def _refusal(folder: Path) -> str:
    with pytest.raises(InputDataError) as caught:
        load_model(folder, "gbm-1")
    return str(caught.value)


def test_an_untrained_version_is_told(tmp_path: Path, contract: Contract) -> None:
    card = tmp_path / "models" / "nyc_green_taxi" / "gbm-1.json"
    with pytest.raises(InputDataError) as caught:
        load_models(tmp_path, contract)
    assert str(caught.value) == (
        f"model version gbm-1 has not been trained ({card} is absent); run `driftline train` on a month first"
    )


def test_a_changed_file_is_refused_before_it_is_opened(copied: Path) -> None:
    path = copied / "gbm-1.skops"
    pinned = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"surprise")
    found = hashlib.sha256(b"surprise").hexdigest()
    assert _refusal(copied) == f"{path}: sha256 must be {pinned}; got {found}; a changed file is not loaded; {AGAIN}"


def _repin(folder: Path, body: bytes, **changes: object) -> None:
    (folder / "gbm-1.skops").write_bytes(body)
    card = msgspec.json.decode((folder / "gbm-1.json").read_bytes())
    card |= {"sha256": hashlib.sha256(body).hexdigest(), **changes}
    (folder / "gbm-1.json").write_bytes(msgspec.json.encode(card))


def test_types_beyond_the_list_are_refused_even_when_the_card_trusts_them(copied: Path) -> None:
    _repin(copied, skops.io.dumps(Contract), trusted_types=["driftline.contract.model.Contract"])
    path = copied / "gbm-1.skops"
    assert _refusal(copied) == f"{path}: a model file may not hold driftline.contract.model.Contract; {AGAIN}"


def test_a_file_that_is_not_skops_is_told(copied: Path) -> None:
    _repin(copied, b"not a zip")
    assert _refusal(copied) == f"{copied / 'gbm-1.skops'}: not a skops file: File is not a zip file; {AGAIN}"


def test_another_release_of_scikit_learn_is_told(copied: Path) -> None:
    import sklearn

    _repin(copied, (copied / "gbm-1.skops").read_bytes(), scikit_learn="0.1")
    expected = f"{copied / 'gbm-1.skops'}: trained with scikit-learn 0.1; this is {sklearn.__version__}; {AGAIN}"
    assert _refusal(copied) == expected


def test_a_card_that_cannot_be_read_is_told(copied: Path) -> None:
    (copied / "gbm-1.json").write_bytes(b"{")
    message = _refusal(copied)
    assert message.startswith(f"{copied / 'gbm-1.json'}: the model's card cannot be read: ")
    assert message.endswith(AGAIN)
