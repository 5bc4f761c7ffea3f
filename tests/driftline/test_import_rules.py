"""Which part may import which: one way down, one vendor one module, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("driftline", "producers", "consumers", "batch", "grafana")
PURE = ("errors", "clock", "contract", "events", "windows", "metrics", "checks")
VENDORS = {
    "kafka": {"driftline/transport/kafka/"},
    "clickhouse_connect": {"driftline/store/"},
    "chdb": {"driftline/store/"},
    "whylogs": {"driftline/profiles.py"},
    "evidently": {"batch/workers/scores.py", "batch/reports/pages.py", "batch/quality/evidently_metrics.py"},
    "prometheus_client": {"driftline/ops/"},
    "psutil": {"driftline/ops/recorder.py"},
}
# What may know what, lowest first. The questions of ``batch`` stand side by side and know nothing of each other.
LAYERS = {
    "consumers": (
        {"decoding", "observing"},
        {"counting"},
        {"writing", "closings"},
        {"reading"},
        {"loop", "auditing", "dead_letters"},
        {"drill"},
    ),
    "batch": (
        {"results"},
        {"rows"},
        {"workers"},
        {"ledger"},
        {"references"},
        {"setting", "annotations"},
        {"inputs", "drift", "quality", "estimates", "kpi", "ages", "isolation", "causes"},
        {"slices", "reports"},
        {"challengers"},
        {"jobs"},
        {"choosing", "explain", "gate", "observing"},
        {"watch"},
    ),
}
HEAVY = (
    "pandas",
    "numpy",
    "pyarrow",
    "chdb",
    "clickhouse_connect",
    "evidently",
    "whylogs",
    "kafka",
    "pydantic",
    "sklearn",
)


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}", *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


ALL = {name_of(path): imports_of(path) for path in modules()}


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    forbidden = {other for other in PACKAGES if other not in (package, "driftline")} | {"driftline.cli"}
    wrong = [
        f"{path} imports {name}"
        for path, names in ALL.items()
        if path.startswith(f"{package}/") and not path.startswith("driftline/cli/")
        for name in sorted(names)
        if any(within(name, other) for other in forbidden)
    ]

    assert wrong == []


@pytest.mark.parametrize("package", LAYERS)
def test_parts_of_a_package_know_only_those_below_them(package: str) -> None:
    level = {part: height for height, parts in enumerate(LAYERS[package]) for part in parts}
    wrong = []
    for path, names in ALL.items():
        if not path.startswith(f"{package}/") or path == f"{package}/__init__.py":
            continue
        part = path.split("/")[1].removesuffix(".py")
        known = {name.split(".")[1] for name in names if within(name, package) and name != package} - {part}
        wrong += [f"{path} imports {package}.{other}" for other in sorted(known) if level[other] >= level[part]]

    assert wrong == []


def test_nothing_that_runs_imports_tests_or_benchmarks() -> None:
    wrong = [path for path, names in ALL.items() if any(within(n, p) for n in names for p in ("tests", "benchmarks"))]

    assert wrong == []


@pytest.mark.parametrize(("vendor", "places"), VENDORS.items())
def test_a_vendor_is_known_in_one_place(vendor: str, places: set[str]) -> None:
    found = {path for path, names in ALL.items() if any(within(name, vendor) for name in names)}

    assert [path for path in sorted(found) if not any(path.startswith(place) for place in places)] == []


def test_pure_modules_import_no_vendor_but_those_of_data_and_yaml() -> None:
    wrong = []
    for path, names in ALL.items():
        parts = Path(path).with_suffix("").parts
        if parts[0] != "driftline" or parts[1] not in PURE:
            continue
        allowed = {"driftline", "pydantic", "pydantic_core", "msgspec", *sys.stdlib_module_names}
        allowed |= {"yaml"} if parts[1:] == ("contract", "loading") else set()
        wrong += [f"{path} imports {name}" for name in sorted(names) if name.split(".")[0] not in allowed]

    assert wrong == []


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_command_line_starts_without_anything_heavy() -> None:
    loaded = imported_by("import driftline.cli.main")

    assert sorted(loaded.intersection(HEAVY)) == []


@pytest.mark.parametrize(
    "words", ["", "consume", "replay", "jobs run", "reference build", "data simulate", "store serve"]
)
def test_help_loads_nothing_heavy(words: str) -> None:
    arguments = ["driftline", *words.split(), "--help"]
    statement = f"""
sys.argv = {arguments!r}
import io
from contextlib import redirect_stdout
from driftline.cli.main import run
shown = io.StringIO()
try:
    with redirect_stdout(shown):
        run()
except SystemExit as end:
    assert not end.code, end
assert "Usage" in shown.getvalue(), shown.getvalue()
"""

    loaded = imported_by(statement).intersection(HEAVY)
    assert sorted(loaded - {"pydantic"}) == []  # Typer loads pydantic itself to show a command's options


def test_reading_a_contract_needs_no_vendor_of_data() -> None:
    loaded = imported_by("import driftline.contract, driftline.events, driftline.windows, driftline.clock")

    assert sorted(loaded.intersection(HEAVY)) == ["pydantic"]
