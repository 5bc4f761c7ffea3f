"""Dashboards: what generates them, the generated files, and a page that draws them without Grafana."""
