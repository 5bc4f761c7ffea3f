"""Whether every event of the log stands in the store exactly once, and mending what does not."""
