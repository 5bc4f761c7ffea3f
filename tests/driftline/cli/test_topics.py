"""``driftline topics`` on the local log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from driftline.cli.context import Context
from driftline.cli.topics import app
from driftline.errors import CheckFailedError
from driftline.transport import open_transport

_MONITOR = Path(__file__).parents[3] / "monitors" / "nyc_green_taxi.yaml"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(home=tmp_path / "home", monitor=_MONITOR)


@pytest.fixture
def names(context: Context) -> list[str]:
    topics = context.contract().topics
    return [topics.inputs, topics.predictions, topics.labels]


def run(context: Context, *arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), obj=context)


def test_absent_topics_are_created_once(context: Context, names: list[str]) -> None:
    for _ in range(2):
        result = run(context, "create")
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [f"{name} has 1 partition, stamped with append time" for name in names]


def test_the_number_of_partitions_may_be_chosen(context: Context, names: list[str]) -> None:
    created = [json.loads(line) for line in run(context, "create", "--partitions", "3", "--json").stdout.splitlines()]
    transport = open_transport(f"local://{context.home}/log")
    described = [transport.describe_topic(name) for name in names]
    transport.close()
    assert [(line["topic"], line["status"], line["partitions"], line["topic_id"]) for line in created] == [
        (topic.name, "ok", 3, topic.topic_id) for topic in described
    ]


def test_an_absent_topic_fails_the_check_with_the_remedy(context: Context, names: list[str]) -> None:
    result = run(context, "check")
    assert result.stdout.splitlines() == [
        f"{name} does not exist in local://{context.home}/log; create it with `driftline topics create`"
        for name in names
    ]
    assert isinstance(result.exception, CheckFailedError)
    assert str(result.exception) == (f"3 of 3 topics are not as they must be: {', '.join(names)}; see the lines above")


def test_checking_does_not_create_topics(context: Context) -> None:
    run(context, "check")
    assert [json.loads(line)["status"] for line in run(context, "check", "--json").stdout.splitlines()] == [
        "missing"
    ] * 3


def test_another_number_of_partitions_fails_the_check_and_the_creation(context: Context, names: list[str]) -> None:
    run(context, "create")
    for command in ("check", "create"):
        result = run(context, command, "--partitions", "2")
        assert result.stdout.splitlines()[0] == (
            f"{names[0]} has 1 partition instead of 2; "
            "ask for --partitions 1, or delete the topic and create it again: an id must keep its partition"
        )
        assert isinstance(result.exception, CheckFailedError)
