from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlencode

import clickhouse_connect
import pytest

from driftline.store.holder import Note, read_note
from tests.store_process import holding

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def note(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Note]:
    home = tmp_path_factory.mktemp("home")
    with holding(home, serve=True):
        found = read_note(home)
        assert found is not None
        assert found.port is not None
        yield found


class Client:
    """Plain HTTP, as curl speaks it."""

    def __init__(self, note: Note) -> None:
        self.note = note

    def send(self, body: bytes | str, *, user: str = "driftline", path: str = "/", **headers: str) -> tuple[int, str]:
        token = {"driftline": self.note.token, "reader": self.note.reader_token}.get(user, "")
        sent = {
            "X-ClickHouse-User": user,
            "X-ClickHouse-Key": token,
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        return self.raw("POST", path, body, sent)

    def raw(
        self, method: str, path: str, body: bytes | str = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        connection = HTTPConnection(self.note.host, self.note.port, timeout=20)
        try:
            connection.request(method, path, body.encode() if isinstance(body, str) else body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()


@pytest.fixture
def http(note: Note) -> Client:
    return Client(note)


def test_ping_needs_no_token(http: Client) -> None:
    assert http.raw("GET", "/ping") == (200, "Ok.\n")


@pytest.mark.parametrize("headers", [{}, {"X-ClickHouse-User": "driftline", "X-ClickHouse-Key": "wrong"},
                                     {"Authorization": "Basic !!!"}, {"Authorization": "Basic ZHJpZnRsaW5lOg=="},
                                     {"X-ClickHouse-User": "default", "X-ClickHouse-Key": ""}])  # fmt: skip
def test_a_request_without_the_right_token_is_refused(http: Client, headers: dict[str, str]) -> None:
    status, text = http.raw("POST", "/", "SELECT 1", headers)
    assert status == 403
    assert text.endswith("Authentication failed: wrong user or token. (AUTHENTICATION_FAILED)\n")


def test_the_readers_token_does_not_open_the_owners_account(http: Client, note: Note) -> None:
    headers = {"X-ClickHouse-User": "driftline", "X-ClickHouse-Key": note.reader_token}
    assert http.raw("POST", "/", "SELECT 1", headers)[0] == 403


def test_the_token_may_come_in_the_url(http: Client, note: Note) -> None:
    query = urlencode({"user": "reader", "password": note.reader_token, "query": "SELECT 1 + 1"})
    assert http.raw("GET", f"/?{query}") == (200, "2\n")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_request_for_another_host_name_is_refused(http: Client, host: str) -> None:
    assert http.send("SELECT 1", Host=host)[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", ""])
def test_ping_tells_another_host_name_nothing(http: Client, host: str) -> None:
    status, text = http.raw("GET", "/ping", headers={"Host": host})
    told = f"the endpoint answers to 127.0.0.1 and localhost; got host {host.split(':')[0]!r}."
    assert (status, text) == (403, f"Code: 516. DB::Exception: {told}\n")


def test_who_asks_for_read_only_mode_gets_the_readers_rules(http: Client) -> None:
    assert http.send("SELECT file('/etc/hostname')")[0] == 200
    assert http.send("SELECT file('/etc/hostname')", path="/?readonly=2")[0] == 403
    assert http.send("SELECT * FROM `/etc/hostname`", path="/?readonly=2")[0] == 403


def test_localhost_is_loopback(http: Client) -> None:
    assert http.send("SELECT 1", Host="localhost:1234") == (200, "1\n")


def test_curl_inserts_lines_from_the_body(http: Client) -> None:
    assert http.send("CREATE TABLE lines (a UInt8, b String) ENGINE = MergeTree ORDER BY a")[0] == 200
    assert http.send("1,one\n2,two\n", path=f"/?query={quote('INSERT INTO lines FORMAT CSV')}") == (200, "")
    assert http.send("INSERT INTO lines (a, b) VALUES (3, 'FORMAT CSV\n')") == (200, "")
    packed = gzip.compress(b'INSERT INTO lines FORMAT JSONEachRow\n{"a":4,"b":"four"}\n')
    assert http.send(packed, Content_Encoding="gzip") == (200, "")
    assert http.send("SELECT a, b FROM lines ORDER BY a FORMAT JSONCompact")[0] == 200
    rows = json.loads(http.send("SELECT a, b FROM lines ORDER BY a FORMAT JSONCompact")[1])["data"]
    assert rows == [[1, "one"], [2, "two"], [3, "FORMAT CSV\n"], [4, "four"]]


def test_parameters_and_settings_come_in_the_url(http: Client) -> None:
    path = "/?" + urlencode(
        {"param_x": "o'x", "max_block_size": "9", "query": "SELECT {x:String}, getSetting('max_block_size')"}
    )
    assert http.send("", path=path) == (200, "o\\'x\t9\n")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/", b"", {}, 400),
        ("/", b"\xff\xfe", {}, 400),
        ("/?no%20name=1", b"SELECT 1", {}, 400),
        ("/?no_such_setting=1", b"SELECT 1", {}, 400),
        ("/?compress=1", b"SELECT 1", {}, 400),
        ("/?session_id=a", b"SELECT 1", {}, 400),
        ("/", b"not gzip", {"Content_Encoding": "gzip"}, 400),
        ("/", b"x", {"Content_Encoding": "zip"}, 415),
        ("/", b"SELECT * FROM nowhere", {}, 404),
        ("/", b"INSERT INTO nowhere FORMAT Native\n\x00\x01garbage", {}, 404),
        ("/?database=nowhere", b"SELECT 1", {}, 404),
        ("/elsewhere", b"SELECT 1", {}, 404),
    ],
)
def test_a_bad_request_is_answered_as_the_clients_fault(
    http: Client, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert http.send(body, path=path, **headers)[0] == status
    assert http.send("SELECT 1") == (200, "1\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nSEL",
    ],
)
def test_bytes_that_are_not_http_harm_nobody(http: Client, note: Note, sent: bytes) -> None:
    with socket.create_connection((note.host, note.port or 0), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(1000)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))
    assert http.send("SELECT 1") == (200, "1\n")


@pytest.mark.parametrize("sql", ["SELECT 1", "SELECT count() FROM metrics", "WITH 2 AS x SELECT x -- comment",
                                 "SELECT 'INTO OUTFILE ; file(' AS `file`", "SHOW TABLES", "DESCRIBE TABLE metrics",
                                 "SELECT name FROM system.tables LIMIT 1", "SELECT * FROM numbers(2);",
                                 "EXPLAIN SELECT 1", "(SELECT 1) UNION ALL (SELECT 2)"])  # fmt: skip
def test_a_reader_reads(http: Client, sql: str) -> None:
    assert http.send(sql, user="reader")[0] == 200


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO annotations (model) VALUES ('x')",
        "INSERT INTO annotations (model) FORMAT CSV\nx\n",
        "CREATE TABLE t (a UInt8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE t (a UInt8)",
        "DROP TABLE annotations",
        "ALTER TABLE annotations DELETE WHERE 1",
        "OPTIMIZE TABLE annotations",
        "TRUNCATE TABLE annotations",
        "SYSTEM STOP MERGES",
        "KILL QUERY WHERE 1",
        "SET readonly = 0",
        "BACKUP DATABASE default TO File('/tmp/x')",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM file/**/('/etc/passwd', 'LineAsString')",
        "SELECT * FROM `file`('/etc/passwd', 'LineAsString')",
        "SELECT * FROM `\\x66ile`('/etc/passwd', 'LineAsString')",
        "SELECT * FROM \u201cfile\u201d('/etc/passwd', 'LineAsString')",
        "SELECT file('/etc/passwd')",
        "SELECT * FROM `/etc/passwd`",
        "SELECT aiGenerate('x', map())",
        "SELECT \"file\"('/etc/passwd')",
        "SELECT '\\\\', file('/etc/passwd')",
        "SELECT '''', file('/etc/passwd'), ''''",
        "SELECT $$'$$, file('/etc/passwd'), $$'$$",
        "DESCRIBE file('/etc/passwd')",
        "DESCRIBE TABLE url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM s3('http://127.0.0.1:1/b/k', 'CSV')",
        "SELECT * FROM remote('127.0.0.1', default.annotations)",
        "SELECT * FROM executable('x', 'LineAsString', 'a String')",
        "SELECT * FROM merge('system', '.*')",
        "SELECT * FROM Python(x)",
        "SELECT * FROM eval('SELECT 1')",
        "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
        "SELECT * FROM system.processes",
        "SELECT * FROM `system`.`processes`",
        "SELECT * FROM {d:Identifier}.processes",
        "SHOW PROCESSLIST",
        "SELECT 1 INTO OUTFILE '/tmp/driftline-reader'",
        "SELECT 1 INTO/**/OUTFILE '/tmp/driftline-reader'",
        "SELECT 1; DROP TABLE annotations",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1 /* /* */ 'x */, file('/etc/passwd') --'",
        "SELECT x'\\', file('/etc/passwd'), '",
        "EXECUTE AS default SELECT 1",
    ],
)
@pytest.mark.parametrize("settings", ["", "?readonly=0&allow_ddl=1"])
def test_a_reader_cannot_write_reach_out_or_escalate(http: Client, sql: str, settings: str) -> None:
    status, text = http.send(sql, user="reader", path=f"/{settings}")
    assert 400 <= status < 500, text
    assert "root:" not in text
    assert not Path("/tmp/driftline-reader").exists()  # noqa: S108
    assert http.send("EXISTS TABLE annotations")[1] == "1\n"
    assert http.send("SELECT count() FROM annotations")[1] == "0\n"


