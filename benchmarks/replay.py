"""Our replay beside a bare loop that sends the same bytes: ``KafkaProducer.send``, or the local log's own producer.

Ours is the whole ``driftline replay``, which collects garbage rarely: reading the month, two models' predictions,
encoding, markers, sending, and waiting for every acknowledgement; ``sending_rate`` leaves out what comes before the
first events go out. The bare loop gets keys, values and partitions ready made and has the same producer settings,
which beat the defaults.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kafka import KafkaProducer

from benchmarks.brokers import running_broker
from benchmarks.measuring import Measured, Trial, in_fresh_process, stopwatch
from benchmarks.workloads import Months, contract_for, find_months, script_of
from driftline.cli.collecting import collecting_rarely
from driftline.clock import SystemClock
from driftline.transport import Partition, Transport, open_transport
from driftline.transport.partitioning import partition_for
from producers.model_files import load_models, train_if_absent
from producers.plan import ReplayPlan
from producers.replay import Replay
from producers.sender import ReplayProgress
from producers.topics import ensure_topics

# As driftline.transport.kafka sets its producer.
_SETTINGS = {"acks": "all", "linger_ms": 20, "batch_size": 131_072, "metrics_enabled": False}
_Record = tuple[Partition, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Source:
    """What is sent, and where to; ``home`` has the models."""

    url: str
    home: Path
    months: Months


def trials(folder: Path, *, small: bool) -> Iterator[Trial]:
    """Yield the replay into Kafka, then into the local log."""
    months = find_months(folder, small=small)
    in_fresh_process(_train, folder, months.reference)
    with running_broker(folder / "kafka") as broker_url:
        if broker_url:
            yield _trial("Kafka", Source(broker_url, folder, months), bare_kafka)
    yield _trial("local log", Source(f"local://{folder}/log", folder, months), bare_local)


def ours(source: Source) -> Measured:
    """Replay the month into topics of its own."""
    contract = contract_for(uuid.uuid4().hex[:8])
    first: list[tuple[float, int]] = []
    plan = ReplayPlan(files=(source.months.current,), limit=source.months.trips)

    def on_progress(reached: ReplayProgress) -> None:
        if not first:
            first.append((time.perf_counter(), reached.sent))

    with closing(open_transport(source.url)) as transport, collecting_rarely(), stopwatch() as watch:
        models = load_models(source.home, contract)
        summary = Replay(plan, contract, models, transport, SystemClock()).run(threading.Event(), on_progress)
        ended = time.perf_counter()
    events, sent = sum(summary.events.values()), sum(summary.acknowledged.values())
    assert sent == events + sum(summary.markers.values()), "some events were not acknowledged"
    began, before = first[0]
    return watch.measured(events, sending_rate=(events - before) / (ended - began))


def bare_kafka(source: Source) -> Measured:
    """Send the month's bytes through kafka-python alone."""
    with closing(open_transport(source.url)) as transport:
        records = _records(source, transport)
    with closing(KafkaProducer(bootstrap_servers=source.url.removeprefix("kafka://"), **_SETTINGS)) as producer:
        with stopwatch() as watch:
            for place, key, value in records:
                producer.send(place.topic, value, key=key, partition=place.index)
            producer.flush()
    return watch.measured(len(records))


def bare_local(source: Source) -> Measured:
    """Send the month's bytes through the local log's producer alone."""
    with closing(open_transport(source.url)) as transport:
        records = _records(source, transport)
        with transport.producer() as producer, stopwatch() as watch:
            for place, key, value in records:
                producer.send(place, key=key, value=value)
            producer.flush()
    return watch.measured(len(records))


def _trial(where: str, source: Source, bare: Callable[[Source], Measured]) -> Trial:
    return Trial(
        f"replay, {where}", "records", {"driftline": partial(ours, source), "bare": partial(bare, source)}, _agree
    )


def _train(home: Path, month: Path) -> None:
    train_if_absent(home, contract_for("month"), month)


def _records(source: Source, transport: Transport) -> list[_Record]:
    contract = contract_for(uuid.uuid4().hex[:8])
    script = script_of("month", contract, source.home, source.months)
    topics = ensure_topics(transport, contract, None)
    streams = [topics[script.stream_of(kind)] for kind in range(len(script.versions) + 2)]
    keys = [name.encode() for name in script.ids]
    order = zip(script.schedule.kinds.tolist(), script.schedule.rows.tolist(), strict=True)
    values = script.encode(0, len(script.schedule))
    return [
        (streams[kind][partition_for(keys[row], len(streams[kind]))], keys[row], value)
        for (kind, row), value in zip(order, values, strict=True)
    ]


def _agree(sides: Mapping[str, Measured]) -> None:
    assert len({side.units for side in sides.values()}) == 1, "the sides sent different numbers of records"
