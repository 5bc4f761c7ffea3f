"""The embedded engine with the users of ``clickhouse/server``: one of them in a process, served over HTTP.

The engine reads ClickHouse's own configuration files, but its session is always the user ``default``. So the
files are taken as they are, and ``default`` is made a copy of the user wanted: same grants, same profile. The
copy of ``driftline_migrate`` makes views in that user's name.
Passwords and the constraint that lets a read-only user set ``max_execution_time`` are not covered: the first
belong to a login that the engine does not have, the second to a switch that it does not read.
"""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.make_secrets import make_secrets

USERS_FILE = Path(__file__).parents[1] / "clickhouse" / "server" / "users.d" / "driftline.xml"
DATABASE = "driftline"
PASSWORD = "t"  # noqa: S105 - of the endpoint, which has no other user
_MAKES_VIEWS = "driftline_migrate"
_SERVER_SETTING = "<ignore_empty_sql_security_in_create_view_query>0</ignore_empty_sql_security_in_create_view_query>"
_NOT_IN_THIS_ENGINE = "<changeable_in_readonly/>"

_SERVE = """
import sys
from pathlib import Path
from driftline.store.endpoint import Endpoint, Tokens
endpoint = Endpoint(Path(sys.argv[1]), Tokens("t", "r"))
print(endpoint.port, flush=True)
sys.stdin.read()
endpoint.close()
"""


def write_configuration(folder: Path, user: str) -> Path:
    """Write a configuration whose session user has what ``user`` has, and return its main file."""
    make_secrets(folder)
    (folder / "users.d").mkdir(exist_ok=True)
    (folder / "users.xml").write_text(
        "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default/></users></clickhouse>"
    )
    text = USERS_FILE.read_text(encoding="utf-8")
    assert text.count(_NOT_IN_THIS_ENGINE) == 1
    text = text.replace(_NOT_IN_THIS_ENGINE, "").replace(
        "/run/secrets/clickhouse_users", f"{folder}/secrets/clickhouse_users"
    )
    (folder / "users.d" / "driftline.xml").write_text(text)
    (folder / "users.d" / "session.xml").write_text(_session(user))
    main = folder / "config.xml"
    main.write_text(f"<clickhouse><users_config>{folder}/users.xml</users_config>{_SERVER_SETTING}</clickhouse>")
    return main


def _session(user: str) -> str:
    tree = ET.parse(USERS_FILE)  # noqa: S314 - our own file
    found = tree.find(f"users/{user}")
    assert found is not None, user
    found.tag = "default"
    for name in ("password_sha256_hex", "networks"):
        part = found.find(name)
        assert part is not None
        found.remove(part)
    ET.SubElement(found, "password")
    ET.SubElement(ET.SubElement(found, "networks"), "ip").text = "::/0"
    profiles = ""
    if user == _MAKES_VIEWS:
        grants = found.find("grants")
        assert grants is not None
        ET.SubElement(grants, "query").text = f"GRANT SET DEFINER ON {user}"
        definer = f"<default_view_definer>{user}</default_view_definer>"
        profiles = f"<profiles><{user}>{definer}</{user}></profiles>"
    return f"<clickhouse>{profiles}<users>{ET.tostring(found, encoding='unicode')}</users></clickhouse>"


@contextmanager
def served_as(user: str, store: Path, folder: Path) -> Iterator[str]:
    """Yield an address at which every statement on ``store``, a folder with the database, runs as ``user``."""
    folder.mkdir(parents=True, exist_ok=True)
    place = f"{store}?config-file={write_configuration(folder, user)}"
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        yield f"clickhouse://driftline@127.0.0.1:{port}/{DATABASE}"
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()
