"""Models of upstream accounts: limits, caches, latency, faults. No policy may import them."""
