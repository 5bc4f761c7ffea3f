from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from driftline.cli.environment import VARIABLES
from driftline.errors import StoreUnavailable
from driftline.ops.connections import compare_clocks
from driftline.ops.findings import Finding, attempted
from driftline.ops.machine import (
    check_crc32c,
    check_disk,
    check_environment,
    check_libraries,
    check_private,
    check_python,
)

ROOT = Path(__file__).parents[3]


def test_an_error_becomes_a_finding_with_the_remedy_of_its_message() -> None:
    def fail() -> list[Finding]:
        msg = "store s does not answer: refused; check that it runs, then retry"
        raise StoreUnavailable(msg)

    assert attempted("store", fail) == [
        Finding("store", "fail", "store s does not answer: refused", "check that it runs, then retry")
    ]


def test_a_python_that_is_not_tested_fails() -> None:
    assert check_python((3, 12)) == Finding("python", "ok", "Python 3.12")
    assert check_python((3, 13)) == Finding(
        "python", "fail", "Python 3.13 is not supported", "install driftline for Python 3.11 or 3.12"
    )


def test_the_libraries_of_this_installation_are_those_pinned() -> None:
    found = check_libraries()
    assert {finding.status for finding in found} == {"ok"}
    assert {finding.message.split()[0] for finding in found} >= {"evidently", "kafka-python", "whylogs"}


def test_a_checksum_in_python_is_slow_and_not_wrong() -> None:
    assert check_crc32c(present=False) == Finding(
        "crc32c", "warn", "the Kafka client checks records in Python, at a fifth of the speed", "pip install crc32c"
    )


def test_the_disk_of_a_folder_that_is_not_there_yet_is_its_parents(tmp_path: Path) -> None:
    assert check_disk(tmp_path / "a" / "b").message.endswith(f" GiB are free in {tmp_path}")


@pytest.mark.parametrize(("mode", "status"), [(0o600, "ok"), (0o400, "ok"), (0o640, "fail"), (0o604, "fail")])
def test_a_secret_belongs_to_its_owner_alone(tmp_path: Path, mode: int, status: str) -> None:
    path = tmp_path / "endpoint.json"
    path.write_text("secret")
    path.chmod(mode)
    assert check_private("tokens", path).status == status


def test_a_secret_that_others_may_read_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("secret")
    path.chmod(0o644)
    message = f"{path} holds a secret and others may use it (mode 0644)"
    assert check_private("secrets", path, otherwise="warn") == Finding("secrets", "warn", message, f"chmod 600 {path}")


def test_a_misspelt_variable_is_named_without_its_value() -> None:
    environment = {"DRIFTLINE_HOME": "/srv", "DRIFTLINE_STORE_PASWORD": "secret", "HOME": "/root"}
    assert check_environment(environment, VARIABLES) == [
        Finding(
            "environment",
            "warn",
            "DRIFTLINE_STORE_PASWORD is no variable of driftline",
            "unset it, or spell it as the reference page of commands does",
        )
    ]
    assert check_environment({"DRIFTLINE_HOME": "/srv"}, VARIABLES)[0].message == "set: DRIFTLINE_HOME"


def test_the_known_variables_are_those_that_the_code_names() -> None:
    named = {
        name
        for package in ("driftline", "producers", "consumers", "batch", "grafana")
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r"\"(DRIFTLINE_[A-Z_]*[A-Z])\"", path.read_text(encoding="utf-8"))
    }
    assert {name for name in VARIABLES if not name.endswith("_FILE")} == {
        name for name in named if not name.endswith("_FILE")
    }
    assert {name for name in named if name.endswith("_FILE")} <= VARIABLES


@pytest.mark.parametrize(
    ("seconds", "status"), [(0.5, "ok"), (-1.9, "ok"), (2.0, "warn"), (-30, "warn"), (120, "fail"), (-300, "fail")]
)
def test_clocks_apart_are_a_finding_in_both_directions(seconds: float, status: str) -> None:
    found = compare_clocks("clock", "the store's clock", timedelta(seconds=seconds))
    assert (found.status, found.message) == (
        status,
        f"the store's clock is {seconds:+.3f} s from this machine's clock",
    )
