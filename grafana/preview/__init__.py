"""The dashboards on a page of their own: the JSON that Grafana gets, drawn on the store without a Grafana server."""

from grafana.preview.app import create_app, packaged_dashboards
from grafana.preview.server import PreviewServer, serve

__all__ = ["PreviewServer", "create_app", "packaged_dashboards", "serve"]
