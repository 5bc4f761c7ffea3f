"""How long an event takes from ``send`` to the view ``metrics``: a real ``consume`` process, asked from outside.

One partition, so that a count says which events are visible. The store is asked every 50 ms; an event's latency
ends with the first answer that counts it, so figures are up to one such interval too long.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.brokers import running_broker
from benchmarks.measuring import Measured, Trial, stopwatch
from benchmarks.synthetic import consuming, contract_of, contract_text, encode
from driftline.store import Store
from driftline.store.holder import read_note
from driftline.store.opening import open_store
from driftline.transport import Partition, Producer, open_transport
from producers.topics import ensure_topics

PROBE_SECONDS = 0.05
_TICK_SECONDS = 0.02
PATIENCE_SECONDS = 120
_COLUMNS = 10
_COUNT = "SELECT sum(value) FROM metrics WHERE model = {model:String} AND metric = 'row_count'"


def trials(folder: Path, *, small: bool) -> Iterator[Trial]:
    """Yield 1,000 and 5,000 events a second, on the local log and on Kafka."""
    seconds = 4 if small else 20
    with running_broker(folder / "kafka") as broker_url:
        for where, url in (("local log", f"local://{folder}/log"), ("Kafka", broker_url)):
            for rate in (1_000, 5_000) if url else ():
                side = partial(visible, url, rate, seconds)
                yield Trial(f"produce to visible, {where}, {rate:,} events/s", "events", {"driftline": side}, _complete)


def visible(url: str, rate: int, seconds: int) -> Measured:
    """Send ``rate`` events a second for some seconds; return the latencies of all of them as percentiles."""
    name = f"latency{time.time_ns()}"
    with TemporaryDirectory() as folder, closing(open_transport(url)) as transport:
        home, monitor = Path(folder), Path(folder) / "monitor.yaml"
        monitor.write_text(contract_text(name, window="1m"), encoding="utf-8")
        place = ensure_topics(transport, contract_of(name, window="1m"), 1)["inputs"][0]
        with consuming(home, url, monitor, "--flush-seconds", "1"), transport.producer() as producer:
            _send(producer, place, 0, 1)
            with closing(opened(home)) as store:
                seen = _Seen(store, name)
                seen.wait_for(1)  # the consumer is up
                with stopwatch() as watch, seen.asking():
                    sent = _send_steadily(producer, place, rate, seconds)
                    seen.wait_for(len(sent))
    waits = [seen.moment_of(number) - moment for number, moment in enumerate(sent[1:], start=1)]
    p50, p99 = np.percentile(waits, [50, 99]).tolist()
    facts = {"p50_seconds": p50, "p99_seconds": p99, "greatest_seconds": max(waits)}
    return watch.measured(len(waits), **facts)


class _Seen:
    """How many events the view has shown, and since when."""

    def __init__(self, store: Store, model: str) -> None:
        self._store, self._model = store, model
        self._moments, self._counts = [time.monotonic()], [0]

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask in a thread of its own while the block runs."""
        stop = threading.Event()

        def ask() -> None:
            while not stop.wait(PROBE_SECONDS):
                self._ask()

        thread = threading.Thread(target=ask, name="probe")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def wait_for(self, count: int) -> None:
        """Wait until so many events are visible."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._counts[-1] < count:
            assert time.monotonic() < deadline, f"{self._counts[-1]:,} of {count:,} events became visible"
            time.sleep(PROBE_SECONDS)
            if count == 1:
                self._ask()

    def moment_of(self, number: int) -> float:
        """Return when the ``number``-th event, from 0, was first seen."""
        return self._moments[bisect_left(self._counts, number + 1)]

    def _ask(self) -> None:
        count = int(self._store.scalar(_COUNT, {"model": self._model}) or 0)
        self._counts.append(max(count, self._counts[-1]))
        self._moments.append(time.monotonic())


def _send_steadily(producer: Producer, place: Partition, rate: int, seconds: int) -> list[float]:
    """Send what is due every 20 ms; return when each event was sent, beginning with the one sent before."""
    began = time.monotonic()
    sent = [began]
    while len(sent) <= rate * seconds:
        now = time.monotonic()
        due = min(rate * seconds, int((now - began) * rate)) + 1
        _send(producer, place, len(sent), due)
        sent += [now] * (due - len(sent))
        time.sleep(max(0.0, _TICK_SECONDS - (time.monotonic() - now)))
    return sent


def _send(producer: Producer, place: Partition, first: int, stop: int) -> None:
    for number in range(first, stop):
        producer.send(place, key=None, value=encode(number, _COLUMNS, time.time_ns() // 1_000_000))
    producer.flush()


def opened(home: Path, not_of: int | None = None) -> Store:
    """Return the consumer's store, once it serves it; ``not_of`` is a process that has ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (note := read_note(home)) is None or note.port is None or note.pid == not_of:
        assert time.monotonic() < deadline, "the consumer did not start"
        time.sleep(PROBE_SECONDS)
    return open_store(f"chdb://{home.absolute()}/store", home)


def _complete(sides: Mapping[str, Measured]) -> None:
    """Demand nothing more: ``wait_for`` has seen every event."""
