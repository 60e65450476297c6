"""Ours against what one would write or pick without it: one file a comparison, run by ``python -m benchmarks``."""
