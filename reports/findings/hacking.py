"""Reward hacking: what was trained on against what was not, from the starting policy to the end of training."""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from htgrpo.base.records import BASE
from htgrpo.training.rewards import parse_weights
from reports.findings.analysis import Result
from reports.findings.diversity import TITLE as DIVERSITY
from reports.findings.health import WINDOW, trend
from reports.findings.vouching import Seen, Verdict, in_deviations, role, verdicts
from reports.format import amount, bounds, number
from reports.run.load import Run, titled
from reports.statistics.stats import Interval

REWARD_NOTE = (
    "The trained reward is that of the training prompts. Start: the starting policy's own, of the first iteration, before "
    "anything is trained; end: mean of the last quarter of the iterations; change: from the first quarter to the last, with its "
    "interval, since one iteration alone says little. Every other row is what was not trained on: the starting policy, "
    "the final one, and their difference as in the tables above. A warning stands where the reward rose, resolved, and such a "
    "score, or the diversity, resolved for the worse; and where the diversity fell, resolved, below 80 % of the starting policy's."
)
COLLAPSE = 0.8
RESOLVED = {
    "better": "up, resolved",
    "worse": "down, resolved",
    "equal": "equal",
    "unresolved": "unresolved",
    "no claim": "no claim",
}


@dataclass(frozen=True)
class Move:
    """One measure of one method. start, end: at the starting policy and at the end; change: end - start with its
    interval; worse: whether it resolved for the worse; trained: whether it was trained on; seen: the same of a benchmark, as
    reports.findings.vouching takes it."""

    measure: str
    start: float
    end: float
    change: Interval
    word: str
    scale: float = 1.0
    worse: bool = False
    trained: bool = False
    seen: Seen | None = None

    @property
    def collapsed(self) -> bool:
        """Whether this is the diversity, and it fell, resolved, below COLLAPSE of the starting policy's."""
        return self.measure.startswith(DIVERSITY) and self.worse and self.end < COLLAPSE * self.start

    @property
    def cells(self) -> list[str]:
        """start, end, change, interval and word as text."""
        scale = self.scale
        return [
            number(self.start, scale),
            number(self.end, scale),
            number(self.change.estimate, scale, True),
            bounds(self.change, scale, True),
            self.word,
        ]


@dataclass
class Moves:
    """All measures of one method; rewards: what it was trained on, as the configuration has it."""

    method: str
    rewards: str
    moves: list[Move] = field(default_factory=list)

    @property
    def reward(self) -> Move | None:
        """The trained reward, where there is one."""
        return next((move for move in self.moves if move.trained and move.measure == "trained reward"), None)

    @property
    def names(self) -> list[str]:
        """The rewards that were trained on."""
        return [part.rpartition(" ")[2] for part in self.rewards.split(" + ") if part]

    @property
    def verdicts(self) -> list[Verdict]:
        """What is said of every judge that was not trained on and may vouch for the reward or guard quality. Where one
        reward alone was trained on and scored as a benchmark too, that counts, on the judges' own prompts; else the rise
        along training, which of several rewards is that of their weighted sum: no part of it speaks for the whole."""
        alone = len(self.names) == 1
        seen = [move.seen for move in self.moves if alone and move.trained and move.seen and move.seen.gain.known]
        scored = min(
            seen, key=lambda one: one.judge not in self.names, default=None
        )  # not what only reads it otherwise
        reward = scored.gain if scored else self.reward.change if self.reward else None
        return verdicts(reward, [move.seen for move in self.moves if move.seen]) if reward is not None else []

    @property
    def warnings(self) -> list[str]:
        """A sentence for each measure that fell while the reward rose, and for pictures that became alike whatever it
        did."""
        reward = self.reward
        if reward is None or not reward.change.low > 0:
            return [f"{self.method}: {_fell(move)}." for move in self.moves if move.collapsed]
        rose = f"{self.method}: the trained reward rose from {amount(reward.start, 3)} to {amount(reward.end, 3)}"
        return [f"{rose}, but {_fell(move)}." for move in self.moves if move.worse and not move.trained]


