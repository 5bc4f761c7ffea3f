"""How wrong the model probably is before its labels have come, and what those that came make of it."""
