"""Events per second of our consumer, beside a bare poll loop and a plain ``why.log`` micro-batch consumer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.brokers import running_broker
from benchmarks.measuring import Measured, Trial, in_fresh_process, stopwatch
from benchmarks.plain_consumer import plain
from benchmarks.polling import bare
from benchmarks.workloads import Density, Feed, find_months, write_feed
from driftline.cli.consuming import open_consumer
from driftline.clock import SystemClock
from driftline.profiles import Profile
from driftline.store.opening import open_store
from driftline.transport import open_transport

_DENSITIES: tuple[Density, ...] = ("dense", "month")
_COUNTS = """
SELECT stream, toUnixTimestamp64Milli(window_start) AS at, model_version, column,
    sum(n) AS n, sum(n_missing) AS n_missing
FROM segment_counts FINAL WHERE column != '' GROUP BY ALL ORDER BY stream, at, model_version, column
"""


def trials(folder: Path, *, small: bool) -> Iterator[Trial]:
    """Yield both workloads on the local log, then on Kafka."""
    months = find_months(folder, small=small)
    with running_broker(folder / "kafka") as broker_url:
        for where, url in (("local log", f"local://{folder}/log"), ("Kafka", broker_url)):
            for density in _DENSITIES if url else ():
                feed = in_fresh_process(write_feed, density, url, folder, months)
                sides = {
                    "driftline": partial(ours, feed),
                    "bare poll": partial(bare, feed),
                    "why.log": partial(plain, feed),
                }
                yield Trial(f"consumer, {density}, {where}", "records", sides, _agree)


def ours(feed: Feed) -> Measured:
    """Consume the feed to its end into an embedded store, as ``driftline consume --until-end`` does."""
    Profile({"warm": "number"})  # imports whylogs before the clock starts
    with TemporaryDirectory() as folder, closing(open_transport(feed.url)) as transport:
        store = open_store(f"chdb://{folder}/store", Path(folder))
        try:
            with stopwatch() as watch, open_consumer(store, transport, feed.contract, SystemClock()) as loop:
                loop.run_until_end(threading.Event())
                records, flushes = loop.progress.records, loop.progress.flushes
            return watch.measured(records, store.query(_COUNTS), flushes=flushes)
        finally:
            store.close()


def _agree(sides: Mapping[str, Measured]) -> None:
    assert len({side.units for side in sides.values()}) == 1, "the sides read different numbers of records"
    expected, found = sides["why.log"].answer, sides["driftline"].answer
    assert len(expected) == len(found), f"why.log counted {len(expected)} columns of windows, driftline {len(found)}"
    wrong = [(one, two) for one, two in zip(expected, found, strict=True) if one != two]
    assert not wrong, f"{len(wrong)} counts differ, the first: why.log {wrong[0][0]}, driftline {wrong[0][1]}"
