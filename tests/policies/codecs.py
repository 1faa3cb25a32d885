"""What the tests of the image codecs share."""

import pytest
import torch

from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.policies.magvit import tiny_magvit
from htgrpo.policies.vqmodel import tiny_vqmodel

MAKERS = {"magvit": tiny_magvit, "vqmodel": tiny_vqmodel}


def draw(codec, pictures, grid, seed=0):
    """Random codes of `codec`."""
    return torch.randint(len(codec), (pictures, grid[0] * grid[1]), generator=generator("codes", seed))


def gap(one, other):
    """The greatest difference."""
    return float((one.double() - other.double()).abs().max())


def refusal(part, action, *arguments):
    """`action` raises UserError, its message one line that has `part`."""
    with pytest.raises(UserError) as caught:
        action(*arguments)
    assert part in caught.value.message and "\n" not in caught.value.message
