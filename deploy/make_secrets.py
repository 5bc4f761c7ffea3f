"""Make the passwords of the compose file's servers: files of this user alone, never printed, never replaced.

Standard library only, so that it runs before anything is installed:
``python deploy/make_secrets.py [--tls]``. Writes ``secrets/`` and ``.env``, which git ignores.
``--tls`` also makes a certificate authority and ClickHouse's certificate, by the program openssl.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import subprocess
from pathlib import Path

USERS = ("driftline_migrate", "driftline_ingest", "driftline_batch", "driftline_grafana")
# Hosts from which ClickHouse's users may come: this machine and private networks.
_NETWORKS = ("::1", "127.0.0.1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8")
_CONTAINER_USER = 10_001
_CERTIFICATE_DAYS = 825


def main() -> None:
    """Make what is absent and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tls", action="store_true", help="also a certificate authority and a certificate")
    root = Path(__file__).resolve().parents[1]
    made = make_secrets(root, tls=parser.parse_args().tls)
    print(f"{root / 'secrets'}: {', '.join(made) or 'nothing was missing'}")


def make_secrets(root: Path, *, tls: bool = False) -> list[str]:
    """Write the secrets that ``root`` lacks and return their names; what is there stays as it is.

    A secret of no characters counts as absent. The hashes for ClickHouse are made anew from the passwords.
    """
    folder = root / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    names = (*USERS, "grafana_admin")
    made = [name for name in names if _write_new(folder / name, secrets.token_urlsafe(32))]
    _write(folder / "clickhouse_users", _hashes({name: (folder / name).read_text() for name in USERS}))
    if tls and not (folder / "clickhouse_certificate").exists():
        _make_certificates(folder)
        made += ["ca", "clickhouse_certificate", "clickhouse_key"]
    _give_to_containers(root, folder)
    return made


def _hashes(passwords: dict[str, str]) -> str:
    users = "".join(
        f"    <{name}>{hashlib.sha256(password.strip().encode()).hexdigest()}</{name}>\n"
        for name, password in passwords.items()
    )
    networks = "".join(f"        <ip>{network}</ip>\n" for network in _NETWORKS)
    return f"<clickhouse>\n{users}    <driftline_networks>\n{networks}    </driftline_networks>\n</clickhouse>\n"


def _write_new(path: Path, text: str) -> bool:
    if path.exists() and path.stat().st_size:
        path.chmod(0o600)
        return False
    _write(path, text)
    return True


def _write(path: Path, text: str) -> None:
    """Write beside and rename, so that no reader sees half a secret; nobody else may read it at any moment."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


def _make_certificates(folder: Path) -> None:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", str(_CERTIFICATE_DAYS)]
    ca, ca_key = folder / "ca", folder / "ca_key"
    _openssl("req", "-x509", *key, "-subj", "/CN=driftline CA", "-keyout", ca_key, "-out", ca)
    certificate, certificate_key = folder / "clickhouse_certificate", folder / "clickhouse_key"
    names = "subjectAltName=DNS:clickhouse,DNS:localhost,IP:127.0.0.1"
    _openssl(
        "req", "-x509", *key, "-subj", "/CN=clickhouse", "-addext", names,
        "-addext", "basicConstraints=critical,CA:FALSE",
        "-CA", ca, "-CAkey", ca_key, "-keyout", certificate_key, "-out", certificate,
    )  # fmt: skip
    for path in (ca, ca_key, certificate, certificate_key):
        path.chmod(0o600)


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)  # noqa: S603, S607 - the words are ours


def _give_to_containers(root: Path, folder: Path) -> None:
    """Say in ``.env`` as whom the containers run: as the files' owner, or, where that is root, as a number."""
    user, group = os.getuid(), os.getgid()
    if user == 0:
        user = group = _CONTAINER_USER
        for path in (folder, *folder.iterdir()):
            os.chown(path, user, group)
    kept = _other_lines(root / ".env")
    (root / ".env").write_text("".join([*kept, f"DRIFTLINE_UID={user}\n", f"DRIFTLINE_GID={group}\n"]))


def _other_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    ours = ("DRIFTLINE_UID=", "DRIFTLINE_GID=")
    return [f"{line}\n" for line in path.read_text().splitlines() if not line.startswith(ours)]


if __name__ == "__main__":
    main()
