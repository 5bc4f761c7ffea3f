"""Standard output that is full, closed or a pipe nobody reads: told as what it is, whoever wrote to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import TYPE_CHECKING

from driftline.errors import OutputClosed, OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STANDARD = (0, 1, 2)


class _Output(FileIO):
    """The file under standard output."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write as ``FileIO``; what the system refuses is no ``OSError`` that a command may take for its own."""
        try:
            return super().write(data)
        except BrokenPipeError as error:
            msg = "nobody reads standard output"
            raise OutputClosed(msg) from error
        except OSError as error:
            msg = f"standard output cannot be written: {(error.strerror or str(error)).lower()}; send it elsewhere"
            raise OutputError(msg) from error


@contextmanager
def guarded_output() -> Iterator[None]:
    """Let what is printed in the block fail as one of our errors, and nothing be left over to fail at exit.

    Raises:
        OutputError: standard output is closed, full or broken.
        OutputClosed: its reader is gone.
    """
    _refuse_closed()
    if isinstance(sys.stdout, TextIOWrapper):
        raw = _Output(sys.stdout.fileno(), "wb", closefd=False)
        sys.stdout = TextIOWrapper(
            BufferedWriter(raw),
            encoding=sys.stdout.encoding,
            errors="backslashreplace",  # a terminal of another alphabet, such as LANG=C
            line_buffering=sys.stdout.line_buffering,
        )
    try:
        yield
    except OutputError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # takes what is still buffered
        raise


def _refuse_closed() -> None:
    """Fill the places of closed streams: the file opened next would get their number, and what is printed to them."""
    lost = sys.stdout is None
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, so this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)
    if lost:
        msg = "standard output is closed; send it to a file, a pipe or /dev/null"
        raise OutputError(msg)
