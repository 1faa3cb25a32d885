"""Expected time of a run with an embedded policy: operations as the forecast counts them, at rates measured once and
kept in bench/ask/presets/timing.json. Rough by nature."""

from bench.ask.presets import timing
from bench.benchmarks.evaluation import Evaluation
from bench.cost.forecast import Card, Forecast
from bench.cost.outline import Outline
from htgrpo.base.prompts import Prompt
from htgrpo.training.train_config import TrainConfig, make_method, parse_budgets


class Measured:
    """Expected seconds on one core. prompts: of training. uncounted: methods that could not be, with the reason."""

    def __init__(self, outline: Outline, prompts: list[Prompt]):
        self.forecast, self.measured = Forecast(outline, Card.find(None), prompts, "cpu"), timing()
        self.uncounted: dict[str, str] = {}

    def _seconds(self, rate: str, flop: float) -> float:
        return flop / (1e9 * float(self.measured["gflops"][rate]))

    def _iteration(self, config: TrainConfig) -> tuple[float, float]:
        """(forwards, seconds) of one iteration; (1, 0) where a method cannot be counted: a plan is no reason to end, and
        what is wrong stands in `basis`, and its own training will say it again."""
        measured = self.measured
        try:
            cost, forwards = self.forecast.training(config), make_method(config).forwards
        except Exception as error:
            self.uncounted[config.method] = str(error) or type(error).__name__
            return 1.0, 0.0
        if cost is None:
            return float(forwards), self._seconds("learn", forwards * self.forecast.sequence())
        images = config.prompts_per_iteration * config.group_size
        seconds = self._seconds("sample", cost.sampling) + self._seconds("learn", cost.flop - cost.sampling)
        seconds += cost.steps * measured["seconds_per_step"] + images * measured["seconds_per_reward"]
        return float(sum(cost.forwards.values())), seconds

    def train_seconds(self, config: TrainConfig, spent: int = 0) -> float:
        """What is left of one training. spent: forwards so far."""
        each, seconds = self._iteration(config)
        wanted = max(b.amount if b.kind == "forwards" else b.amount * each for b in parse_budgets(config.budget))
        return max(0.0, wanted - spent) / each * seconds

    def evaluate_seconds(self, evaluation: Evaluation, generated: bool = False) -> float:
        """Making (unless `generated`) and judging the pictures of one policy, or asking it."""
        measured, items = self.measured, len(evaluation.items)
        if evaluation.of_policy:
            return measured["seconds_to_start_text"] + items * measured["seconds_per_document"]
        made = 0.0 if generated else self._seconds("sample", self.forecast.picture(evaluation.values).flop)
        return items * (measured["seconds_per_image"] + made)

    def basis(self) -> str:
        """What expected times rest on, and which trainings they leave out."""
        without = "".join(f"; without {name}, which cannot be counted: {why}" for name, why in self.uncounted.items())
        return f"operations, at rates measured on {self.measured['machine']}{without}"
