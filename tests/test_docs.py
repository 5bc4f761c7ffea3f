"""The documentation against the code: generated pages, links, contracts, and every command that it shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from docs.reference_pages import FOLDER, pages
from driftline.cli.main import app
from driftline.contract import parse_contract
from driftline.store import Address, Store
from driftline.store.migrations import migrate

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(driftline [^`\n]+)`")
_GENERATED = {"cli.md"}  # its usage lines are placeholders, and come from the commands themselves
# What stands for a value of the reader's own.
_ARGUMENTS = {"FILE": "a.parquet", "WINDOW": "2023-02-14", "NAME": "a"}


def test_generated_pages_are_what_the_code_says_now(tmp_path: Path) -> None:
    store = Store(Address(path=str(tmp_path / "store")))
    try:
        migrate(store)
        made = pages(store)
    finally:
        store.close()

    stale = [name for name, text in made.items() if (FOLDER / name).read_text(encoding="utf-8") != text]

    assert stale == [], "run python -m docs.reference_pages"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(_without_code(page)) if not link.startswith(("http://", "https://"))]

    assert [link for link in links if not _leads_somewhere(page, link)] == []


def test_a_link_to_a_missing_page_or_heading_is_noticed() -> None:
    readme = ROOT / "README.md"

    assert not _leads_somewhere(readme, "docs/nowhere.md")
    assert not _leads_somewhere(readme, "docs/architecture.md#no-such-heading")
    assert _leads_somewhere(readme, "docs/architecture.md#folders")


def _commands_of(text: str) -> Iterator[str]:
    for language, block in _BLOCK.findall(text):
        if language in {"", "console", "bash"}:
            lines = (line.removeprefix("$ ").strip() for line in block.splitlines())
            yield from (line for line in lines if line.startswith("driftline "))
    yield from _INLINE.findall(_BLOCK.sub("", text))


def _shown_commands() -> Iterator[Any]:
    for page in PAGES:
        if page.name not in _GENERATED:
            for line in dict.fromkeys(_commands_of(page.read_text(encoding="utf-8"))):
                yield pytest.param(line, id=f"{page.relative_to(ROOT)}: {line}"[:120])


@pytest.mark.parametrize("line", list(_shown_commands()))
def test_every_command_shown_exists_with_its_options(line: str) -> None:
    _parse(_words_of(line))


def test_a_command_or_an_option_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(Exception, match="No such command 'juggle'"):
        _parse(["juggle"])
    with pytest.raises(Exception, match="No such option: --fast"):
        _parse(["consume", "--fast"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_contract_shown_is_valid(page: Path) -> None:
    for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "yaml" and "model" in (yaml.safe_load(text) or {}):
            parse_contract(text, page.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_shown_compiles(page: Path) -> None:
    for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            compile(text, str(page), "exec")


def _without_code(page: Path) -> str:
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, heading = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not heading or heading in {_anchor(line) for line in target.read_text(encoding="utf-8").splitlines()}


def _anchor(line: str) -> str:
    """Return the anchor that a heading gets on GitHub."""
    text = line.lstrip("#").strip().lower() if line.startswith("#") else ""
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def _words_of(line: str) -> list[str]:
    """Return the arguments of a command line up to a pipe, a redirection or a comment."""
    words = shlex.split(line, comments=True)[1:]
    return [_ARGUMENTS.get(word, word) for word in takewhile(lambda word: word not in {"|", "<", ">"}, words)]


def _parse(words: list[str]) -> None:
    """Parse as the command line does, down to the last command, and run nothing; a bare name only has to exist."""
    command: Any = typer.main.get_command(app)
    context = None
    while words:
        context = command.make_context(command.name or "driftline", words, parent=context)
        if not hasattr(command, "resolve_command"):
            return
        _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
