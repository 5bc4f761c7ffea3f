"""Benchmarks: driftline beside its peers, in one run, with the same answers demanded of both."""
