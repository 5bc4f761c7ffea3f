"""One embedded store for all tests here; every test has a model, and so topics and tables, of its own in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from driftline.store import Address, Store
from driftline.store.migrations import migrate


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store(Address(path=str(tmp_path_factory.mktemp("store"))))
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    return "m_" + "".join(letter if letter.isalnum() else "_" for letter in request.node.name.lower())[-55:]
