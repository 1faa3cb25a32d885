"""What the engine counts in an iteration, and the means it reports."""

from dataclasses import dataclass, field

from htgrpo.parallel.ranks import Ranks

RATIOS = ("clip_fraction", "ratio_mean", "ratio_max")
"""What is reported of ratios, by methods that have them."""


@dataclass
class Totals:
    """What an iteration reports: forwards, head rows (slots the head ran on) and seconds by phase, and sums over
    tokens."""

    forwards: dict[str, int] = field(default_factory=lambda: {"old": 0, "ref": 0, "train": 0})
    heads: dict[str, int] = field(default_factory=lambda: {"old": 0, "ref": 0, "train": 0})
    seconds: dict[str, float] = field(default_factory=lambda: {"old": 0.0, "ref": 0.0, "update": 0.0})
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, **values: float) -> None:
        """Adds to the sums."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def count(self, phase: str, forwards: int, heads: int) -> None:
        """Counts work of one phase."""
        self.forwards[phase] += forwards
        self.heads[phase] += heads

    def of_all(self, ranks: Ranks) -> "Totals":
        """The totals of all ranks; seconds and what every rank has alike are this rank's."""
        if ranks.count == 1:
            return self
        joined = Totals(seconds=self.seconds)
        for forwards, heads, sums in ranks.gather([self.forwards, self.heads, self.sums]):
            for phase in forwards:
                joined.count(phase, forwards[phase], heads[phase])
            for name, value in sums.items():
                before = joined.sums.get(name, 0.0)
                joined.sums[name] = max(before, value) if name == "ratio_max" else before + value
        joined.sums.update({name: self.sums[name] for name in ("steps", "grad_norm") if name in self.sums})
        return joined

    def metrics(self) -> dict[str, float]:
        """Means over the entries (a token under one context) that carried loss, and over the steps."""
        s = self.sums
        tokens, steps = max(s.get("tokens", 0.0), 1.0), max(s.get("steps", 0.0), 1.0)
        means = {
            "loss": s.get("loss", 0.0) / steps,
            "clip_fraction": s.get("clipped", 0.0) / tokens,
            "ratio_mean": s.get("ratio", 0.0) / tokens,
            "ratio_max": s.get("ratio_max", 0.0),
            "grad_norm": s.get("grad_norm", 0.0) / steps,
        }
        if "log_prob" in s:  # of a method that has no ratio
            means = {name: value for name, value in means.items() if name not in RATIOS}
        means.update({name: value for name, value in s.items() if name.startswith("method/")})
        means.update({name: s[name] / tokens for name in ("kl", "kl_k3", "kl_exact", "log_prob") if name in s})
        return means
