"""Log lines as another program reads them, each configuration in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SPEAK = """
import logging
import structlog
from driftline.cli.logs import LogFormat, configure_logging
ours, theirs = structlog.get_logger("consumers.loop"), logging.getLogger("kafka.client")
configure_logging(verbose={verbose}, log_format=LogFormat("{log_format}"))
for log in (ours, theirs):
    for level in ("debug", "info", "warning"):
        getattr(log, level)(level + "\\nof it")
try:
    {{}}["absent"]
except KeyError:
    ours.exception("failed", topic="trips\\x1b[2J")
"""


def spoken(log_format: str, *, verbose: bool = False) -> list[str]:
    code = SPEAK.format(verbose=verbose, log_format=log_format)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def objects(*, verbose: bool = False) -> list[dict[str, Any]]:
    return [json.loads(line) for line in spoken("json", verbose=verbose)]


def named(lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(line["logger"], line["level"]) for line in lines]


def test_a_json_line_is_one_object_whatever_it_says() -> None:
    lines = objects()
    assert named(lines) == [
        ("consumers.loop", "info"),
        ("consumers.loop", "warning"),
        ("kafka.client", "warning"),
        ("consumers.loop", "error"),
    ]
    assert lines[0]["event"] == "info\nof it"
    assert lines[-1]["topic"] == "trips\x1b[2J"
    assert lines[-1]["exception"].endswith("KeyError: 'absent'")
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_verbose_adds_what_ours_and_libraries_say_in_debug() -> None:
    levels = ["debug", "info", "warning"]
    assert named(objects(verbose=True))[:6] == [
        *[("consumers.loop", level) for level in levels],
        *[("kafka.client", level) for level in levels],
    ]


def test_text_is_silent_until_something_is_wrong() -> None:
    lines = spoken("text")
    assert [line for line in lines if "debug" in line or "info" in line] == []
    assert next(line for line in lines if "kafka.client" in line).endswith("WARNING kafka.client warning")
