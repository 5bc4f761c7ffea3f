"""Every benchmark runs at a small size; what its figures are is nobody's concern here."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import NAMES
from benchmarks.measuring import compare
from benchmarks.synthetic import contract_of, encode
from consumers.decoding.decoder import Decoder


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_that_can_be_named_yields_trials(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").trials)


@pytest.mark.parametrize("columns", [1, 200])
def test_synthetic_inputs_are_events_of_their_contract(columns: int) -> None:
    contract = contract_of("wide", columns)
    moment = 1_675_209_600_000

    events = Decoder(contract, "inputs").decode([encode(n, columns, moment) for n in (3, 4)], [moment] * 2, set())

    assert (len(events), events.dead, events.violations) == (2, [], {})
    assert np.array_equal(events.columns["c0"], [0.003, 0.004])


def test_the_memory_benchmark_reads_all_that_it_wrote(tmp_path: Path) -> None:
    trial = next(importlib.import_module("benchmarks.memory").trials(tmp_path, small=True))

    (measured,) = compare(trial, 1, lambda _line: None).rounds[0].values()

    assert measured.units == 4_000
    assert {"mb_0", "mb_end"} <= set(measured.facts)
