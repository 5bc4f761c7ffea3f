"""Fetching months from a server on loopback that knows ranges and can break off."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from driftline.errors import InputDataError, UsageError
from producers.download import KNOWN_SHA256, fetch_month
from producers.tlc import content_hash

NAME = "green_tripdata_2022-05.parquet"
BODY = bytes(range(256)) * 2_000
INSTEAD = "or make a month with `driftline data simulate --days 31 --seed 1`"


@dataclass
class MonthServer:
    """Serves ``files``; breaks off each answer after ``cut`` bytes when set."""

    files: dict[str, bytes]
    ranges: list[str | None] = field(default_factory=list)
    cut: int | None = None
    url: str = ""


@pytest.fixture
def server() -> Iterator[MonthServer]:
    state = MonthServer({NAME: BODY})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = state.files.get(self.path.removeprefix("/months/"))
            if body is None:
                self.send_error(403)
                return
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            self.send_response(416 if first >= len(body) else 206 if asked else 200)
            self.send_header("Content-Length", str(len(body) - first))
            self.end_headers()
            self.wfile.write(body[first:][: state.cut])

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}/months"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_month_is_fetched_once_and_its_hash_recorded(tmp_path: Path, server: MonthServer) -> None:
    path = fetch_month("2022-05", "green", tmp_path, server.url)
    assert path.read_bytes() == BODY
    assert (tmp_path / f"{NAME}.sha256").read_text() == f"{hashlib.sha256(BODY).hexdigest()}  {NAME}\n"
    assert fetch_month("2022-05", "green", tmp_path, server.url) == path
    assert len(server.ranges) == 1


def test_progress_counts_the_bytes(tmp_path: Path, server: MonthServer) -> None:
    seen: list[tuple[int, int]] = []
    fetch_month("2022-05", "green", tmp_path, server.url, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(BODY), len(BODY))
    assert len(seen) > 1


def test_a_download_that_broke_off_goes_on_where_it_stopped(tmp_path: Path, server: MonthServer) -> None:
    server.cut = 100_000
    with pytest.raises(InputDataError) as caught:
        fetch_month("2022-05", "green", tmp_path, server.url)
    assert str(caught.value) == (
        f"{server.url}/{NAME}: cannot be fetched (ChunkedEncodingError); check the network and try again, {INSTEAD}"
    )
    had = (tmp_path / f"{NAME}.partial").stat().st_size
    assert 0 < had <= 100_000
    server.cut = None
    assert fetch_month("2022-05", "green", tmp_path, server.url).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={had}-"]


def test_bytes_that_were_all_there_before_are_taken(tmp_path: Path, server: MonthServer) -> None:
    (tmp_path / f"{NAME}.partial").write_bytes(BODY)
    assert fetch_month("2022-05", "green", tmp_path, server.url).read_bytes() == BODY


def test_another_file_than_recorded_is_refused(tmp_path: Path, server: MonthServer) -> None:
    path = fetch_month("2022-05", "green", tmp_path, server.url)
    path.write_bytes(b"rotten")
    server.files[NAME] = b"another month"
    with pytest.raises(InputDataError) as caught:
        fetch_month("2022-05", "green", tmp_path, server.url)
    expected = hashlib.sha256(BODY).hexdigest()
    assert str(caught.value) == (
        f"{server.url}/{NAME}: sha256 must be {expected}; the server sends another file; try again, {INSTEAD}"
    )


def test_a_cached_file_that_rotted_is_fetched_again(tmp_path: Path, server: MonthServer) -> None:
    path = fetch_month("2022-05", "green", tmp_path, server.url)
    path.write_bytes(b"rotten")
    assert fetch_month("2022-05", "green", tmp_path, server.url).read_bytes() == BODY


def test_a_known_month_must_have_the_known_bytes(tmp_path: Path, server: MonthServer) -> None:
    name = "green_tripdata_2023-01.parquet"
    server.files[name] = b"not january"
    with pytest.raises(InputDataError) as caught:
        fetch_month("2023-01", "green", tmp_path, server.url)
    assert str(caught.value) == (
        f"{server.url}/{name}: sha256 must be {KNOWN_SHA256[name]}; the server sends another file; try again, {INSTEAD}"
    )


def test_a_month_that_is_not_published_is_told(tmp_path: Path, server: MonthServer) -> None:
    with pytest.raises(InputDataError) as caught:
        fetch_month("2031-01", "yellow", tmp_path, server.url)
    assert str(caught.value) == (
        f"{server.url}/yellow_tripdata_2031-01.parquet: the server answered 403; "
        f"check that the month is published, {INSTEAD}"
    )


def test_without_a_network_simulation_is_offered(tmp_path: Path, server: MonthServer) -> None:
    nobody = "http://127.0.0.1:9"
    with pytest.raises(InputDataError) as caught:
        fetch_month("2022-05", "green", tmp_path, nobody)
    assert str(caught.value) == (
        f"{nobody}/{NAME}: cannot be fetched (ConnectionError); check the network and try again, {INSTEAD}"
    )


@pytest.mark.parametrize("month", ["2023-13", "2023-1", "january", "../../etc/passwd"])
def test_what_is_no_month_is_told(tmp_path: Path, month: str) -> None:
    with pytest.raises(UsageError) as caught:
        fetch_month(month, "green", tmp_path)
    assert str(caught.value) == f"`--month` must be a year and a month such as 2023-01; got {month}"


def test_known_hashes_are_those_of_the_real_files(real_months: tuple[Path, Path]) -> None:
    assert {path.name: content_hash(path) for path in real_months} == KNOWN_SHA256
