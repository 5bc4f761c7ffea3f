"""Faults on purpose: a seeded load whose truth is known beforehand, what goes wrong meanwhile, and the comparison."""
