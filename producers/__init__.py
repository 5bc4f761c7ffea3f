"""Producing events: historical trips, a simulator, the example models, replay."""
