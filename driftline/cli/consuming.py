"""A consumer put together from the global options; what ``consume``, ``up`` and ``demo`` share."""

from __future__ import annotations

import gc
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consumers.loop import ConsumerLoop, Pace
    from consumers.observing import Observer
    from consumers.reading.membership import Membership
    from driftline.clock import Clock
    from driftline.contract import Contract
    from driftline.store import Store
    from driftline.transport import Transport

# A batch makes tens of thousands of objects and no cycles; at CPython's 700 the collector took a third of the time.
_COLLECT_AFTER_OBJECTS = 50_000


@contextmanager
def open_consumer(
    store: Store,
    transport: Transport,
    contract: Contract,
    clock: Clock,
    pace: Pace | None = None,
    membership: Membership | None = None,
    observer: Observer | None = None,
    stop: threading.Event | None = None,
) -> Iterator[ConsumerLoop]:
    """Yield a consumer of the contract's topics, at the place that the store says; of all partitions by default."""
    from consumers.counting.rules import StreamRules
    from consumers.loop import ConsumerLoop
    from consumers.reading.membership import EVERYTHING
    from consumers.reading.recovery import require_own_topics
    from consumers.writing.flushing import Flusher, Writer
    from driftline.events import STREAMS
    from driftline.store.inputs_table import ensure_inputs_table
    from driftline.store.registry import register_contract

    require_own_topics(store, transport, contract)
    ensure_inputs_table(store, contract)
    writer = Writer(f"{socket.gethostname()}:{os.getpid()}", contract, register_contract(store, contract))
    collected_after = gc.get_threshold()
    flusher = Flusher(writer, clock)
    loop = ConsumerLoop(transport, store, flusher, clock, pace, membership or EVERYTHING, observer)
    try:
        gc.set_threshold(_COLLECT_AFTER_OBJECTS, *collected_after[1:])
        loop.open([StreamRules.of(contract, stream) for stream in STREAMS], stop)
        yield loop
    finally:
        gc.set_threshold(*collected_after)
        loop.close()
