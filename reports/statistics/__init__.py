"""Intervals and tests for means over prompts and training seeds; knows nothing of runs."""
