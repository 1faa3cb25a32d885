"""Benchmarks: prompts, and the rule that turns findings on a picture into a verdict."""
