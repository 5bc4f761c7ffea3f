"""Judging completed windows: data, drift and quality, with late labels."""
