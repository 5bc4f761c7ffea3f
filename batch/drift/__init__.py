"""Has the data drifted: distances, shifts and a classifier against the reference."""
