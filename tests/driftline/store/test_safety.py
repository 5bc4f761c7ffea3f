"""A store whose settings could lose rows without an error is refused when it opens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline.errors import StoreUnsafe
from driftline.store import Address, Store
from driftline.store.safety import require_safe_settings

REMEDY = "mend the server's configuration or the user's settings profile"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(Address(path=str(tmp_path / "store"))) as opened:
        yield opened


def test_what_the_store_asks_for_holds(store: Store) -> None:
    require_safe_settings(store)


@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [
        ("async_insert", "1", "0"),
        ("deduplicate_insert", "enable", "disable"),
        ("input_format_allow_errors_num", "5", "0"),
        ("result_overflow_mode", "break", "throw"),
        ("join_use_nulls", "1", "0"),
    ],
)
def test_a_setting_that_could_drop_rows_is_refused(store: Store, setting: str, value: str, wanted: str) -> None:
    store.execute(f"SET {setting} = '{value}'")

    with pytest.raises(StoreUnsafe) as caught:
        require_safe_settings(store)

    assert str(caught.value) == (
        f"store {store.address} could lose rows without an error: {setting} = {value} (must be {wanted}); {REMEDY}"
    )


def test_a_table_that_takes_equal_inserts_for_one_is_refused(store: Store) -> None:
    store.execute(
        "CREATE TABLE forgetful (x UInt8) ENGINE = MergeTree ORDER BY x "
        "SETTINGS non_replicated_deduplication_window = 9"
    )

    with pytest.raises(StoreUnsafe) as caught:
        require_safe_settings(store)

    assert str(caught.value) == (
        f"store {store.address} could lose rows without an error: "
        f"non_replicated_deduplication_window of table forgetful; {REMEDY}"
    )
