"""Monitor files that ship with driftline."""
