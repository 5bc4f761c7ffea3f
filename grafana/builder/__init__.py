"""Generates the dashboards and provisioning files that are committed beside it."""

from grafana.builder.files import generated_files, stale_files, write_files
from grafana.builder.lint import lint_dashboard

__all__ = ["generated_files", "lint_dashboard", "stale_files", "write_files"]
