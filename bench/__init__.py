"""The benchmark runner: train, generate, score, report, compare."""
