"""Fixtures of stores to draw, on the embedded engine with the real schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from driftline.store import Address, Store
from driftline.store.migrations import migrate
from tests.grafana.monitored import fill, newest_midnight


@pytest.fixture(scope="session")
def monitored_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Return a store filled by ``monitored.fill``, its data ending at the last midnight."""
    store = Store(Address(path=str(tmp_path_factory.mktemp("monitored"))))
    migrate(store)
    fill(store, newest_midnight())
    yield store
    store.close()
