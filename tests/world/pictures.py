"""Pictures for the tests of the embedded world."""

import numpy as np
import torch

from htgrpo.base.rng import generator
from htgrpo.world.draws import Draws
from htgrpo.world.scenes import Scene, draw_scene, render


def sample_scene(spec: dict, generator: torch.Generator) -> Scene:
    """A random scene of `spec`."""
    return draw_scene(spec, Draws(generator))


def pictures(scenes):
    """float32 [n, 3, 64, 64] in 0..1."""
    return torch.from_numpy(np.stack([render(scene) for scene in scenes])).permute(0, 3, 1, 2).float() / 255


def clean(prompts, *seed):
    """A correct picture for each prompt, float32 [n, 3, 64, 64] in 0..1."""
    return pictures([sample_scene(prompt.spec, generator("scene", prompt.id, *seed)) for prompt in prompts])
