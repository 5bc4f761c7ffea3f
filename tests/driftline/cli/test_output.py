"""Where the output of a command goes, and what is said when it cannot go there."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(60)

_MIGRATIONS = ("db", "migrate", "--print-sql")
_ROWS = ("sql", "SELECT number FROM numbers(200000)")


def shell(home: Path, words: tuple[str, ...], place: str) -> tuple[int, str]:
    code = "from driftline.cli.main import run; run()"
    command = shlex.join([sys.executable, "-c", code, "--home", str(home), *words])
    script = f"{command} {place}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=50, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", [_MIGRATIONS, _ROWS, (*_ROWS, "--json"), ("--help",)])
def test_a_full_disk_under_the_output_is_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert shell(tmp_path, words, ">/dev/full") == (
        3,
        "driftline: standard output cannot be written: no space left on device; send it elsewhere\n",
    )


@pytest.mark.parametrize("words", [_ROWS, (*_ROWS, "--json")])
def test_a_reader_of_the_output_that_leaves_early_ends_the_command_in_silence(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert shell(tmp_path, words, "| head -1") == (141, "")


def test_a_closed_output_is_refused_before_anything_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert shell(home, ("sql", "SELECT 1"), ">&-") == (
        3,
        "driftline: standard output is closed; send it to a file, a pipe or /dev/null\n",
    )
    assert not home.exists()


@pytest.mark.parametrize("place", ["2>/dev/full", "2>&-"])
def test_an_error_that_cannot_be_shown_keeps_its_exit_code(tmp_path: Path, place: str) -> None:
    assert shell(tmp_path, ("sql", "SELEC 1"), place) == (2, "")
