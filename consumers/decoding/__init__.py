"""Strangers' bytes to typed columns: what is an event, what is a violation, what is a dead letter."""