def _fell(move: Move) -> str:
    values = f"{number(move.start, move.scale)} to {number(move.end, move.scale)}"
    change = f"{number(move.change.estimate, move.scale, True)} {bounds(move.change, move.scale, True)}"
    return f"{move.measure} went from {values} ({change}): look at the pictures before you believe the reward"


def reward_weights(run: Run, method: str) -> dict[str, float]:
    """name -> weight of what `method` was trained on; empty where the configuration does not say."""
    spec = (run.config.get("train", {}).get(method) or {}).get("rewards")
    return parse_weights(str(spec), f"config.json: train.{method}.rewards") if spec else {}


def make_moves(run: Run, results: list[Result], spread: Result | None) -> list[Moves]:
    """One entry per trained method with a reward; empty where there is nothing to compare with."""
    measured = [r for r in results if r.block.is_main and BASE in r.scores] + (
        [spread] if spread and BASE in spread.scores else []
    )
    out, ends = [], run.until(run.metrics, run.main_view)
    for method in run.methods:
        weights, metrics = reward_weights(run, method), ends
        own = metrics[metrics["method"] == method] if len(metrics) else metrics
        if method == BASE or not len(own) or "reward_mean" not in own or own["reward_mean"].isna().all():
            continue
        moves = [_along(own, "reward_mean", "trained reward", True)]
        moves += [
            _along(own, f"reward/{name}", f"reward part {name} (weight 0)", False)
            for name, weight in weights.items()
            if weight == 0 and f"reward/{name}" in own
        ]
        moves += [move for result in measured if (move := _from_base(result, method, weights))]
        parts = (name if weight == 1 else f"{weight:g} {name}" for name, weight in weights.items() if weight)
        out.append(Moves(method, " + ".join(parts), moves))
    return out


def _along(frame: pd.DataFrame, key: str, label: str, trained: bool) -> Move:
    """From the starting policy (the first iteration) to the last quarter of training, mean over seeds; the change is that
    between the first and the last quarter."""
    curves = [part.set_index("iteration")[key].dropna() for _, part in frame.sort_values("iteration").groupby("seed")]
    ends = [(curve.iloc[0], curve.tail(n).mean()) for curve in curves if (n := math.ceil(WINDOW * len(curve)))]
    start, end = np.mean(ends, axis=0) if ends else (float("nan"), float("nan"))
    change = trend(curves)
    word = "up, resolved" if change.low > 0 else "down, resolved" if change.high < 0 else "unresolved"
    return Move(label, float(start), float(end), change, word, trained=trained)


def _from_base(result: Result, method: str, weights: dict[str, float]) -> Move | None:
    pair = result.pair(method, BASE)
    if pair is None:
        return None
    word, block = pair.verdict(), result.block
    trained = any(
        name in weights and weights[name] for name in (block.benchmark, str(block.meta["scorer"].get("name")))
    )
    start, end = (result.scores[name].headline.estimate for name in (BASE, method))
    judge = block.benchmark.partition("@")[0]
    named = [f"{judge}.{block.axis}"] * bool(block.axis) + [judge] * block.leads
    used = [name for name, weight in weights.items() if weight]
    part = next(((name, of) for name in named if (of := role(name, used))), (judge, ""))
    base = next(one for one in block.methods if one.name == BASE).scores.mean(0)
    shown = (
        RESOLVED[word]
        if result.sign > 0
        else {"better": "down, resolved", "worse": "up, resolved"}.get(word, RESOLVED[word])
    )
    return Move(
        f"{block.title}{' (trained on)' if trained else ''}",
        start,
        end,
        pair.interval(),
        shown,
        block.scale,
        word == "worse",
        trained,
        Seen(part[0], block.title, part[1], in_deviations(pair.interval(), result.sign, base)),
    )


def warnings(moves: list[Moves]) -> list[str]:
    """All warnings, methods in order."""
    return [line for one in moves for line in one.warnings]


def heading(run: Run) -> str:
    """The heading of the panel."""
    return titled("Reward against what was not trained on", run.metas["random_weights"])
