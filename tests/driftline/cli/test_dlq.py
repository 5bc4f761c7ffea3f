"""The commands on dead letters, on a real log and store; what strangers wrote never reaches the terminal as it is."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from driftline.cli.consuming import open_consumer
from driftline.cli.main import app
from driftline.clock import SystemClock
from driftline.contract import read_contract
from driftline.errors import CheckFailedError, UsageError
from driftline.events import STREAMS
from driftline.store.opening import open_store
from driftline.transport import Partition, open_transport
from tests.consumers.making import T0, input_of

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
MARKUP = "<script>alert(1)</script>"
TEXT_TIME = input_of("\u202e" + MARKUP, ESCAPE)
POISON = [
    f"{ESCAPE}{MARKUP}'; DROP TABLE dead_letters; --".encode(),
    b"\xff\x00\x9b31m",
    TEXT_TIME,
    b"[" * 65,
    input_of("early", 1),
    b"",
    b"x" * 70_000,
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "monitor.yaml").write_text("model: shop\ncolumns:\n  amount: {type: number}\n")
    transport = open_transport(f"local://{tmp_path}/home/log")
    for stream in STREAMS:
        transport.create_topic(f"shop.{stream}", 1)
    with transport.producer() as producer:
        for value in [input_of("good", T0), *POISON]:
            producer.send(Partition("shop.inputs", 0), key=b"k", value=value)
    transport.close()
    consume(tmp_path)
    return tmp_path


def consume(folder: Path) -> None:
    """As ``driftline consume --until-end`` does, without its logging, which would outlive the test."""
    contract = read_contract(folder / "monitor.yaml")
    transport = open_transport(f"local://{folder}/home/log")
    with (
        open_store(f"chdb://{folder}/home/store", folder / "home") as store,
        open_consumer(store, transport, contract, SystemClock()) as loop,
    ):
        loop.run_until_end(threading.Event())
    transport.close()


def invoke(folder: Path, *arguments: str) -> Result:
    options = ["--home", str(folder / "home"), "--monitor", str(folder / "monitor.yaml")]
    return CliRunner().invoke(app, [*options, *arguments])


def lines(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    done = invoke(folder, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def error_of(done: Result) -> str:
    assert isinstance(done.exception, UsageError)
    return str(done.exception)


def test_whatever_a_record_holds_the_terminal_sees_printable_text(home: Path) -> None:
    shown = [invoke(home, "dlq", "ls"), *(invoke(home, "dlq", "show", "0", str(n)) for n in range(1, 8))]
    shown += [invoke(home, "dlq", "ls", "--json"), invoke(home, "dlq", "show", "0", "1", "--json")]

    for done in shown:
        assert done.exit_code == 0, done.output
        assert [line for line in done.output.splitlines() if not line.isprintable()] == []
        assert "\u202e" not in done.output
    assert r"\x1b]0;owned\x07\x1b[2J<script>" in shown[0].output


def test_ls_counts_by_reason_and_shows_the_start_of_each(home: Path) -> None:
    rows = lines(home, "dlq", "ls")

    counts = {row["reason"]: row["letters"] for row in rows if row["kind"] == "count"}
    assert counts == {"not_json": 2, "not_utf8": 1, "envelope": 1, "too_deep": 1, "before_floor": 1, "empty_value": 1}
    letters = [row for row in rows if row["kind"] == "letter"]
    assert [row["offset"] for row in letters] == [7, 6, 5, 4, 3, 2, 1]
    assert letters[0]["raw_start"] == "x" * 60
    assert [row["offset"] for row in lines(home, "dlq", "ls", "--reason", "not_json", "--limit", "1")[1:]] == [7]
    assert lines(home, "dlq", "ls", "--topic", "shop.labels") == []


def test_show_prints_the_whole_letter_and_what_to_do(home: Path) -> None:
    done = invoke(home, "dlq", "show", "0", "5", "--hex")

    first, error, status, _, size, content, remedy = done.stdout.splitlines()
    assert first.startswith("shop.inputs[0] offset 5, appended 2")
    assert error == "before_floor: `event_time` must be 946684800000 (epoch ms) or later; got 1"
    assert status == "status new"
    assert size.startswith(f"{len(POISON[4])} bytes, SHA-256 ")
    assert bytes.fromhex(content) == POISON[4]
    assert remedy == (
        "what to do: times are epoch milliseconds; if they are right, set `event_time.floor` earlier, start the "
        "consumer again with the mended contract, then `driftline dlq redrive --reason before_floor`"
    )
    assert "70,000 bytes, the first 65,536 kept, SHA-256 " in invoke(home, "dlq", "show", "0", "7").stdout


def test_discarded_letters_are_listed_no_more_and_keep_who_and_why(home: Path) -> None:
    assert lines(home, "dlq", "discard", "--reason", "not_json", "--note", "by test\x1b[2J") == [{"discarded": 2}]

    assert {row["reason"] for row in lines(home, "dlq", "ls")} & {"not_json"} == set()
    (letter,) = lines(home, "dlq", "show", "0", "1")
    assert (letter["status"], letter["note"]) == ("discarded", "by test\x1b[2J")
    assert "@" in letter["acted_by"]
    assert "\x1b" not in invoke(home, "dlq", "show", "0", "1").stdout
    assert lines(home, "dlq", "discard", "--all") == [{"discarded": 5}]
    assert invoke(home, "dlq", "ls").stdout == "no dead letters wait\n"


def test_redrive_says_what_it_would_do_and_what_it_cannot(home: Path) -> None:
    refused = {"it has no value, which no contract makes an event; discard it": 1}

    assert lines(home, "dlq", "redrive", "--all", "--dry-run") == [{"sent": 6, "refused": refused, "dry_run": True}]
    done = invoke(home, "dlq", "redrive", "--all")
    assert done.stdout == (
        "6 records sent again\n1 not sent: it has no value, which no contract makes an event; discard it\n"
    )
    consume(home)
    assert {row["status"] for row in lines(home, "dlq", "ls") if row["kind"] == "count"} == {"failed", "new"}


def test_a_paused_topic_is_named_and_goes_on_where_it_stopped_once_resumed(home: Path) -> None:
    transport = open_transport(f"local://{home}/home/log")
    with transport.producer() as producer:
        for n in range(1_200):
            producer.send(Partition("shop.inputs", 0), key=b"k", value=b"poison" if n < 1_100 else input_of(f"e{n}"))
    transport.close()

    with pytest.raises(CheckFailedError, match=r"topic shop\.inputs is paused: more than 50%"):
        consume(home)
    (status,) = lines(home, "status")
    assert {topic["topic"]: bool(topic["paused"]) for topic in status["topics"]} == {
        "shop.inputs": True,
        "shop.predictions": False,
        "shop.labels": False,
    }
    transport = open_transport(f"local://{home}/home/log")
    with transport.producer() as producer:
        producer.send(Partition("shop.inputs", 0), key=b"k", value=input_of("last"))
    transport.close()
    before = lines(home, "audit")[0]
    with pytest.raises(CheckFailedError, match=r"topic shop\.inputs is paused: more than 50%"):
        consume(home)
    assert lines(home, "audit")[0] == before  # a restart reads nothing of it

    assert invoke(home, "dlq", "resume", "shop.inputs").stdout == "topic shop.inputs is read again\n"
    assert invoke(home, "dlq", "resume", "shop.inputs").stdout == "topic shop.inputs is not paused\n"
    consume(home)
    account = lines(home, "audit")[0]
    assert (account["ok"], account["dead"], account["pending"], account["mismatches"]) == (102, 1_107, 0, [])


def test_what_cannot_be_meant_is_refused(home: Path) -> None:
    assert error_of(invoke(home, "dlq", "redrive")) == (
        "`driftline dlq redrive` needs either --all or some of --topic, --reason, --status, --since"
    )
    assert error_of(invoke(home, "dlq", "discard", "--all", "--reason", "not_json")) == (
        "`driftline dlq discard` needs either --all or some of --topic, --reason, --status, --since"
    )
    assert error_of(invoke(home, "dlq", "ls", "--topic", "trips")) == (
        "`--topic` must be one of shop.inputs, shop.predictions, shop.labels; got trips"
    )
    assert error_of(invoke(home, "dlq", "ls", "--status", "old")) == (
        "`--status` must be one of new, redriven, failed, discarded, copy; got old"
    )
    assert error_of(invoke(home, "dlq", "show", "0", "0")) == (
        "there is no dead letter at partition 0, offset 0; see `driftline dlq ls`"
    )
