"""The page of faults names tests that exist, and its table prefers full sizes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.faults.table import ELSEWHERE, PAGE, table

ROOT = Path(__file__).parents[2]


def named_on_the_page() -> set[tuple[str, str]]:
    found = re.findall(r"`(tests/[\w/]+\.py)`: `(test_\w+)`", PAGE.read_text(encoding="utf-8"))
    return set(found) | {tuple(test.split("::")) for _, _, test in ELSEWHERE}


@pytest.mark.parametrize(("path", "name"), sorted(named_on_the_page()))
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def row_of(**changed: Any) -> dict[str, Any]:
    row = {
        "fault": "F1", "done": "killed", "repetitions": 2, "events": 10, "windows": 5, "wrong_windows": 0, "seed": 1,
        "test": "tests/x.py::test_y", "full": False,
    }  # fmt: skip
    return {**row, **changed}


def test_a_full_size_counts_more_than_a_small_one_after_it() -> None:
    text = table([row_of(full=True, events=1_000, wrong_windows=1), row_of()])

    assert "| F1 | killed | 2 | 1,000 | 1 of 5 | 1 | `tests/x.py`: `test_y` |" in text.splitlines()
    assert "| 10 |" not in text
