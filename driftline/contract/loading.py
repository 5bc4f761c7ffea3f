"""Finding and reading monitor files: search order, YAML positions, errors that name the line.

Every complaint reads ``file:line: `key` rule; got value; remedy``.
"""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from driftline.contract.model import Contract
from driftline.errors import ContractError

PACKAGED_EXAMPLE = "nyc_green_taxi.yaml"
_PACKAGED = Path(str(resources.files("monitors")))
_OWN_KEY = re.compile(r"`(?P<key>[^`]+)` (?P<rule>(?:is|must|needs|reads) .*)", re.DOTALL)
_REMEDY_FOR_UNKNOWN = "remove it or correct its spelling (`driftline config schema` lists the keys)"
_Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class LoadedContract:
    """A contract and where it came from; ``packaged`` is true for the example that ships with driftline."""

    contract: Contract
    path: Path
    packaged: bool = False


def find_contract(explicit: Path | None, folder: Path) -> LoadedContract:
    """Return the contract to use: ``explicit``, else the one in ``folder/monitors/``, else the packaged taxi example.

    ``explicit`` is a file, or the name of a packaged example.

    Raises:
        ContractError: the file is absent or invalid, or ``folder/monitors/`` holds several.
    """
    if explicit is not None:
        named = _PACKAGED / "examples" / f"{explicit.name}.yaml"
        if str(explicit) == explicit.name and not explicit.suffix and not explicit.exists() and named.exists():
            return LoadedContract(read_contract(named), named)
        return LoadedContract(read_contract(explicit), explicit)
    found = sorted((folder / "monitors").glob("*.y*ml"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        msg = f"{folder / 'monitors'} holds several monitors ({names}); choose one with --monitor FILE"
        raise ContractError(msg)
    if found:
        return LoadedContract(read_contract(found[0]), found[0])
    packaged = _PACKAGED / PACKAGED_EXAMPLE
    return LoadedContract(read_contract(packaged), packaged, packaged=True)


def read_contract(path: Path) -> Contract:
    """Return the contract in ``path``.

    Raises:
        ContractError: the file cannot be read, is not YAML, or breaks a rule; all broken rules are named at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        msg = f"{path}: no such monitor file; check --monitor, or leave it out for the packaged taxi example"
        raise ContractError(msg) from error
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: monitor file cannot be read: {error}"
        raise ContractError(msg) from error
    return parse_contract(text, str(path))


def parse_contract(text: str, origin: str) -> Contract:
    """Return the contract that the YAML ``text`` holds; ``origin`` names it in errors.

    Raises:
        ContractError: as ``read_contract``.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        msg = f"{origin}:{line}: not valid YAML: {error.problem}; check indentation and quoting"
        raise ContractError(msg) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        msg = f"{origin}:1: not valid YAML: {error}"
        raise ContractError(msg) from error
    if not isinstance(values, dict) or root is None:
        msg = f"{origin}:1: a monitor file is a mapping of keys; got {type(values).__name__}; start with `model: NAME`"
        raise ContractError(msg)
    lines = dict(_lines(root, (), set()))
    _refuse_duplicate_keys(root, origin, set())
    try:
        return Contract.model_validate(values)
    except ValidationError as error:
        complaints = [_complaint(detail, lines, origin) for detail in error.errors()]
        raise ContractError("\n".join(complaints)) from error


def _lines(node: yaml.Node, key: _Key, visited: set[int]) -> list[tuple[_Key, int]]:
    """Return the lines of all keys; what an alias repeats is found where it stands first."""
    found: list[tuple[_Key, int]] = [(key, node.start_mark.line + 1)]
    if id(node) in visited:
        return found
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            child = (*key, str(name.value))
            found += _lines(value, child, visited)
            found.append((child, name.start_mark.line + 1))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            found += _lines(value, (*key, index), visited)
    return found


def _refuse_duplicate_keys(node: yaml.Node, origin: str, visited: set[int]) -> None:
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for name, value in node.value:
            if str(name.value) in seen:
                line = name.start_mark.line + 1
                msg = f"{origin}:{line}: `{name.value}` stands twice; YAML would drop the first; keep one"
                raise ContractError(msg)
            seen.add(str(name.value))
            _refuse_duplicate_keys(value, origin, visited)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicate_keys(value, origin, visited)


def _complaint(detail: ErrorDetails, lines: dict[_Key, int], origin: str) -> str:
    kind, rule = detail["type"], detail["msg"].removeprefix("Value error, ")
    location: _Key = tuple(detail["loc"])
    own = _OWN_KEY.match(rule)
    if own:  # a rule over several keys names the one to look at, from the root or from where it stands
        named = tuple(int(part) if part.isdigit() else part for part in own["key"].split("."))
        location = named if named[: len(location)] == location else (*location, *named)
        rule = own["rule"]
    where = f"{origin}:{_line_of(location, lines)}: `{'.'.join(map(str, location)) or '(whole file)'}`"
    if kind == "missing":
        return f"{where} is required; add it"
    if kind == "extra_forbidden":
        return f"{where} is not a key of the contract; got {_shown(detail['input'])}; {_REMEDY_FOR_UNKNOWN}"
    rule = rule[:1].lower() + rule[1:]
    return f"{where} {rule}" if own or "; got " in rule else f"{where} {rule}; got {_shown(detail['input'])}"


def _line_of(location: _Key, lines: dict[_Key, int]) -> int:
    while location and location not in lines:
        location = location[:-1]
    return lines.get(location, 1)


def _shown(value: Any) -> str:
    bounded = reprlib.Repr()  # YAML's aliases can make a small file's value exponentially long
    bounded.maxlevel, bounded.maxdict, bounded.maxlist, bounded.maxstring = 3, 8, 8, 80
    text = bounded.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
