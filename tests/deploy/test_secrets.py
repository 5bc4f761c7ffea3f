"""What `make secrets` makes: for its owner alone, once, and the hashes that ClickHouse compares with."""

from __future__ import annotations

import hashlib
import re
import stat
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from deploy.make_secrets import USERS, make_secrets
from tests.deploy.composition import FILES, read

NAMES = [*USERS, "grafana_admin"]


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in (folder / "secrets").iterdir()}


def test_every_password_is_long_its_own_and_without_a_line_end(tmp_path: Path) -> None:
    assert make_secrets(tmp_path) == NAMES

    passwords = [contents(tmp_path)[name] for name in NAMES]
    assert len(set(passwords)) == len(NAMES)
    assert all(re.fullmatch(r"[\w-]{43}", password) for password in passwords)


def test_nobody_but_the_owner_may_read_them(tmp_path: Path) -> None:
    make_secrets(tmp_path, tls=True)

    folder = tmp_path / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == dict.fromkeys(
        contents(tmp_path), 0o600
    )


def test_made_again_nothing_changes(tmp_path: Path) -> None:
    make_secrets(tmp_path, tls=True)
    before = contents(tmp_path), (tmp_path / ".env").read_text()

    assert make_secrets(tmp_path, tls=True) == []

    assert (contents(tmp_path), (tmp_path / ".env").read_text()) == before


def test_a_secret_that_is_missing_or_empty_is_made_and_the_others_stay(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "secrets" / "driftline_batch").unlink()
    (tmp_path / "secrets" / "grafana_admin").write_text("")

    assert make_secrets(tmp_path) == ["driftline_batch", "grafana_admin"]

    after = contents(tmp_path)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"driftline_batch", "grafana_admin", "clickhouse_users"}


def test_clickhouse_is_given_hashes_of_the_passwords_and_no_password(tmp_path: Path) -> None:
    make_secrets(tmp_path)

    found = contents(tmp_path)
    tree = ET.fromstring(found["clickhouse_users"])  # noqa: S314 - made here
    assert {name: tree.findtext(name) for name in USERS} == {
        name: hashlib.sha256(found[name].encode()).hexdigest() for name in USERS
    }
    assert not any(found[name] in found["clickhouse_users"] for name in USERS)
    assert "::/0" not in [ip.text for ip in tree.iterfind("driftline_networks/ip")]


def test_the_compose_files_name_no_secret_that_is_not_made(tmp_path: Path) -> None:
    make_secrets(tmp_path, tls=True)

    assert {name for file in FILES for name in read(file)["secrets"]} <= set(contents(tmp_path))


def test_containers_run_as_the_owner_of_the_files_and_never_as_root(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("COMPOSE_PROFILES=replay\nDRIFTLINE_UID=7\n")

    make_secrets(tmp_path)

    lines = dict(line.split("=") for line in (tmp_path / ".env").read_text().splitlines())
    owner = (tmp_path / "secrets" / "grafana_admin").stat()
    assert lines == {
        "COMPOSE_PROFILES": "replay",
        "DRIFTLINE_UID": str(owner.st_uid),
        "DRIFTLINE_GID": str(owner.st_gid),
    }
    assert owner.st_uid != 0


@pytest.mark.parametrize("name", ["clickhouse", "localhost"])
def test_the_certificate_is_signed_for_the_name_that_clients_use(tmp_path: Path, name: str) -> None:
    make_secrets(tmp_path, tls=True)

    folder = tmp_path / "secrets"
    command = [
        "openssl",
        "verify",
        "-CAfile",
        folder / "ca",
        "-verify_hostname",
        name,
        folder / "clickhouse_certificate",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
