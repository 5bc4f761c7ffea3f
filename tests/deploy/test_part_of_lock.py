"""The part of the lock that the image installs, against what the installed packages say of themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata

from packaging.requirements import Requirement

from deploy.part_of_lock import dependencies, part_of_lock
from tests.deploy.composition import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_in(lock: str) -> set[str]:
    return {normal(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}


def needed_by(requirement: Requirement, seen: set[tuple[str, str]]) -> set[str]:
    """All that a requirement brings, by the metadata of what is installed here."""
    found: set[str] = {normal(requirement.name)}
    for extra in ("", *sorted(requirement.extras)):
        if (normal(requirement.name), extra) in seen:
            continue
        seen.add((normal(requirement.name), extra))
        for text in metadata.requires(requirement.name) or ():
            inner = Requirement(text)
            if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                found |= needed_by(inner, seen)
    return found


def test_it_holds_all_that_running_needs_and_no_tool_of_development() -> None:
    found = names_in(part_of_lock(LOCK, dependencies(PYPROJECT)))

    seen: set[tuple[str, str]] = set()
    wanted = set[str]().union(*(needed_by(Requirement(text), seen) for text in dependencies(PYPROJECT)))
    assert wanted - found == set()
    assert found - wanted <= names_in(LOCK)  # the lock covers more platforms and Pythons than this one
    assert found & {"pytest", "mypy", "ruff", "playwright", "testcontainers", "hypothesis"} == set()


def test_it_keeps_every_hash() -> None:
    part = part_of_lock(LOCK, ["typer"])

    assert names_in(part) >= {"typer", "rich"}
    assert part.count("--hash=sha256:") >= 2 * len(names_in(part))
    assert all(line in LOCK.splitlines() for line in part.splitlines())


def test_it_runs_before_anything_is_installed() -> None:
    command = [sys.executable, "-I", "-S", "deploy/part_of_lock.py", "requirements.lock", "pyproject.toml"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == part_of_lock(LOCK, dependencies(PYPROJECT))
