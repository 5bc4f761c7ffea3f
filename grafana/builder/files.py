"""The generated files: their paths, their bytes, and whether the committed ones are still those."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from grafana.builder.overview import overview
from grafana.builder.panels import Json
from grafana.builder.provisioning import DASHBOARDS_YAML, DATASOURCE_TLS_YAML, DATASOURCE_YAML


def dashboards() -> list[Json]:
    """Return every dashboard that driftline ships."""
    return [overview()]


def generated_files() -> Mapping[str, str]:
    """Return the text of each generated file by its path below ``grafana/``."""
    files = {
        f"dashboards/{_file_name(item)}": json.dumps(item, indent=2, ensure_ascii=False) + "\n" for item in dashboards()
    }
    return files | {
        "provisioning/datasources/clickhouse.yaml": DATASOURCE_YAML,
        "provisioning/datasources-tls/clickhouse.yaml": DATASOURCE_TLS_YAML,
        "provisioning/dashboards/driftline.yaml": DASHBOARDS_YAML,
    }


def write_files(root: Path) -> list[Path]:
    """Write the generated files below ``root`` and return those that changed."""
    changed = stale_files(root)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(generated_files()[path.relative_to(root).as_posix()], encoding="utf-8")
    return changed


def stale_files(root: Path) -> list[Path]:
    """Return the paths below ``root`` that are missing or hold something else than the builder makes."""
    return [root / name for name, text in generated_files().items() if _text(root / name) != text]


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _file_name(dashboard: Json) -> str:
    return str(dashboard["uid"]).removeprefix("driftline-") + ".json"
