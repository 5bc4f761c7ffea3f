"""Events of any number, rate and width, without a model behind them, and the consumer as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from driftline.contract import Contract, parse_contract
from driftline.transport import Partition, open_transport
from producers.topics import ensure_topics

START_MS = 1_675_209_600_000  # 2023-02-01
_HOUR_MS = 3_600_000
_BATCH = 5_000
_STOP_SECONDS = 60


def contract_text(prefix: str, columns: int = 10, window: str = "1h") -> str:
    """Return a contract of ``columns`` numbers, with topics of its own."""
    names = "".join(f"  c{index}: {{type: number, range: [0, 1]}}\n" for index in range(columns))
    return (
        f"model: {prefix}\nversions: {{champion: v1}}\ncolumns:\n{names}"
        "label: {range: [0, 1], delay: {p99: 1h, max: 2d}}\n"
        f"windows: {{stream: {window}, profile: 1h, data: 1d, drift: 1d, quality: [1d]}}\n"
        f"topics: {{inputs: {prefix}-inputs, predictions: {prefix}-predictions, labels: {prefix}-labels}}\n"
    )


def contract_of(prefix: str, columns: int = 10, window: str = "1h") -> Contract:
    """Return the contract of ``contract_text``."""
    return parse_contract(contract_text(prefix, columns, window), "benchmarks/synthetic.py")


def encode(number: int, columns: int, event_ms: int) -> bytes:
    """Return the ``number``-th input."""
    features = {f"c{index}": (number * (index + 1) % 1_000) / 1_000 for index in range(columns)}
    return json.dumps({"id": f"event-{number:010}", "event_time": event_ms, "features": features}).encode()


def write_inputs(
    url: str, contract: Contract, events: int, partitions: int | None = None, per_hour: int = 20_000
) -> None:
    """Append ``events`` inputs to the log at ``url``, ``per_hour`` to each hour, round over ``partitions``."""
    columns = len(contract.columns)
    with closing(open_transport(url)) as transport:
        places = ensure_topics(transport, contract, partitions)["inputs"]
        with transport.producer() as producer:
            for number in range(events):
                event_ms = START_MS + number * _HOUR_MS // per_hour
                producer.send(_in_turn(places, number), key=None, value=encode(number, columns, event_ms))
                if number % _BATCH == 0:
                    producer.flush()
            producer.flush()


@contextmanager
def consuming(home: Path, url: str, monitor: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``driftline consume`` as an operator does; it is interrupted at the end, if it still runs."""
    with driftline_process(home, *_consume(url, monitor, *options)) as process:
        yield process


def start_consumer(home: Path, url: str, monitor: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start ``driftline consume``; whoever calls ends it."""
    return _start(home, *_consume(url, monitor, *options))


@contextmanager
def driftline_process(home: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of driftline beside the block; it is interrupted at the end, if it still runs."""
    process = _start(home, *arguments)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(_STOP_SECONDS)


def _consume(url: str, monitor: Path, *options: str) -> list[str]:
    return ["--monitor", str(monitor), "--transport", url, "consume", *options]


def _start(home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "driftline.cli", "--home", str(home), *arguments]
    home.mkdir(parents=True, exist_ok=True)
    with (home / "process.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _in_turn(places: tuple[Partition, ...], number: int) -> Partition:
    return places[number % len(places)]
