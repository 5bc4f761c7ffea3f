"""What all processes of driftline share: contract, events, transport, store, windows."""
