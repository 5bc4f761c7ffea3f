"""Killer records and killed redrives, with real processes: whatever dies, every event counts once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumers.auditing.audit import TopicAudit, audit
from driftline.clock import to_ms
from driftline.contract import read_contract
from driftline.events import STREAMS
from driftline.store import Store
from driftline.store.opening import open_store
from driftline.transport import Partition, open_transport
from tests.consumers.making import HOUR, T0, input_of

OLD = to_ms(datetime(2019, 6, 1, tzinfo=UTC))
EVENTS = 1_200
MONITOR = "model: shop\ncolumns:\n  amount: {type: number}\n  note: {type: text}\n"


class Shop:
    """A log of one model's inputs, and the command line on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, f"local://{folder}/log"
        self.monitor("")
        transport = open_transport(self.log)
        for stream in STREAMS:
            transport.create_topic(f"shop.{stream}", 1)
        transport.close()

    def monitor(self, extra: str) -> None:
        (self.folder / "monitor.yaml").write_text(MONITOR + extra)

    def send(self, records: list[bytes]) -> None:
        transport = open_transport(self.log)
        with transport.producer() as producer:
            for record in records:
                producer.send(Partition("shop.inputs", 0), key=b"k", value=record)
        transport.close()

    def run(self, *arguments: str, module: str = "tests.faults.small_steps", kill_at: str = "") -> Any:
        options = ["--home", str(self.folder / "home"), "--monitor", str(self.folder / "monitor.yaml")]
        command = [sys.executable, "-m", module, *options, "--transport", self.log, *arguments]
        environment = {**os.environ, "DRIFTLINE_KILL_AT": kill_at}
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    @contextmanager
    def store(self) -> Iterator[Store]:
        with open_store(f"chdb://{self.folder}/home/store", self.folder / "home") as store:
            yield store

    def account(self) -> TopicAudit:
        transport = open_transport(self.log)
        with self.store() as store:
            accounts = audit(store, transport, read_contract(self.folder / "monitor.yaml"))
        transport.close()
        return {account.stream: account for account in accounts}["inputs"]

    def windows(self) -> Counter[int]:
        with self.store() as store:
            rows = store.query("SELECT window_start, n FROM window_counts WHERE column = '' AND n > 0")
        return Counter({to_ms(row["window_start"]) // HOUR: row["n"] for row in rows})

    def statuses(self) -> Counter[str]:
        with self.store() as store:
            rows = store.query("SELECT status, count() AS n FROM dead_letter_status GROUP BY status")
        return Counter({row["status"]: row["n"] for row in rows})


def expected_windows(records: list[bytes]) -> Counter[int]:
    events = {body["id"]: body["event_time"] for body in map(json.loads, records)}
    return Counter(time // HOUR for time in events.values())


def test_a_record_that_ends_the_process_is_quarantined_and_everything_else_counts_once(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    records = [input_of(f"e{n}", T0 + n * 60_000, amount=n) for n in range(EVENTS)]
    shop.send([*records[:617], input_of("killer", T0, note="deadly"), *records[617:]])

    codes: list[int] = []
    while len(codes) < 8 and 0 not in codes:
        codes.append(shop.run("consume", "--until-end", module="tests.faults.deadly").returncode)

    assert codes == [137, 137, 137, 137, 0]
    account = shop.account()
    assert (account.ok, account.dead, account.pending, account.mismatches) == (EVENTS, 1, 0, ())
    assert shop.windows() == expected_windows(records)
    (letter,) = shop.lines("dlq", "show", "0", "617", "--json")
    assert (letter["reason"], letter["status"]) == ("quarantined", "new")
    assert shop.run("consume", "--until-end", module="tests.faults.deadly").returncode == 0

    # Under a version that can read it, the same bytes count.
    assert shop.lines("dlq", "redrive", "--reason", "quarantined", "--json") == [
        {"sent": 1, "refused": {}, "dry_run": False}
    ]
    shop.lines("consume", "--until-end", "--json")
    assert shop.windows() == expected_windows([*records, input_of("killer", T0)])
    assert shop.account().mismatches == ()


def test_a_redrive_killed_at_any_moment_and_repeated_counts_every_event_once(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.monitor("event_time: {floor: 2020-01-01}\n")
    old = [input_of(f"old{n}", OLD + n * HOUR // 4, amount=n) for n in range(50)]
    records = [*old, *(input_of(f"new{n}", T0 + n * 60_000) for n in range(EVENTS))]
    shop.send(records)
    shop.lines("consume", "--until-end", "--json")
    assert shop.statuses() == {"new": 50}
    shop.monitor("event_time: {floor: 2019-01-01}\n")

    for kill_at in ("2:before", "1:after", "1:before"):
        done = shop.run("dlq", "redrive", "--all", module="tests.faults.redrive_killed", kill_at=kill_at)
        assert done.returncode == -signal.SIGKILL
    assert shop.statuses() == {"redriven": 20, "new": 30}
    assert [shop.lines("dlq", "redrive", "--all", "--json")[0]["sent"] for _ in range(2)] == [30, 0]
    shop.lines("consume", "--until-end", "--json")

    account = shop.account()
    assert (account.produced, account.ok, account.dead) == (EVENTS + 50 + 50 + 20, EVENTS + 50, 50)
    assert (account.duplicate, account.pending, account.mismatches) == (20, 0, ())
    assert shop.windows() == expected_windows(records)
    assert shop.statuses() == {"redriven": 50}
