"""``driftline labels load`` as typed: into the log, through a consumer, counted once however often it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from driftline.cli.main import app
from driftline.errors import CheckFailedError, DriftlineError, UsageError
from driftline.transport import Partition, open_transport

MONITOR = """
model: shop
columns: {amount: {type: number}}
"""
GOOD = "id,label,label_time\n" + "".join(f"o{n},{n / 2},2023-02-0{1 + n % 3}T10:00:00\n" for n in range(30))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(MONITOR)
    (tmp_path / "labels.csv").write_text(GOOD)
    return tmp_path


def driftline(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(folder / "home"), "--monitor", str(folder / "shop.yaml"), *words])


def load(folder: Path, *words: str) -> Result:
    return driftline(folder, "labels", "load", str(folder / "labels.csv"), *words)


def refusal(result: Result, kind: type[DriftlineError]) -> str:
    assert isinstance(result.exception, kind), result.output
    return str(result.exception)


def counted(folder: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """Label events by window, and the audit's line on the topic of labels."""
    assert driftline(folder, "consume", "--until-end").exit_code == 0
    lines = driftline(folder, "metrics", "--metric", "label_event_count", "--json").stdout.splitlines()
    events = {row["window_start"]: row["value"] for row in map(json.loads, lines)}
    audit = [json.loads(line) for line in driftline(folder, "audit", "--json").stdout.splitlines()]
    return events, next(line for line in audit if line["topic"] == "shop.labels")


def complete_to(folder: Path) -> str:
    wanted = "SELECT complete_to FROM topic_progress WHERE stream = 'labels'"
    return str(json.loads(driftline(folder, "sql", wanted, "--json").stdout)["complete_to"])


def test_a_file_loaded_twice_counts_once_and_moves_the_label_stream_only_as_asked(folder: Path) -> None:
    summary = json.loads(load(folder, "--json").stdout)
    assert (summary["rows"], summary["loaded"], summary["bad"]) == (30, 30, 0)
    once, _ = counted(folder)
    assert once == {f"2023-02-0{day}T10:00:00Z": 10.0 for day in (1, 2, 3)}
    assert complete_to(folder).startswith("2023-02-03T10:00:00")

    assert load(folder, "--complete-to", "2023-04-01").stdout.splitlines()[::2] == [
        "shop.labels: 30 of 30 labels sent",
        "complete to 2023-04-01 00:00",
    ]
    twice, audit = counted(folder)
    assert twice == once
    assert (audit["ok"], audit["duplicate"], audit["dead"], audit["mismatches"]) == (30, 30, 0, [])
    assert complete_to(folder).startswith("2023-04-01T00:00:00")


def test_a_promise_about_the_future_is_refused(folder: Path) -> None:
    assert refusal(load(folder, "--complete-to", "2099-01-01"), UsageError) == (
        "`--complete-to` must not lie in the future; got 2099-01-01T00:00Z; promise what has come"
    )


def test_bad_rows_end_with_code_1_after_all_others_were_sent(folder: Path) -> None:
    (folder / "labels.csv").write_text(GOOD + "o98,x,2023-02-01\no99,1,\n")
    result = load(folder, "--complete-to", "2023-04-01", "--rejects", str(folder / "bad.csv"))
    message = refusal(result, CheckFailedError)
    assert message == (
        f"2 rows are bad ({folder}/bad.csv), all others are sent; nothing was promised of the topic; "
        "mend them and load the file again"
    )
    assert result.exception.exit_code == 1
    assert f"{folder}/labels.csv line 32: the label must be a number; got 'x'" in result.stderr
    assert (folder / "bad.csv").read_text().splitlines()[2] == "line 33,the label time is empty,o99,1,"
    assert "shop.labels: 30 of 32 labels sent" in result.stdout


def test_names_of_columns_and_one_time_for_all_may_be_given(folder: Path) -> None:
    (folder / "labels.csv").write_text("order,truth\na,1\nb,2\n")
    words = ("--id-column", "order", "--label-column", "truth", "--label-time", "2023-02-05T00:00Z", "--json")
    summary = json.loads(load(folder, *words).stdout)
    assert (summary["loaded"], summary["first_label_time"]) == (2, "2023-02-05T00:00:00Z")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--label-time", "2023-02-05", "--time-column", "when"),
            "`--label-time` is for files without a column of times; leave it or `--time-column` out",
        ),
        (("--rejects", "{file}"), "`--rejects` must be another file than {file}"),
        (
            ("--complete-to", "soon"),
            "`--complete-to`: a moment is a date or time such as 2023-02-20 or 2023-02-20T06:30:00; got 'soon'",
        ),
    ],
)
def test_options_that_cannot_be_meant_are_refused(folder: Path, words: tuple[str, ...], message: str) -> None:
    file = str(folder / "labels.csv")
    result = load(folder, *(word.format(file=file) for word in words))
    assert refusal(result, UsageError) == message.format(file=file)


@pytest.mark.kafka
def test_labels_reach_a_real_broker_by_the_partition_of_their_id(folder: Path, kafka_broker: Any) -> None:
    url = kafka_broker.url
    (folder / "shop.yaml").write_text(MONITOR.replace("shop", "labelled_shop"))
    words = ["--home", str(folder / "home"), "--monitor", str(folder / "shop.yaml"), "--transport", url]
    done = CliRunner().invoke(
        app, [*words, "labels", "load", str(folder / "labels.csv"), "--complete-to", "2023-04-01"]
    )
    assert done.exit_code == 0, done.output
    transport = open_transport(url)
    partitions = [Partition("labelled_shop.labels", index) for index in range(4)]
    with transport.consumer() as consumer:
        ends = consumer.end_offsets(partitions)
    transport.close()
    assert sum(ends.values()) == 30 + 4  # a marker for each partition
    assert min(ends.values()) > 1
