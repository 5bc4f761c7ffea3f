"""`driftline dashboards`: write the generated files of Grafana, or say that they are stale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from driftline.errors import CheckFailedError

app = typer.Typer(help="Generate Grafana's dashboards and provisioning files.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--to", help="Folder of the files; as in a checkout by default.")]


@app.command("build")
def build(folder: Folder = Path("grafana")) -> None:
    """Write the files that differ from what the builder makes."""
    from grafana.builder import write_files

    changed = write_files(folder)
    for path in changed:
        typer.echo(f"wrote {path}")
    if not changed:
        typer.echo(f"{folder} is up to date")


@app.command("check")
def check(folder: Folder = Path("grafana")) -> None:
    """Exit with 1 where a file is stale or a dashboard breaks a rule."""
    from grafana.builder import lint_dashboard, stale_files
    from grafana.builder.files import dashboards

    problems = [f"{path} is not what the builder makes; run driftline dashboards build" for path in stale_files(folder)]
    problems += [f"{item['uid']}: {problem}" for item in dashboards() for problem in lint_dashboard(item)]
    if problems:
        raise CheckFailedError("\n".join(problems))
    typer.echo(f"{len(dashboards())} dashboards, no problems")
