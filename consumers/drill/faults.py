"""The faults that a drill rehearses. Each says what it does, does it to a rig, and returns how often it did."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from consumers.drill.comparing import Verdict
from consumers.drill.load import Load
from consumers.drill.proxy import Line, bad_line
from consumers.drill.rig import Rig, end
from driftline.errors import StoreUnavailable
from driftline.store.holder import read_note

_GLANCE_SECONDS = 0.02
_START_SECONDS = 60.0
_RECORDS_PER_SECOND = 1_000.0  # slow enough for a hundred flushes, so for some bad answers


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of trouble: its number in the table of faults, what is done, what load it wants, and how it acts.

    ``act`` returns the number of repetitions; when it returns, nothing it has started runs any more.
    """

    code: str
    done: str
    act: Callable[[Rig, random.Random, int], int]
    load: Callable[[Load], Load] = lambda load: load


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the results: a fault, how often it struck, the events it struck at, and the windows left wrong."""

    fault: str
    done: str
    repetitions: int
    events: int
    windows: int
    wrong_windows: int
    findings: tuple[str, ...]
    seed: int
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong_windows and not self.findings


def drill(fault: Fault, rig: Rig, repetitions: int) -> Outcome:
    """Let ``fault`` strike, consume the rest undisturbed, and compare everything with what was sent."""
    begun = rig.clock.monotonic()
    times = fault.act(rig, random.Random(rig.load.seed), repetitions)  # noqa: S311 - replayable, nothing secret
    rig.finish()
    return outcome_of(fault.code, fault.done, rig, times, rig.judge(), rig.clock.monotonic() - begun)


def outcome_of(fault: str, done: str, rig: Rig, repetitions: int, verdict: Verdict, seconds: float) -> Outcome:
    """Return the row of the results that ``verdict`` makes."""
    findings = (*verdict.wrong[:3], *verdict.findings)
    return Outcome(
        fault, done, repetitions, rig.truth.records, verdict.windows, len(verdict.wrong), findings, rig.load.seed,
        round(seconds, 1),
    )  # fmt: skip


def kill_consumers(rig: Rig, rng: random.Random, kills: int) -> int:
    """Send the load while consumers are killed at random moments after their first write."""
    rate = rig.load.events * 3 / max(1.0, 3.0 * kills)
    done = 0
    with rig.filling(rate) as sent:
        while done < kills and not sent.is_set():
            done += kill_one(rig, rig.consume(), rng.random() * 0.6)
    return done


def kill_one(rig: Rig, consumer: subprocess.Popen[bytes], seconds_after_write: float) -> int:
    """Kill a consumer so long after its first write; return 1, or 0 where it had ended by itself."""
    before = rig.newest_write()
    try:
        while rig.newest_write() == before and consumer.poll() is None:
            rig.clock.sleep(_GLANCE_SECONDS)
        rig.clock.sleep(seconds_after_write)
        consumer.send_signal(signal.SIGKILL)
        return int(consumer.wait() == -signal.SIGKILL)
    finally:
        end(consumer)


def lose_answers(rig: Rig, rng: random.Random, _repetitions: int) -> int:
    """Send the load while a consumer writes through a line that loses answers, tears requests and is silent."""
    with serving_store(rig) as (port, token):
        line = Line(("127.0.0.1", port), rng)
        with bad_line(line) as worse:
            store = ["--store", f"clickhouse://driftline@127.0.0.1:{worse}/default"]
            consumer = rig.consume(*store, environment={"DRIFTLINE_STORE_PASSWORD": token})
            try:
                with rig.filling(_RECORDS_PER_SECOND):
                    pass
                rig.clock.sleep(1.0)
            finally:
                end(consumer)
    return line.damaged.total()


@contextmanager
def serving_store(rig: Rig) -> Iterator[tuple[int, str]]:
    """Run ``store serve``; yields its port and the owner's token.

    Raises:
        StoreUnavailable: it did not start.
    """
    holder = rig.start("store", "serve")
    try:
        for _ in range(int(_START_SECONDS / _GLANCE_SECONDS)):
            note = read_note(rig.home)
            if note is not None and note.pid == holder.pid and note.port is not None:
                yield note.port, note.token
                return
            rig.clock.sleep(_GLANCE_SECONDS)
        msg = f"`driftline store serve` did not start within {_START_SECONDS:.0f} s; see {rig.folder / 'messages'}"
        raise StoreUnavailable(msg)
    finally:
        holder.terminate()
        holder.wait()


def only_send(rig: Rig, rng: random.Random, _repetitions: int) -> int:
    """Send the load, kill one consumer amid it; the load itself is the trouble."""
    rig.fill()
    kill_one(rig, rig.consume(), rng.random() * 0.3)
    return 1


FAULTS: tuple[Fault, ...] = (
    Fault("F1", "kill -9 of the consumer at random moments", kill_consumers),
    Fault("F8", "answers of the store lost, requests torn, 503, silence", lose_answers),
    Fault("F10", "a tenth of the records is poison of ten kinds", only_send, lambda load: replace(load, poison=0.1)),
    Fault(
        "F13",
        "a fifth of the events sent again, some with other content",
        only_send,
        lambda load: replace(load, duplicate=0.19, altered=0.01),
    ),
    Fault("F14", "half of the events up to a day late", only_send, lambda load: replace(load, late=0.5)),
)


def rehearse(folder: Path, load: Load, repetitions: int, wanted: frozenset[str] = frozenset()) -> Iterator[Outcome]:
    """Yield the outcome of each fault, or of those wanted, each in a folder of its own."""
    for fault in FAULTS:
        if not wanted or fault.code in wanted:
            yield drill(fault, Rig(folder / fault.code, fault.load(load)), repetitions)
