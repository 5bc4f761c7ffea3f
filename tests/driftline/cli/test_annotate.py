"""``driftline annotate``, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from driftline.cli.main import app
from driftline.errors import UsageError

MONITOR = Path(__file__).parents[3] / "monitors" / "nyc_green_taxi.yaml"


def driftline(home: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(home), "--monitor", str(MONITOR), "annotate", *words])


def test_a_text_is_noted_once_and_listed(tmp_path: Path) -> None:
    words = (
        "drivers on strike",
        "--at",
        "2023-02-14T06:00",
        "--until",
        "2023-02-15",
        "--tag",
        "city",
        "--tag",
        "union",
    )
    for verb in ((), ("add",)):
        done = driftline(tmp_path, *verb, *words)
        assert (done.exit_code, done.stdout) == (0, "noted at 2023-02-14T06:00:00Z\n")
    driftline(tmp_path, "rain", "--at", "2023-02-13")

    listed = driftline(tmp_path, "ls")
    assert listed.stdout == (
        "2023-02-13 00:00 note: rain\n2023-02-14 06:00 to 2023-02-15 00:00 note: drivers on strike [city, union]\n"
    )
    (_, strike) = (json.loads(line) for line in driftline(tmp_path, "ls", "--json").stdout.splitlines())
    assert strike == {
        "at": "2023-02-14T06:00:00Z",
        "kind": "note",
        "title": "drivers on strike",
        "text": "",
        "until": "2023-02-15T00:00:00Z",
        "tags": ["city", "union"],
    }


def test_a_text_of_nothing_and_a_time_that_is_none_are_refused(tmp_path: Path) -> None:
    for words, said in (
        ((" ",), "an annotation needs a text; write what happened"),
        (
            ("a", "--at", "2023-02-02", "--until", "2023-02-01"),
            "`--until` must not be before `--at`; got 2023-02-01T00:00Z; swap them",
        ),
    ):
        refused = driftline(tmp_path, *words).exception
        assert isinstance(refused, UsageError)
        assert str(refused) == said
