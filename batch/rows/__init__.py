"""Rows of completed windows out of the store, each prediction with its latest label."""
