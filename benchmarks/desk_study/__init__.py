"""Shared parts of the studies that train models of the demo's support desk: staging, cached trials, intervals."""
