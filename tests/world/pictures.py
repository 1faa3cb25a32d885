"""Pictures for the tests of the embedded worlds."""

import numpy as np
import torch

from htgrpo.base.rng import generator
from htgrpo.world.draws import Draws
from htgrpo.world.scenes import Scene, draw_scene, render
from htgrpo.world.world import World, find


def sample_scene(world: World, spec: dict, generator: torch.Generator) -> Scene:
    """A random scene of `spec`."""
    return draw_scene(world, spec, Draws(generator))


def pictures(scenes, world=None):
    """float32 [n, 3, 48, 48] in 0..1."""
    return (
        torch.from_numpy(np.stack([render(world or find(), scene) for scene in scenes])).permute(0, 3, 1, 2).float()
        / 255
    )


def clean(prompts, *seed, world=None):
    """A correct picture for each prompt, float32 [n, 3, 48, 48] in 0..1."""
    world = world or find()
    scenes = [sample_scene(world, prompt.spec, generator("scene", prompt.id, *seed)) for prompt in prompts]
    return pictures(scenes, world)
