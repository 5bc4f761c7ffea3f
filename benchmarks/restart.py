"""From SIGKILL to the first new flush, and how much is read again: a real ``consume`` process amid its work."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.brokers import running_broker
from benchmarks.latency import PATIENCE_SECONDS, PROBE_SECONDS, opened
from benchmarks.measuring import Measured, Trial, in_fresh_process, stopwatch
from benchmarks.synthetic import consuming, contract_of, contract_text, start_consumer, write_inputs
from consumers.counting.segments import DEFAULT_SEGMENT_SIZE
from driftline.store import Store
from driftline.store.opening import open_store

_REACHED = "SELECT sum(hi) FROM (SELECT max(hi) AS hi FROM segments WHERE topic = {topic:String} GROUP BY p)"
_OPEN = """
SELECT sum(if(hi < (intDiv(lo, {size:UInt64}) + 1) * {size:UInt64}, hi - lo, 0))
FROM (SELECT max(lo) AS lo, max(hi) AS hi FROM segments WHERE topic = {topic:String} GROUP BY p)
"""


def trials(folder: Path, *, small: bool) -> Iterator[Trial]:
    """Yield a restart on the local log, then on Kafka."""
    events = 100_000 if small else 600_000
    with running_broker(folder / "kafka") as broker_url:
        for where, url in (("local log", f"local://{folder}/log"), ("Kafka", broker_url)):
            if url:
                name = f"restart{time.time_ns()}"
                in_fresh_process(write_inputs, url, contract_of(name), events)
                yield Trial(f"restart, {where}", "restarts", {"driftline": partial(_restart, url, name)}, _any, 1)


def _restart(url: str, name: str) -> Measured:
    """Kill the consumer after its first flush and start another; the feed is long enough for both to be amid it.

    ``stored_and_read_again`` is exact; what the first had read and not stored yet comes on top.
    """
    with TemporaryDirectory() as folder:
        home, monitor = Path(folder), Path(folder) / "monitor.yaml"
        monitor.write_text(contract_text(name), encoding="utf-8")
        first = start_consumer(home, url, monitor, "--flush-seconds", "1")
        try:
            with closing(opened(home)) as store:
                _wait_beyond(0, store, name)
        finally:
            first.kill()
            first.wait()
        reached, again = in_fresh_process(_left_behind, home, name)
        with stopwatch() as watch, consuming(home, url, monitor, "--flush-seconds", "1"):
            with closing(opened(home, not_of=first.pid)) as store:
                served = watch.seconds_so_far
                _wait_beyond(reached, store, name)
            seconds = watch.seconds_so_far
    facts = {"seconds_to_new_flush": seconds, "seconds_to_serving": served, "stored_and_read_again": float(again)}
    return watch.measured(1, **facts)


def _left_behind(home: Path, name: str) -> tuple[int, int]:
    with closing(open_store(f"chdb://{home.absolute()}/store", home)) as store:
        return _reached(store, name), int(
            store.scalar(_OPEN, {"topic": f"{name}-inputs", "size": DEFAULT_SEGMENT_SIZE})
        )


def _wait_beyond(offset: int, store: Store, name: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _reached(store, name) <= offset:
        assert time.monotonic() < deadline, "no flush came"
        time.sleep(PROBE_SECONDS)


def _reached(store: Store, name: str) -> int:
    return int(store.scalar(_REACHED, {"topic": f"{name}-inputs"}) or 0)


def _any(_sides: Mapping[str, Measured]) -> None:
    """There is no second side to agree with."""
