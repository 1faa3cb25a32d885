"""The advantages of published methods that are not z-scores, as a switch that all of them have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from htgrpo.interface import RolloutGroup, centred

if TYPE_CHECKING:
    from torch import Tensor

Advantage = Literal["z", "own"]
"""z: the group's z-scores, alike for all methods. own: what the published code computes."""


def own(method: Any, group: RolloutGroup, leave_one_out: bool = False) -> Tensor | None:
    """float64 [G, 1]: reward - mean (of the others, with `leave_one_out`) where the method's `advantage` is "own"; else
    None, for which the engine takes z-scores."""
    return centred(group.reward, leave_one_out)[:, None] if method.advantage == "own" else None
