"""Stands for whylogs where thousands of small segments are made: it takes as long as all the rest together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest

from consumers.counting import sketches


class CountingProfile:
    """A profile that only counts; its blob is the number of values it was given."""

    def __init__(self, _kinds: Mapping[str, str]) -> None:
        self._values = 0

    def add_numbers(self, _column: str, values: Sequence[float]) -> None:
        self._values += len(values)

    def add_texts(self, _column: str, values: Sequence[str | None]) -> None:
        self._values += len(values)

    def to_bytes(self) -> bytes:
        return str(self._values).encode()


@pytest.fixture(scope="module", autouse=True)
def quick_profiles() -> Iterator[None]:
    """Import this fixture into a module, and its tests do without whylogs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sketches, "Profile", CountingProfile)
        yield
