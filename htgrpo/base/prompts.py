"""A prompt and the hash of a set of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from htgrpo.base.files import sha256_json


@dataclass(frozen=True)
class Prompt:
    """One prompt: a stable id, the text the policy reads, its category, and what a picture of it must show."""

    id: str
    text: str
    category: str
    spec: dict = field(hash=False)


def prompt_set_sha256(prompts: Sequence[Prompt]) -> str:
    """Hex identity of an ordered prompt set: ids, texts, categories and specifications all count."""
    return sha256_json([vars(prompt) for prompt in prompts])
