"""The wheel in an environment of its own: what runs is in it, and it runs."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.deploy.composition import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
CONTENT = (
    "clickhouse/schema/*.sql",
    "clickhouse/server/**/*.xml",
    "grafana/dashboards/*.json",
    "grafana/provisioning/**/*.yaml",
    "grafana/preview/static/**/*.*",
    "monitors/**/*.yaml",
    "producers/*.json",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", folder, ROOT]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Path:
    """An environment with the wheel; its dependencies, and not this checkout, come from the one that tests run in."""
    folder = wheel.parent / "environment"
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, capture_output=True, cwd=wheel.parent)
    here = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    dependencies = here.parent / "dependencies"
    dependencies.mkdir()
    for item in Path(sysconfig.get_path("purelib")).iterdir():
        if not item.name.startswith(("driftline", "_driftline", "__editable__")) and item.suffix != ".pth":
            (dependencies / item.name).symlink_to(item)
    (here / "dependencies.pth").write_text(f"{dependencies}\n", encoding="utf-8")
    return folder


def run(environment: Path, *words: str) -> str:
    """Run ``driftline`` as installed, far from the checkout."""
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(environment), "LANG": "C.UTF-8"}
    command = [environment / "bin" / "driftline", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=environment, env=clean, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("pattern", CONTENT)
def test_every_file_that_runs_is_in_the_wheel(wheel: Path, pattern: str) -> None:
    wanted = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}

    assert wanted
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.split("/")[0] for name in names} == {
        "batch", "clickhouse", "consumers", "driftline", "grafana", "monitors", "producers",
        f"driftline-{VERSION}.dist-info",
    }  # fmt: skip
    assert [name for name in names if name.endswith((".pyc", ".parquet", ".skops", ".env"))] == []


def test_the_code_that_runs_is_the_installed_one(environment: Path) -> None:
    statement = "import driftline, grafana, sys; print(driftline.__file__, grafana.__file__, sep='\\n')"
    command = [environment / "bin" / "python", "-I", "-c", statement]

    found = subprocess.run(command, capture_output=True, text=True, cwd=environment, check=True).stdout.splitlines()

    assert all(Path(line).is_relative_to(environment) for line in found), found


def test_it_says_its_version(environment: Path) -> None:
    assert run(environment, "--version") == f"driftline {VERSION}\n"


def test_it_brings_the_example_contract_and_shows_it(environment: Path) -> None:
    assert "model: nyc_green_taxi" in run(environment, "config", "show")


def test_it_makes_a_store_from_the_schema_that_it_brings(environment: Path) -> None:
    files = sorted((ROOT / "clickhouse" / "schema").glob("*.sql"))

    run(environment, "db", "migrate")

    applied = [f"{path.stem[:4]} {path.stem[5:]}: applied" for path in files]
    assert run(environment, "db", "status").splitlines() == applied


def test_its_dashboards_are_those_that_its_builder_makes(environment: Path) -> None:
    statement = (
        "import grafana; from pathlib import Path; from grafana.builder.files import stale_files; "
        "print(stale_files(Path(grafana.__file__).parent))"
    )
    command = [environment / "bin" / "python", "-I", "-c", statement]

    assert subprocess.run(command, capture_output=True, text=True, cwd=environment, check=True).stdout == "[]\n"
