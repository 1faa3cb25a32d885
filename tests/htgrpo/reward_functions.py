"""Rewards for the tests, named by import path, as a user names them."""

import math

import torch


def brightness(prompts, completions, specs, **kwargs):
    """The mean of a picture: another value for almost every picture."""
    assert len(prompts) == len(completions) == len(specs)
    return completions.flatten(1).double().mean(1).tolist()


def redness(prompts, completions, specs, **kwargs):
    """Red less the rest; not applicable to prompts without the word."""
    red = (completions[:, 0] - completions[:, 1:].mean(1)).flatten(1).double().mean(1).tolist()
    return [value if "red" in prompt else None for value, prompt in zip(red, prompts, strict=True)]


def constant(prompts, completions, specs, **kwargs):
    """Nothing to learn from."""
    return [0.1] * len(prompts)


def patchy(prompts, completions, specs, **kwargs):
    """Fails on every dark picture."""
    values = brightness(prompts, completions, specs)
    middle = sorted(values)[len(values) // 3]
    return [math.nan if value <= middle else value for value in values]


def broken(prompts, completions, specs, **kwargs):
    """Fails on everything."""
    return [math.nan] * len(prompts)


def short(prompts, completions, specs, **kwargs):
    """One answer too few."""
    return [1.0] * (len(prompts) - 1)


def spec_size(prompts, completions, specs, **kwargs):
    """Reads the specification, and answers a tensor."""
    return torch.tensor([float(spec["size"]) for spec in specs])


NOT_A_FUNCTION = 3
