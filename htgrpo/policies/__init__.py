"""Policies: one LLaDA network; a backbone is a record of ids, prompt layout and image block, with a codec beside it."""

from htgrpo.policies.policy import Policy
from htgrpo.policies.storage import load_policy

__all__ = ["Policy", "load_policy"]
