"""Is another version better: paired on the same requests, or apart where traffic is split."""
