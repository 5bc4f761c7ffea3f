"""Schema files of the store."""
