"""Expected time of several jobs, and times in words."""

from bench.ask.presets import timing


def wall_seconds(jobs: list[float], at_once: int) -> float:
    """Expected seconds until the last of `jobs` (seconds each) ends when the longest start first, `at_once`
    together."""
    measured = timing()
    lanes = [0.0] * at_once
    for seconds in sorted(jobs, reverse=True):
        lanes[lanes.index(min(lanes))] += seconds + measured["seconds_to_start_a_job"]
    return max(lanes) + measured["seconds_for_the_report"]


def in_words(seconds: float) -> str:
    """`40 s`, `6 min`, `1.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
