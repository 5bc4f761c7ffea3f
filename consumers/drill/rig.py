"""What a drill runs on: a folder with log, store and monitor, the load sent into it, and commands as processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from consumers.drill.comparing import Verdict, compare
from consumers.drill.load import COLUMNS, MODEL, Load, Truth, records_of
from driftline.clock import Clock, SystemClock
from driftline.contract import parse_contract
from driftline.errors import StoreError, TransportUnavailable
from driftline.events import STREAMS, Marker, Stream, marker_headers
from driftline.store.opening import open_store
from driftline.transport import Partition, Transport, open_transport

_STEP_SECONDS = 0.05  # what is due within one step is sent as one append
_FINISH_SECONDS = 900.0
_PATIENCE_SECONDS = 300.0  # longer than any outage of a drill, so that nothing is ever sent a second time
_COMMAND = (sys.executable, "-m", "driftline.cli")


@dataclass(slots=True)
class Rig:
    """One drill's folder and load; ``log`` is the address of the log, the embedded one in the folder by default.

    ``command`` is how a driftline command begins; tests give one that takes smaller steps.
    """

    folder: Path
    load: Load
    log: str = ""
    model: str = MODEL
    command: Sequence[str] = _COMMAND
    truth: Truth = field(default_factory=Truth)
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.log or f"local://{self.folder.absolute()}/log"
        self.monitor.write_text(self._contract, encoding="utf-8")
        with self.transport() as transport:
            for stream in STREAMS:
                transport.create_topic(self.topic(stream), self.load.partitions)

    @property
    def home(self) -> Path:
        """The folder of the embedded store."""
        return self.folder / "home"

    def topic(self, stream: Stream) -> str:
        """Return the topic's name."""
        return f"{self.model}.{stream}"

    @property
    def _contract(self) -> str:
        return f"model: {self.model}\n{COLUMNS}"

    @property
    def monitor(self) -> Path:
        """The contract's file."""
        return self.folder / "monitor.yaml"

    @contextmanager
    def transport(self) -> Iterator[Transport]:
        """Open the log."""
        opened = open_transport(self.log)
        try:
            yield opened
        finally:
            opened.close()

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a driftline command on this folder; what it says goes to ``messages`` there."""
        options = ["--home", str(self.home), "--monitor", str(self.monitor), "--transport", self.log]
        with (self.folder / "messages").open("ab") as messages:
            return subprocess.Popen(  # noqa: S603 - our own command line
                [*self.command, *options, *words],
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
                env={**os.environ, **(environment or {})},
            )

    def consume(self, *options: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a consumer that writes ten times a second."""
        return self.start(*options, "consume", "--flush-seconds", "0.1", environment=environment)

    def finish(self) -> None:
        """Consume what is left of the log, undisturbed.

        Raises:
            StoreError: the consumer could not; its messages say why.
        """
        last = self.start("consume", "--until-end")
        try:
            code = last.wait(_FINISH_SECONDS)
        finally:
            end(last)
        if code:
            said = (self.folder / "messages").read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
            msg = f"the last consumer of the drill ended with {code}: {' '.join(said)}; see {self.folder / 'messages'}"
            raise StoreError(msg)

    def judge(self) -> Verdict:
        """Compare what the store holds with what was sent."""
        contract = parse_contract(self._contract, str(self.monitor))
        with open_store(f"chdb://{self.home.absolute()}/store", self.home) as store, self.transport() as transport:
            return compare(store, transport, contract, self.truth)

    def fill(self) -> None:
        """Send the whole load at once."""
        for _ in self._sent(self.load.events * len(STREAMS)):
            pass
        self._complete()

    @contextmanager
    def filling(self, records_per_second: float) -> Iterator[threading.Event]:
        """Send the load at a steady rate while the block runs; yields an event that is set when all is sent.

        The block's end waits for that.
        """
        done, failed = threading.Event(), list[BaseException]()

        def send() -> None:
            try:
                begun, steps = self.clock.monotonic(), 0
                for _ in self._sent(max(1, round(records_per_second * _STEP_SECONDS))):
                    steps += 1
                    self.clock.sleep(max(0.0, begun + steps * _STEP_SECONDS - self.clock.monotonic()))
                self._complete()
            except BaseException as error:  # raised where the block ends
                failed.append(error)
            finally:
                done.set()

        sender = threading.Thread(target=send, name="drill-load", daemon=True)
        sender.start()
        yield done
        sender.join()
        if failed:
            raise failed[0]

    def _sent(self, step_records: int) -> Iterator[None]:
        """Send the load in steps; yields after each, once the log has acknowledged it."""
        records = records_of(self.load, self.truth)
        with self.transport() as transport, transport.producer() as producer:
            while step := list(islice(records, step_records)):
                for record in step:
                    place = Partition(self.topic(record.stream), record.partition)
                    with suppress(TransportUnavailable):  # it stays queued
                        producer.send(place, key=record.key, value=record.value)
                while True:
                    with suppress(TransportUnavailable):
                        producer.flush(_PATIENCE_SECONDS)
                        break
                    self.clock.sleep(_STEP_SECONDS)
                yield

    def _complete(self) -> None:
        """Send each partition the marker that says that nothing follows."""
        with self.transport() as transport, transport.producer() as producer:
            marker = Marker("drill", 2_000_000_000_000, end=True)
            for stream in STREAMS:
                for index in range(transport.describe_topic(self.topic(stream)).partitions):
                    place = Partition(self.topic(stream), index)
                    producer.send(place, key=b"", value=b"", headers=marker_headers(marker))

    def newest_write(self) -> float:
        """Return when the embedded store's newest commit record was written; 0 before the first."""
        parts = self.home.glob("store/data/default/segments/all_*")
        return max((_modified(part) for part in parts), default=0.0)


def _modified(path: Path) -> float:
    """Return when a path was changed last; 0 where it has just been removed, as merged parts are."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process if it still runs, and wait for its end."""
    if process.poll() is None:
        process.kill()
    process.wait()
