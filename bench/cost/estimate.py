"""Expected time of a run, from seconds measured once and kept in bench/ask/presets/timing.json. Rough by nature."""

from dataclasses import dataclass

from bench.ask.presets import timing
from bench.benchmarks.evaluation import Evaluation
from htgrpo.base.registry import METHODS
from htgrpo.training.train_config import TrainConfig, parse_budgets


@dataclass(frozen=True)
class Measured:
    """Expected seconds on one core with an embedded policy, whose backbone decides how long a forward takes."""

    backbone: str

    @property
    def pace(self) -> float:
        """Seconds of a forward, against the tiny world's."""
        return float(timing()["pace"].get(self.backbone, 1.0))

    def train_seconds(self, config: TrainConfig, spent: int = 0) -> float:
        """What is left of one training. spent: forwards so far."""
        measured = timing()
        images = config.group_size * config.prompts_per_iteration
        per_iteration = measured["forwards_per_iteration"].get(config.method, measured["other_forwards_per_iteration"])
        per_iteration *= images / measured["images_per_iteration"]
        if METHODS.get(config.method).rewarded:  # others have no rollouts
            per_iteration += images * (_forwards(config.steps, config.guidance) - measured["steps"])
        budgets = parse_budgets(config.budget)
        left = max(one.amount if one.kind == "forwards" else one.amount * per_iteration for one in budgets) - spent
        per_forward = measured["seconds_per_forward"].get(config.method, measured["other_seconds_per_forward"])
        return max(0.0, left) * per_forward * self.pace

    def evaluate_seconds(self, evaluation: Evaluation, generated: bool = False) -> float:
        """Making (unless `generated`) and judging the pictures of one policy, or asking it."""
        measured = timing()
        if evaluation.of_policy:
            return measured["seconds_to_start_text"] + len(evaluation.items) * measured["seconds_per_document"]
        forwards = _forwards(evaluation.values["steps"], evaluation.values["guidance"])
        each = 0.0 if generated else forwards * measured["seconds_per_image_step"] * self.pace
        return len(evaluation.items) * (measured["seconds_per_image"] + each)

    def basis(self) -> str:
        """What expected times rest on."""
        return f"measured on {timing()['machine']}"


def _forwards(steps: int, guidance: float) -> int:
    """Of one picture."""
    return steps * (2 if guidance else 1)


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
