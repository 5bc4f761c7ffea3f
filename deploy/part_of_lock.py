"""Print the part of ``requirements.lock`` that some packages need, with its hashes.

``python deploy/part_of_lock.py requirements.lock pyproject.toml`` for what running driftline needs, without
what only development needs; ``... requirements.lock hatchling`` for one package. Standard library only. Follows
the lock's ``# via`` comments.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def part_of_lock(lock: str, packages: Iterable[str]) -> str:
    """Return the entries of ``lock`` that ``packages`` are or need, in their order."""
    entries = _entries(lock)
    needed = _closure({_name(package) for package in packages}, entries)
    return "".join(text for name, text in entries.items() if name in needed)


def dependencies(pyproject: str) -> list[str]:
    """Return what the project itself needs, without its extras."""
    found: list[str] = tomllib.loads(pyproject)["project"]["dependencies"]
    return found


def _entries(lock: str) -> dict[str, str]:
    """Return the text of each package's entry, from its name to the line before the next."""
    parts = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return {_name(part): part for part in parts if _NAME.match(part)}


def _closure(wanted: set[str], entries: Mapping[str, str]) -> set[str]:
    needed, more = set[str](), wanted
    while more:
        needed |= more
        more = {name for name, text in entries.items() if name not in needed and _via(text) & needed}
    return needed


def _via(entry: str) -> set[str]:
    _, _, comment = entry.partition("# via")
    return {_name(line.strip("# ")) for line in comment.splitlines() if line.strip("# ")}


def _name(requirement: str) -> str:
    found = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


if __name__ == "__main__":
    _lock, *_wanted = sys.argv[1:]
    if _wanted == ["pyproject.toml"]:
        _wanted = dependencies(Path("pyproject.toml").read_text(encoding="utf-8"))
    sys.stdout.write(part_of_lock(Path(_lock).read_text(encoding="utf-8"), _wanted))