@pytest.mark.parametrize("path", ["/?database=system", "/?dialect=prql", "/?database=information_schema"])
def test_a_reader_cannot_change_what_names_mean(http: Client, path: str) -> None:
    assert http.send("SELECT 1", user="reader", path=path)[0] == 403


def test_a_refusal_names_the_user_and_the_reason(http: Client) -> None:
    expected = "Code: 497. DB::Exception: a reader may not use the function file. (ACCESS_DENIED)\n"
    assert http.send("SELECT file('/etc/passwd')", user="reader") == (403, expected)


def test_clickhouse_connect_reads_as_the_reader(note: Note) -> None:
    client = clickhouse_connect.get_client(
        host=note.host, port=note.port, username="reader", password=note.reader_token, autogenerate_session_id=False
    )
    try:
        assert client.query("SELECT number FROM numbers(3) WHERE number > {n:UInt8}", {"n": 0}).result_rows == [
            (1,),
            (2,),
        ]
    finally:
        client.close()


def test_clickhouse_go_is_greeted_with_revision_zero(http: Client) -> None:
    path = "/?client_protocol_version=54460&default_format=Native"
    connection = HTTPConnection(http.note.host, http.note.port, timeout=20)
    headers = {"X-ClickHouse-User": "reader", "X-ClickHouse-Key": http.note.reader_token}
    connection.request("POST", path, "SELECT displayName(), version(), revision(), timezone()", headers)
    body = connection.getresponse().read()
    connection.close()

    assert body[:8] == b"\x01\x00\x02\xff\xff\xff\xff\x00"  # block info: not overflowed, no bucket
    assert body[8:10] == b"\x04\x01"  # four columns, one row
    assert b"\x0arevision()\x06UInt32\x00\x00\x00\x00\x00" in body


def test_many_requests_at_once_are_all_answered(http: Client) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: http.send(f"SELECT {n}, sleep(0.01)"), range(64)))
    assert answers == [(200, f"{n}\t0\n") for n in range(64)]
