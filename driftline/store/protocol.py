"""ClickHouse's HTTP protocol: what a request asks for, and how an answer or a refusal is written.

Pure: knows neither sockets nor the engine. Covers what clickhouse-connect, clickhouse-go (and so
Grafana's data source) and curl send. Not supported, and refused: sessions, external tables,
ClickHouse's own block compression (``compress=1``).
"""

from __future__ import annotations

import base64
import binascii
import gzip
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP

from lz4 import frame as lz4_frame  # type: ignore[import-untyped]

# URL parameters that the protocol itself consumes; every other one is a setting of the engine.
_OWN = frozenset(
    "query database default_format user password query_id quota_key compress decompress buffer_size wait_end_of_query "
    "stacktrace client_protocol_version enable_http_compression http_zlib_compression_level "
    "send_progress_in_http_headers http_headers_progress_interval_ms add_http_cors_header".split()
)
_UNSUPPORTED = ("session_id", "session_timeout", "session_check", "role")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
# An INSERT whose data follow in the same text: nothing else may stand before FORMAT.
_INLINE_INSERT = re.compile(
    rb"(\s*INSERT\s+INTO\s+(?:(?!\b(?:VALUES|SELECT|WITH|FROM)\b|').)*?)\bFORMAT[ \t]+(\w+)[ \t]*\r?\n", re.I | re.S
)
_INSERT_HEAD = re.compile(rb"(\s*INSERT\s+INTO\s+.*?)\bFORMAT\s+(\w+)\s*;?\s*\Z", re.I | re.S)
_HANDSHAKE = "SELECT displayName(), version(), revision(), timezone()"
_STATUS = {46: 404, 60: 404, 81: 404, 159: 408, 164: 403, 241: 507, 243: 507, 497: 403, 516: 403}


class Refused(Exception):
    """An answer other than 200, with ClickHouse's error ``code``."""

    def __init__(self, code: int, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status or _STATUS.get(code, 500 if code in (0, 1001, 1002) else 400)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: ``data`` (in ``data_format``) are the rows of an INSERT, None for anything else."""

    sql: str
    data: bytes | None = None
    data_format: str = ""
    database: str = ""
    output_format: str = "TabSeparated"
    parameters: Mapping[str, str] | None = None
    settings: Mapping[str, str] | None = None
    is_handshake: bool = False


def credentials(headers: Mapping[str, str], url: Mapping[str, str]) -> tuple[str, str]:
    """Return user and password, from the X-ClickHouse headers, Basic authorization or the URL, in this order."""
    if "x-clickhouse-user" in headers:
        return headers["x-clickhouse-user"], headers.get("x-clickhouse-key", "")
    kind, _, encoded = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    return url.get("user", ""), url.get("password", "")


def parse_statement(headers: Mapping[str, str], url: Mapping[str, str], body: bytes) -> Statement:
    """Return what the request asks for.

    Raises:
        Refused: the request is malformed or uses what is not supported.
    """
    body = _decompressed(body, headers.get("content-encoding", ""))
    content_type = headers.get("content-type", "")
    if content_type.startswith("multipart/"):
        url, body = {**url, **_form_fields(content_type, body)}, b""
    _refuse_unsupported(url)
    sql, data, data_format = _split(url.get("query", "").encode(), body)
    return Statement(
        sql=sql,
        data=data,
        data_format=data_format,
        database=url.get("database") or headers.get("x-clickhouse-database", ""),
        output_format=url.get("default_format") or headers.get("x-clickhouse-format", "") or "TabSeparated",
        parameters={key[6:]: value for key, value in url.items() if key.startswith("param_")},
        settings={key: value for key, value in url.items() if key not in _OWN and not key.startswith("param_")},
        is_handshake=sql.strip().rstrip(";") == _HANDSHAKE and "client_protocol_version" in url,
    )


def handshake(name: str, version: str, timezone: str) -> bytes:
    """Return the row that clickhouse-go opens with, as a server sends it to a client of a recent revision.

    The revision reported is 0: chDB writes Native blocks of revision 0, and clickhouse-go decodes all
    later blocks as the revision reported here.
    """
    columns = (
        ("displayName()", "String", _string(name)),
        ("version()", "String", _string(version)),
        ("revision()", "UInt32", struct.pack("<I", 0)),
        ("timezone()", "String", _string(timezone)),
    )
    block_info = b"\x01\x00\x02" + struct.pack("<i", -1) + b"\x00"
    cells = b"".join(_string(column) + _string(kind) + b"\x00" + cell for column, kind, cell in columns)
    return block_info + _varint(len(columns)) + _varint(1) + cells


def _split(query: bytes, body: bytes) -> tuple[str, bytes | None, str]:
    if query and body and (head := _INSERT_HEAD.match(query)):
        return _text(head[1]), body, head[2].decode()
    whole = b"\n".join(part for part in (query, body) if part)
    if inline := _INLINE_INSERT.match(whole):
        return _text(inline[1]), whole[inline.end() :], inline[2].decode()
    if not whole.strip():
        raise Refused(62, "Code: 62. DB::Exception: Empty query. (SYNTAX_ERROR)")
    return _text(whole), None, ""


def _text(sql: bytes) -> str:
    try:
        return sql.decode()
    except UnicodeDecodeError as error:
        msg = f"Code: 62. DB::Exception: the statement is not UTF-8: {error.reason}. (SYNTAX_ERROR)"
        raise Refused(62, msg) from error


def _refuse_unsupported(url: Mapping[str, str]) -> None:
    for name in url:
        if not _NAME.match(name):
            raise Refused(115, f"Code: 115. DB::Exception: Unknown setting {name[:100]!r}. (UNKNOWN_SETTING)")
        if name in _UNSUPPORTED:
            raise Refused(48, f"Code: 48. DB::Exception: driftline's endpoint has no {name}. (NOT_IMPLEMENTED)")
    if url.get("compress") == "1" or url.get("decompress") == "1":
        text = "driftline's endpoint has no block compression; use gzip or none"
        raise Refused(48, f"Code: 48. DB::Exception: {text}. (NOT_IMPLEMENTED)")


def _form_fields(content_type: str, body: bytes) -> dict[str, str]:
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields = {}
    for part in message.iter_parts():
        if part.get_filename() is not None:
            raise Refused(48, "Code: 48. DB::Exception: driftline's endpoint has no external tables. (NOT_IMPLEMENTED)")
        content = part.get_payload(decode=True)
        name = part.get_param("name", header="content-disposition")
        fields[str(name)] = _text(content) if isinstance(content, bytes) else ""
    return fields


def _decompressed(body: bytes, encoding: str) -> bytes:
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress, "lz4": lz4_frame.decompress}
    if encoding in ("", "identity"):
        return body
    if encoding not in unpack:
        msg = f"Code: 432. DB::Exception: no content encoding {encoding[:20]!r}; use gzip, lz4 or none. (UNKNOWN_CODEC)"
        raise Refused(432, msg, 415)
    try:
        return bytes(unpack[encoding](body))
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error) as error:
        msg = f"Code: 354. DB::Exception: the body is not {encoding}: {error}. (ZLIB_INFLATE_FAILED)"
        raise Refused(354, msg, 400) from error


def _string(value: str) -> bytes:
    return _varint(len(value.encode())) + value.encode()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
