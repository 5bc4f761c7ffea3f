"""An embedded store opened in a process of its own, as the consumer does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HOLD = """
import sys
from pathlib import Path
from driftline.store.opening import open_store
home = Path(sys.argv[1])
store = open_store(f"chdb://{home}/store", home, serve=sys.argv[2] == "serve")
print("open", flush=True)
sys.stdin.read()
store.close()
"""


@contextmanager
def holding(home: Path, *, serve: bool) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that has the store open, and serves it; it closes the store at the end."""
    command = [sys.executable, "-c", _HOLD, str(home), "serve" if serve else "alone"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()
