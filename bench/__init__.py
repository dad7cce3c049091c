"""Sidegate against the proxies people would otherwise use: `make bench`. Results: docs/performance.md."""
