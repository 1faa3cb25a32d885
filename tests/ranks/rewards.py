"""Rewards for several ranks: what they say of a picture depends on it and its prompt alone, and so not on who asks."""

import math
import os
import signal
from pathlib import Path

from htgrpo.base.errors import UserError
from tests.htgrpo.reward_functions import brightness


def one_prompt_fails(prompts, completions, specs, **kwargs):
    """No number for any picture of one prompt, whose group is dropped."""
    values = brightness(prompts, completions, specs)
    return [math.nan if prompt == "two circle" else value for value, prompt in zip(values, prompts, strict=True)]


def redness_or_nothing(prompts, completions, specs, **kwargs):
    """Not applicable to most prompts."""
    values = brightness(prompts, completions, specs)
    return [value if "red" in prompt else None for value, prompt in zip(values, prompts, strict=True)]


def one_of_a_prompt(prompts, completions, specs, **kwargs):
    """A number for the first picture of each prompt alone, so that no two make a group."""
    values = brightness(prompts, completions, specs)
    return [
        math.nan if prompt in prompts[:i] else value
        for i, (value, prompt) in enumerate(zip(values, prompts, strict=True))
    ]


def refuses(prompts, completions, specs, **kwargs):
    """An error the user can mend, in the last process only."""
    if os.environ.get("RANK", "0") == "1":
        raise UserError("the scorer is not reachable: start it")
    return brightness(prompts, completions, specs)


def breaks(prompts, completions, specs, **kwargs):
    """An error nobody expected, in the last process only."""
    if os.environ.get("RANK", "0") == "1":
        raise RuntimeError("the scorer fell over")
    return brightness(prompts, completions, specs)


def dies(prompts, completions, specs, **kwargs):
    """The end of the last process, at once."""
    if os.environ.get("RANK", "0") == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return brightness(prompts, completions, specs)


def node_dies_once(prompts, completions, specs, **kwargs):
    """The end of the last process with its node's launcher, at the second question, where that has not happened before
    (DIED is a file)."""
    died, asked = Path(os.environ["DIED"]), Path(os.environ["DIED"] + ".asked")
    if os.environ.get("RANK", "0") == "1" and not died.exists():
        if asked.exists():
            died.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        asked.touch()
    return brightness(prompts, completions, specs)
