"""Counting every event of the log exactly once, into the store."""
