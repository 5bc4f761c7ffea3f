"""``python -m benchmarks [NAME…] [--json DIR] [--small] [--pairs N]``."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.machine import describe_machine
from benchmarks.measuring import Compared, compare

NAMES = ("consumer", "window_job", "windows", "replay", "latency", "memory", "restart", "group")
_RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the benchmarks named on the command line, all without a name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="driftline beside its peers, in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; all, when none is named")
    parser.add_argument("--json", type=Path, default=_RESULTS, metavar="DIR", help="where the results go")
    parser.add_argument("--small", action="store_true", help="a few thousand events once: does it run at all?")
    parser.add_argument("--pairs", type=int, default=3, help="rounds of each comparison (default 3)")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"there is no benchmark {', '.join(unknown)}; use {', '.join(NAMES)}")
    for name in options.names or NAMES:
        _run(name, options.json, 1 if options.small else options.pairs, small=options.small)


def _run(name: str, results: Path, pairs: int, *, small: bool) -> None:
    machine, done = describe_machine(), []
    with TemporaryDirectory(prefix="driftline-bench-") as folder:
        for trial in importlib.import_module(f"benchmarks.{name}").trials(Path(folder), small=small):
            done.append(compare(trial, pairs, say=lambda line: print(line, flush=True)))
            print(_table(done[-1]), flush=True)
            _write(
                results / f"{name}.json", {"machine": machine, "small": small, "trials": [_kept(one) for one in done]}
            )


def _table(compared: Compared) -> str:
    trial = compared.trial
    lines = [
        f"\n{trial.name}",
        f"  {'':<12} {trial.unit + '/s':>28} {f'CPU s per {trial.cpu_units:,}':>28} {'driftline is':>26}",
    ]
    for side in trial.sides:
        rate, cpu = compared.rate(side), compared.cpu_seconds(side)
        lines.append(f"  {side:<12} {rate!s:>28} {cpu!s:>28} {str(compared.ratio(side)) + ' x':>26}")
        lines += [f"    {name}: {spread}" for name, spread in compared.facts(side).items()]
    return "\n".join([*lines, ""])


def _kept(compared: Compared) -> dict[str, Any]:
    sides = list(compared.trial.sides)
    return {
        "name": compared.trial.name,
        "unit": compared.trial.unit,
        "ratio_to": {side: compared.ratio(side) for side in sides[1:]},
        "rate": {side: compared.rate(side) for side in sides},
        "cpu_units": compared.trial.cpu_units,
        "cpu_seconds": {side: compared.cpu_seconds(side) for side in sides},
        "rounds": [
            {
                name: {"units": one.units, "seconds": one.seconds, "cpu_seconds": one.cpu_seconds, "facts": one.facts}
                for name, one in sides.items()
            }
            for sides in compared.rounds
        ],
    }


def _write(path: Path, figures: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")


if __name__ == "__main__":
    main()
