"""Official months: fetched once, resumed where the line broke, checked by their hash.

The hash of a month is known here, or else recorded beside the file at its first download.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pooch
import requests

from driftline.errors import InputDataError, StoreNotWritable, UsageError
from producers.tlc import content_hash

OFFICIAL_URL = "https://d37ci6vzurychx.cloudfront.net/trip-data"
KNOWN_SHA256: Mapping[str, str] = {
    "green_tripdata_2023-01.parquet": "9f0e03dd7f8f94ecc15949cdbfd2a4e1fc9ebb41a11882215158c9fc95012e31",
    "green_tripdata_2023-02.parquet": "bcc2821d639197cbb09aeb8994121a7004f2a6568a64bf4839015db802f62743",
}
_MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])")
_CHUNK_BYTES = 64 * 1024
_TIMEOUT_SECONDS = 30
_INSTEAD = "or make a month with `driftline data simulate --days 31 --seed 1`"

Color = Literal["green", "yellow"]
OnBytes = Callable[[int, int], None]


def default_folder() -> Path:
    """Return the user's cache folder for months."""
    return Path(pooch.os_cache("driftline"))


def fetch_month(
    month: str,
    color: Color,
    folder: Path,
    base_url: str = OFFICIAL_URL,
    on_bytes: OnBytes = lambda _done, _total: None,
) -> Path:
    """Return the file of ``month`` (``2023-01``) in ``folder``, downloading what of it is not there yet.

    ``on_bytes`` is told the bytes had and the bytes expected (0 when the server does not say).

    Raises:
        UsageError: ``month`` is not a month.
        InputDataError: the server cannot be reached, has no such month, or sends other bytes than recorded.
        StoreNotWritable: the folder cannot be written.
    """
    if not _MONTH.fullmatch(month):
        msg = f"`--month` must be a year and a month such as 2023-01; got {month}"
        raise UsageError(msg)
    name = f"{color}_tripdata_{month}.parquet"
    url = f"{base_url.rstrip('/')}/{name}"
    try:
        pooch.get_logger().setLevel("WARNING")
        pooch.retrieve(url, _expected(folder, name), name, folder, downloader=_Resuming(folder / name, on_bytes))
        _record(folder, name)
    except requests.HTTPError as error:
        answer = "an error" if error.response is None else error.response.status_code
        msg = f"{url}: the server answered {answer}; check that the month is published, {_INSTEAD}"
        raise InputDataError(msg) from error
    except requests.RequestException as error:
        msg = f"{url}: cannot be fetched ({type(error).__name__}); check the network and try again, {_INSTEAD}"
        raise InputDataError(msg) from error
    except ValueError as error:
        expected = _expected(folder, name)
        msg = f"{url}: sha256 must be {expected}; the server sends another file; try again, {_INSTEAD}"
        raise InputDataError(msg) from error
    except OSError as error:
        msg = f"{folder}: cannot be written: {error.strerror or error}; free space, or choose another --to"
        raise StoreNotWritable(msg) from error
    return folder / name


def _expected(folder: Path, name: str) -> str | None:
    record = _record_path(folder, name)
    if name in KNOWN_SHA256:
        return KNOWN_SHA256[name]
    return record.read_text().split()[0] if record.exists() else None


def _record(folder: Path, name: str) -> None:
    record = _record_path(folder, name)
    if not record.exists():
        record.write_text(f"{content_hash(folder / name)}  {name}\n")


def _record_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.sha256"


@dataclass(frozen=True, slots=True)
class _Resuming:
    """A downloader for pooch that goes on where an earlier attempt stopped."""

    target: Path
    on_bytes: OnBytes

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        partial = self.target.with_name(self.target.name + ".partial")
        had = partial.stat().st_size if partial.exists() else 0
        headers = {"Range": f"bytes={had}-"} if had else {}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
            if response.status_code != requests.codes.requested_range_not_satisfiable:  # else: all of it is here
                response.raise_for_status()
                self._append(response, partial, had if response.status_code == requests.codes.partial_content else 0)
        shutil.move(partial, output_file)

    def _append(self, response: requests.Response, partial: Path, had: int) -> None:
        total = had + int(response.headers.get("Content-Length", 0))
        with partial.open("ab" if had else "wb") as file:
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                had += len(chunk)
                self.on_bytes(had, total)
