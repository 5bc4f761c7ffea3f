"""Resident memory and cost per event of a consumer as the log grows, widens and splits; its store within and elsewhere.

One process reads a whole feed and notes, at marks on the way, its resident size and the CPU seconds spent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.latency import opened
from benchmarks.measuring import Measured, Trial, in_fresh_process, stopwatch
from benchmarks.synthetic import contract_of, driftline_process, write_inputs
from consumers.loop import Progress
from driftline.cli.consuming import open_consumer
from driftline.clock import SystemClock
from driftline.store import Store
from driftline.store.opening import open_store
from driftline.transport import open_transport

_MARKS = (100_000, 500_000, 1_000_000, 2_000_000)
_USUAL_COLUMNS, _USUAL_PER_HOUR = 10, 20_000


def trials(folder: Path, *, small: bool) -> Iterator[Trial]:
    """Yield the long feed, then shorter ones that are wider, more divided or spread over more windows."""
    long, short = (4_000, 2_000) if small else (2_000_000, 100_000)
    yield _trial(folder, "long", long)
    yield _trial(folder, "store_elsewhere", long, elsewhere=True)
    for columns in (10, 50, 200):
        yield _trial(folder, f"columns_{columns}", short // (2 if columns == 200 else 1), columns=columns)
    for partitions in (1, 4, 16):
        yield _trial(folder, f"partitions_{partitions}", short, partitions=partitions)
    for windows in (10, 100, 1_000):
        yield _trial(folder, f"windows_{windows}", short, per_hour=max(1, short // windows))


def _trial(
    folder: Path,
    name: str,
    events: int,
    *,
    columns: int = _USUAL_COLUMNS,
    partitions: int = 1,
    per_hour: int = _USUAL_PER_HOUR,
    elsewhere: bool = False,
) -> Trial:
    url = f"local://{folder}/{name}"
    in_fresh_process(write_inputs, url, contract_of(name, columns), events, partitions, per_hour)
    side = partial(_grow, url, name, columns, elsewhere)
    return Trial(f"memory, {name}, {events:,} events", "events", {"driftline": side}, _any)


def _grow(url: str, name: str, columns: int, elsewhere: bool) -> Measured:
    """Consume all of it; ``mb_N`` and ``cpu_us_N`` are resident megabytes and CPU µs an event after N events."""
    facts: dict[str, float] = {}
    marks = list(_MARKS)
    with TemporaryDirectory() as folder, closing(open_transport(url)) as transport:
        with _store(Path(folder), elsewhere) as store, stopwatch() as watch:
            with open_consumer(store, transport, contract_of(name, columns), SystemClock()) as loop:
                facts["mb_0"], spent = _resident_mb(), time.process_time()

                def note(progress: Progress) -> None:
                    while marks and progress.records >= marks[0]:
                        mark = marks.pop(0)
                        facts[f"mb_{mark}"] = _resident_mb()
                        facts[f"cpu_us_{mark}"] = (time.process_time() - spent) / progress.records * 1e6

                loop.run_until_end(threading.Event(), note)
                facts["mb_end"] = _resident_mb()
        return watch.measured(loop.progress.records, **facts)


@contextmanager
def _store(home: Path, elsewhere: bool) -> Iterator[Store]:
    """Yield a store held by this process, or by one of its own, as a server would be."""
    if not elsewhere:
        with closing(open_store(f"chdb://{home}/store", home)) as store:
            yield store
        return
    with driftline_process(home, "store", "serve"), closing(opened(home)) as store:
        yield store


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4_096 / 2**20


def _any(_sides: Mapping[str, Measured]) -> None:
    """There is no second side to agree with."""
