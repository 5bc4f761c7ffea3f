"""One, two and four consumer processes in one Kafka group: records a second of all of them together.

Each has a home, and so a store, of its own: this measures reading, counting and writing side by side, not one server
that takes it all. The clock runs from the first record that any of them has stored until all records are. CPU is of
the whole processes, with what they take to start and stop.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.brokers import running_broker
from benchmarks.latency import PATIENCE_SECONDS, PROBE_SECONDS, opened
from benchmarks.measuring import Measured, Trial, in_fresh_process
from benchmarks.synthetic import consuming, contract_of, contract_text, write_inputs
from driftline.store import Store

_PARTITIONS = 8
_MEMBERS = (1, 2, 4)
_STORED = "SELECT p, max(hi) AS hi FROM segments WHERE topic = {topic:String} GROUP BY p"


def trials(folder: Path, *, small: bool) -> Iterator[Trial]:
    """Yield the one comparison; every side reads the same topic under a group of its own."""
    events = 20_000 if small else 400_000
    with running_broker(folder / "kafka") as url:
        if url:
            name = f"group{time.time_ns()}"
            in_fresh_process(write_inputs, url, contract_of(name), events, _PARTITIONS)
            sides = {f"{count} in group": partial(_share, url, name, count, events) for count in _MEMBERS}
            yield Trial("consumer group, Kafka, 8 partitions", "records", sides, _agree)


def _share(url: str, name: str, count: int, events: int) -> Measured:
    """Start ``count`` members at once and wait until everything is stored, by whichever of them."""
    group, spent = f"{name}-{count}-{time.time_ns()}", _children_cpu_seconds()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        monitor = Path(folder) / "monitor.yaml"
        monitor.write_text(contract_text(name), encoding="utf-8")
        homes = [Path(folder) / str(member) for member in range(count)]
        for home in homes:
            stack.enter_context(consuming(home, url, monitor, "--group", group, "--flush-seconds", "1"))
        stores = [stack.enter_context(closing(opened(home))) for home in homes]
        first, seen, deadline = 0.0, 0, time.monotonic() + PATIENCE_SECONDS
        while (stored := _stored(stores, name)) < events:
            assert time.monotonic() < deadline, f"{stored:,} of {events:,} records were stored"
            if stored and not seen:
                first, seen = time.monotonic(), stored
            time.sleep(PROBE_SECONDS)
        seconds = time.monotonic() - first
    return Measured(events - seen, seconds, _children_cpu_seconds() - spent, answer=events)


def _children_cpu_seconds() -> float:
    """Return the CPU seconds of children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _stored(stores: list[Store], name: str) -> int:
    """Return how far all partitions have got; one that moved counts where it got farthest."""
    reached: dict[int, int] = {}
    for store in stores:
        for row in store.query(_STORED, {"topic": f"{name}-inputs"}):
            reached[row["p"]] = max(reached.get(row["p"], 0), row["hi"])
    return sum(reached.values())


def _agree(sides: Mapping[str, Measured]) -> None:
    assert len({side.answer for side in sides.values()}) == 1, "some members left records out"
