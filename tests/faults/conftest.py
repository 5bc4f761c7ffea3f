"""Where the fault tests write what they found, for the table that ``make faults`` makes of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from consumers.drill.faults import Outcome

RESULTS = Path(os.environ.get("DRIFTLINE_FAULT_RESULTS") or Path(__file__).parents[2] / ".cache/faults/results.jsonl")
FULL = os.environ.get("DRIFTLINE_FULL_FAULTS") == "1"
NEEDS_FULL = pytest.mark.skipif(not FULL, reason="takes minutes; set DRIFTLINE_FULL_FAULTS=1, as `make faults` does")
Record = Callable[[Outcome], None]
_NAME = re.compile(r"[^\[@]+")  # without parameters, and without the group that xdist adds


@pytest.fixture
def hold(request: pytest.FixtureRequest) -> Record:
    """Add an outcome to the results, then insist that nothing is wrong."""

    def note(outcome: Outcome) -> None:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        row = {**asdict(outcome), "test": _NAME.match(request.node.nodeid)[0], "full": FULL}
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        assert (outcome.wrong_windows, outcome.findings) == (0, ())

    return note
