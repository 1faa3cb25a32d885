"""Scorers as training rewards: every registered scorer, and every one on a server, rewards under its own name.

A reward is the score times the scorer's `reward_scale`, by which trainers have been given it; a picture that could not
be judged is NaN, never 0. NAME.KEY rewards with one number of the evidence instead, such as unipercept.iqa. htgrpo
finds them through the entry point htgrpo.reward_sources.
"""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.scorers import servers
from bench.scorers.base import Judged, Scorer, Unscorable, read_by
from bench.scorers.registry import SCORERS
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_loaded: dict[tuple[str, str], Scorer] = {}
_holders: Counter[tuple[str, str]] = Counter()
"""Scorers that have passed their test, by name and device, and how many rewards hold each."""


class ScorerReward:
    """The reward of one scorer: see htgrpo.training.rewards. key: the number in the evidence that rewards, "" for the
    score.

    Rewards of one process share a scorer; the last one that is closed lets go of it.
    """

    def __init__(self, scorer: str, key: str = ""):
        self.scorer, self.key, self.reason = scorer, key, ""
        self._held: tuple[str, str] | None = None

    def check(self, prompts: list[Prompt]) -> None:
        """Raises UserError where the scorer, its weights, its server, or what it needs to know of a prompt is not
        there."""
        from bench.scorers import opening

        opening.check(self.scorer)
        if self.scorer in SCORERS.names():
            kind = SCORERS.get(self.scorer)
            for prompt in prompts:
                try:
                    kind.check_prompt(read_by(kind, prompt.text, prompt.spec))
                except Unscorable as error:
                    raise UserError(
                        f"the reward {self.scorer!r} cannot judge pictures of the training prompt {prompt.id!r}, "
                        f"{prompt.text[:80]!r}: {error}; give other --train-prompts, or another --reward"
                    ) from error

    def start(self, device: torch.device | str) -> None:
        """Loads the scorer on `device` and has it judge its drawn pictures. Raises UserError where it fails them."""
        self._started(device)

    def _started(self, device: torch.device | str) -> Scorer:
        from bench.scorers import opening

        if self._held:
            return _loaded[self._held]
        key = (self.scorer, str(device))
        if key not in _loaded:
            _loaded[key] = opening.open_scorer(*key)
        _holders[key] += 1
        self._held = key
        return _loaded[key]

    def close(self) -> None:
        """Lets go of the scorer; its worker and its memory go with the last reward that holds it."""
        key, self._held = self._held, None
        if key is None:
            return
        import torch

        _holders[key] -= 1
        if not _holders[key]:
            _loaded.pop(key).close()
            gc.collect()  # networks hold themselves in circles
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def identity(self) -> dict[str, Any]:
        """The scorer's identity, "scale", "on_server", and "key" where there is one."""
        if self._held is None:
            raise RuntimeError(f"the reward {self.scorer!r} has no identity before `start`")
        scorer = _loaded[self._held]
        key = {"key": self.key} if self.key else {}
        return {**scorer.identity(), **key, "scale": scorer.reward_scale, "on_server": self.scorer in servers.servers()}

    def __call__(self, prompts: Sequence[str], completions: Tensor, specs: Sequence[dict], **_: Any) -> list[float]:
        """Rewards of images float [B, 3, H, W] in [0, 1]; loads the scorer on their device where `start` did not."""
        import torch

        from htgrpo.base.pictures import as_pictures

        scorer, self.reason = self._started(completions.device), ""
        good = torch.isfinite(completions).flatten(1).all(1).tolist()
        images = [image for image, fine in zip(as_pictures(completions.detach()), good) if fine]
        texts = [read_by(scorer, *pair) for pair, fine in zip(zip(prompts, specs), good) if fine]
        judged = iter(scorer.score(images, texts) if images else [])
        return [
            self._value(scorer, next(judged) if fine else Judged.failed("the picture has values that are not finite"))
            for fine in good
        ]

    def _value(self, scorer: Scorer, judged: Judged) -> float:
        value = judged.score if not self.key or judged.error else judged.evidence.get(self.key)
        if isinstance(value, bool | int | float) and math.isfinite(value):
            return float(value) * scorer.reward_scale
        self.reason = (
            judged.error or f"the evidence has no number {self.key!r}, only {', '.join(judged.evidence) or 'nothing'}"
        )
        return math.nan


class Scorers:
    """All scorers as a source of rewards (htgrpo.training.rewards)."""

    @staticmethod
    def names() -> list[str]:
        """Scorers by name."""
        return servers.names()

    @staticmethod
    def find(name: str) -> ScorerReward | None:
        """The reward NAME or NAME.KEY; None where there is no such scorer."""
        scorer, _, key = name.partition(".")
        return ScorerReward(scorer, key) if scorer in servers.names() else None


geneval_strict = ScorerReward("geneval", "strict")
"""1 where a picture shows exactly what was asked for, else 0."""
