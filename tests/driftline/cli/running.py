"""A long-running command in a process of its own, watched through its JSON log lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

COMMAND = [sys.executable, "-c", "from driftline.cli.main import run; run()"]
_LONG_SECONDS = 60.0


@dataclass
class Running:
    """The process, and the log lines that it has written so far."""

    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)

    def line(self, event: str) -> dict[str, Any]:
        """Wait for the next line that tells of ``event``."""
        assert self.process.stderr is not None
        other = []
        for text in self.process.stderr:
            if text.startswith("{"):
                self.lines.append(json.loads(text))
                if self.lines[-1]["event"] == event:
                    return self.lines[-1]
            other.append(text)
        msg = f"no {event}: {''.join(other)}"
        raise AssertionError(msg)

    def meters(self, url: str) -> dict[str, float]:
        """What ``/metrics`` says, by the sample's name and labels."""
        text = requests.get(f"{url}/metrics", timeout=10).text
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def until(self, url: str, sample: str, value: float) -> None:
        """Wait until a sample has reached a value."""
        deadline = time.monotonic() + _LONG_SECONDS
        while self.meters(url).get(sample, 0) < value:
            assert time.monotonic() < deadline, self.meters(url)
            time.sleep(0.1)

    def terminate(self) -> tuple[int, list[str]]:
        """Send SIGTERM; return the exit code and the events of the last log lines."""
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=_LONG_SECONDS)
        self.lines += [json.loads(text) for text in err.splitlines() if text.startswith("{")]
        return self.process.returncode, [line["event"] for line in self.lines]


@contextmanager
def running(home: Path, *words: str, **environment: str) -> Iterator[Running]:
    """Yield ``driftline`` with these words, logging as JSON; it is killed if it is still there at the end."""
    command = [*COMMAND, "--home", str(home), "--log-format", "json", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=home, text=True, env={**os.environ, **environment}, **pipes)  # type: ignore[call-overload]
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()
