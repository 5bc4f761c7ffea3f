"""Stores to draw: one filled, one empty; each with the real schema on the embedded engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline.store import Address, Store
from driftline.store.migrations import migrate
from tests.grafana.monitored import fill, newest_midnight


@pytest.fixture(scope="session", params=["filled", "empty"])
def any_store(request: pytest.FixtureRequest, monitored_store: Store, empty_store: Store) -> Store:
    return monitored_store if request.param == "filled" else empty_store
