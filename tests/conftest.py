"""Fixtures that several folders of tests share, and which tests run in one process of xdist."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.kafka_broker import kafka_broker, kafka_cluster, kafka_jars

__all__ = ["kafka_broker", "kafka_cluster", "kafka_jars"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file together, so that it sets up once what it needs; marked groups stay what they are."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


@pytest.fixture(autouse=True)
def log_lines_go_where_they_do_by_default() -> Iterator[None]:
    """Undo what a command that ran in this process has set: a level, and a stream that ended with its test."""
    yield
    structlog.reset_defaults()
