"""Expected time of a run, from seconds measured once and kept in bench/ask/presets/timing.json. Rough by nature."""

from bench.ask.presets import timing
from bench.benchmarks.evaluation import Evaluation
from htgrpo.training.train_config import TrainConfig, parse_budgets


def train_seconds(config: TrainConfig, spent: int = 0) -> float:
    """Expected seconds of what is left of one training at the embedded size, on one core. spent: forwards so far."""
    measured = timing()
    per_iteration = measured["forwards_per_iteration"].get(config.method, measured["other_forwards_per_iteration"])
    per_iteration *= config.group_size * config.prompts_per_iteration / measured["images_per_iteration"]
    budgets = parse_budgets(config.budget)
    forwards = max(budget.amount if budget.kind == "forwards" else budget.amount * per_iteration for budget in budgets)
    per_forward = measured["seconds_per_forward"].get(config.method, measured["other_seconds_per_forward"])
    return max(0.0, forwards - spent) * per_forward


def evaluate_seconds(evaluation: Evaluation, generated: bool = False) -> float:
    """Expected seconds to make (unless `generated`) and judge the pictures of one policy, or to ask it."""
    measured = timing()
    if evaluation.of_policy:
        return measured["seconds_to_start_text"] + len(evaluation.items) * measured["seconds_per_document"]
    steps = evaluation.values["steps"] * (2 if evaluation.values["guidance"] else 1)
    each = measured["seconds_per_image"] + (0.0 if generated else steps * measured["seconds_per_image_step"])
    return len(evaluation.items) * each


def basis() -> str:
    """What expected times rest on."""
    return f"measured on {timing()['machine']}"


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
