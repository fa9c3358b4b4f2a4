"""Runs every scenario with every policy, writes the report, and ends with one JSON line. `SEED=n` sets the seed."""

from __future__ import annotations

from benchmarks.routing.bench import main

if __name__ == "__main__":
    main()
