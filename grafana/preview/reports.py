"""Evidently's pages beside the dashboards: a list of them, and each in a sandbox of its own.

The pages are drawn by somebody else's code from values that come from events. They are made harmless when they are
drawn (``batch.reports.neutral``); here the browser is told to run them without an origin, network or storage all the
same.
"""

from __future__ import annotations

import gzip
import hashlib
import html
from pathlib import Path
from typing import Any

import msgspec
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from driftline.store import Store

_SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Reports · driftline</title>
<link rel="icon" href="/static/icon.svg"><style>
body {{ font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; width: 100% }} th, td {{ text-align: left; padding: .3em .8em .3em 0;
border-bottom: 1px solid #ddd; vertical-align: top }} td.n {{ text-align: right }} ul {{ margin: 0; padding-left: 1em }}
</style></head><body><h1>Reports</h1><p><a href="/">Dashboards</a></p>{body}</body></html>"""
_TABLE = """<table><thead><tr><th>model</th><th>window (UTC)</th><th></th><th>version</th><th>rows</th>
<th>reference</th><th>failing checks</th><th>left out</th><th>written (UTC)</th></tr></thead>
<tbody>{rows}</tbody></table>"""


def index(store: Store) -> HTMLResponse:
    """Return the list of all reports, the newest window first."""
    rows = store.query(_LIST)
    table = _TABLE.format(rows="".join(_line(row) for row in rows))
    hint = "<p>No reports yet. <code>driftline report 2023-02-14</code> draws one.</p>"
    return HTMLResponse(_PAGE.format(body=table if rows else hint), headers={"Cache-Control": "no-store"})


def page(store: Store, folder: Path | None, path: str, *, zipped: bool) -> Response:
    """Return the report of that path as it was written, zipped where the browser takes it."""
    rows = store.query("SELECT path, sha256 FROM reports FINAL WHERE path = {path:String} LIMIT 1", {"path": path})
    if not rows:
        return _missing("there is no report of this name; see /reports/")
    # The name is one that the store has; a file elsewhere is none of ours.
    file = None if folder is None else (folder / f"{rows[0]['path']}.gz").resolve()
    if folder is None or file is None or not file.is_relative_to(folder.resolve()) or not file.is_file():
        return _missing("this report's file is not on this machine; draw it again with `driftline report WINDOW`")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != rows[0]["sha256"]:
        return _missing("this report's file is not the one that was written; draw it again")
    headers = {"Content-Security-Policy": _SANDBOX, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if zipped:
        return HTMLResponse(content, headers={**headers, "Content-Encoding": "gzip"})
    return HTMLResponse(gzip.decompress(content), headers=headers)


def _line(row: dict[str, Any]) -> str:
    shown = {name: html.escape(str(value)) for name, value in row.items()}
    left_out = "".join(
        f"<li>{html.escape(name)}: {html.escape(reason)}</li>"
        for name, reason in sorted(msgspec.json.decode(row["left_out"], type=dict[str, str]).items())
    )
    return (
        f'<tr><td>{shown["model"]}</td><td><a href="/reports/{shown["path"]}">{row["window_start"]:%Y-%m-%d %H:%M}</a>'
        f"</td><td>{shown['granularity']}</td><td>{shown['model_version']}</td><td class=n>{row['n_rows']:,}</td>"
        f"<td>{shown['reference_id']}</td><td class=n>{shown['failing']}</td><td><ul>{left_out}</ul></td>"
        f"<td>{row['created']:%Y-%m-%d %H:%M}</td></tr>"
    )


def _missing(text: str) -> Response:
    return PlainTextResponse(f"{text}\n", 404)


_LIST = """
    SELECT r.model AS model, r.model_version AS model_version, r.granularity AS granularity,
        r.window_start AS window_start, r.path AS path, r.n_rows AS n_rows, r.left_out AS left_out,
        r.reference_id AS reference_id, r.created AS created, ifNull(c.failing, 0) AS failing
    FROM reports AS r FINAL
    LEFT JOIN (SELECT report, countIf(status = 'fail') AS failing FROM checks WHERE report != '' GROUP BY report) AS c
        ON c.report = concat('/reports/', r.path)
    ORDER BY window_start DESC, model, granularity, model_version
"""
