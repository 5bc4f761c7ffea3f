"""Findings about this machine and this installation, without a store or a log."""

from __future__ import annotations

import re
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from driftline.ops.findings import Finding, Status

_GIB = 1024**3
# A merge of the largest tables needs their size again; a consumer that cannot write waits, and so do its readers.
_LITTLE_BYTES, _TOO_LITTLE_BYTES = 5 * _GIB, _GIB
_PYTHONS = ((3, 11), (3, 12))
_PINNED = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^;,\s]+)")
_PREFIX = "DRIFTLINE_"


def check_python(current: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Return whether this Python is one that driftline is tested with."""
    shown = f"Python {current[0]}.{current[1]}"
    if current in _PYTHONS:
        return Finding("python", "ok", shown)
    return Finding("python", "fail", f"{shown} is not supported", "install driftline for Python 3.11 or 3.12")


def check_libraries() -> list[Finding]:
    """Return whether the libraries that are pinned exactly have their version, and the checksum library is there."""
    return [*_pinned_libraries(requires("driftline") or []), check_crc32c(present=find_spec("crc32c") is not None)]


def check_crc32c(*, present: bool) -> Finding:
    """Return whether the Kafka client has a checksum in C."""
    if present:
        return Finding("crc32c", "ok", "the Kafka client checks records in C")
    message = "the Kafka client checks records in Python, at a fifth of the speed"
    return Finding("crc32c", "warn", message, "pip install crc32c")


def check_disk(folder: Path) -> Finding:
    """Return whether ``folder``, or the nearest parent that exists, has room to work."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    message = f"{free / _GIB:.1f} GiB are free in {folder}"
    if free >= _LITTLE_BYTES:
        return Finding("disk", "ok", message)
    status: Status = "fail" if free < _TOO_LITTLE_BYTES else "warn"
    return Finding("disk", status, message, "free space there, or use another --home")


def check_private(check: str, path: Path, *, otherwise: Status = "fail") -> Finding:
    """Return whether only its owner may read the file at ``path``, which holds a secret."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return Finding(check, "fail", f"{path} cannot be read: {(error.strerror or '').lower()}", "mend the path")
    if mode & 0o077:
        found = f"{path} holds a secret and others may use it (mode {mode:04o})"
        return Finding(check, otherwise, found, f"chmod 600 {path}")
    return Finding(check, "ok", f"only its owner may read {path}")


def check_environment(environment: Mapping[str, str], known: Iterable[str]) -> list[Finding]:
    """Return the variables that driftline would read if they were spelled as it does; values are never shown."""
    mine = sorted(name for name in environment if name.startswith(_PREFIX))
    unknown = sorted(set(mine) - set(known))
    if not unknown:
        return [Finding("environment", "ok", f"set: {', '.join(mine) or 'nothing'}")]
    remedy = "unset it, or spell it as the reference page of commands does"
    return [Finding("environment", "warn", f"{name} is no variable of driftline", remedy) for name in unknown]


def _pinned_libraries(requirements: Iterable[str]) -> Iterator[Finding]:
    for name, wanted in (found.groups() for one in requirements if (found := _PINNED.match(one))):
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "absent"
        if installed == wanted:
            yield Finding("libraries", "ok", f"{name} {installed}")
        else:
            yield Finding("libraries", "fail", f"{name} is {installed}, not {wanted}", f"pip install {name}=={wanted}")
