"""The optimiser against torch's class, and what its masters are for."""

import subprocess
import sys

import pytest
import torch

from htgrpo.base.rng import generator
from htgrpo.training.adamw import AdamW


def weights(dtype, seed=0):
    """Two weights."""
    g = generator("adamw", seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=g).to(dtype)) for shape in ((5, 3), (7,))]


def gradients(step, dtype=torch.float32):
    """Gradients of a step."""
    g = generator("adamw", "gradient", step)
    return [torch.randn(shape, generator=g).to(dtype) for shape in ((5, 3), (7,))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_steps_as_torch_does(dtype):
    ours, theirs = weights(dtype), weights(dtype)
    optimizer = AdamW(ours, 0.01, (0.9, 0.99), weight_decay=0.1)
    reference = torch.optim.AdamW(theirs, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(5):
        optimizer.rate = reference.param_groups[0]["lr"] = 0.01 / (step + 1)
        for one, other, gradient in zip(ours, theirs, gradients(step, dtype), strict=True):
            one.grad, other.grad = gradient.clone(), gradient.clone()
        if step == 3:
            ours[1].grad = theirs[1].grad = None  # a weight without a gradient stays, and takes no step
        optimizer.step()
        reference.step()
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert torch.allclose(one, other, rtol=0, atol=tolerance) and one.grad is None
        state = reference.state[other]
        for name in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.allclose(optimizer.moments[number][name], state[name], rtol=0, atol=tolerance)


def test_a_moment_of_torch_is_read():
    """What torch's optimiser has saved goes on here."""
    ours, theirs = weights(torch.float64), weights(torch.float64)
    reference = torch.optim.AdamW(theirs, lr=0.01, betas=(0.9, 0.99), weight_decay=0.0)
    optimizer = AdamW(ours, 0.01, (0.9, 0.99))
    for step in range(4):
        for one, other, gradient in zip(ours, theirs, gradients(step, torch.float64), strict=True):
            one.grad, other.grad = gradient.clone(), gradient.clone()
        if step == 3:
            with torch.no_grad():
                for one, other in zip(ours, theirs, strict=True):
                    one.copy_(other)
            optimizer.load(reference.state_dict()["state"])
            optimizer.step()
        reference.step()
    assert all(torch.allclose(one, other, rtol=0, atol=1e-14) for one, other in zip(ours, theirs, strict=True))


def train(learning, optimizer, count):
    """Steps along the gradient of a sum, in two backward passes each."""
    for _ in range(count):
        for _ in range(2):
            sum((0.5 * weight).sum() for weight in learning).backward()
        optimizer.step()


def test_steps_too_small_for_half_precision_add_up():
    """A step of 1e-4 on weights around 1 is lost in bf16; a hundred of them are not."""
    half = [torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))]
    whole = [torch.nn.Parameter(torch.ones(4))]
    for learning in (half, whole):
        train(learning, AdamW(learning, 1e-4, (0.9, 0.99)), 100)
    assert half[0].dtype == torch.bfloat16 and half[0].grad is None
    assert torch.equal(half[0], whole[0].bfloat16()) and bool((half[0] < 1.0).all())
    plain = torch.ones(4, dtype=torch.bfloat16)
    for _ in range(100):
        plain -= 1e-4
    assert torch.equal(plain, torch.ones(4, dtype=torch.bfloat16))


def test_gradients_are_summed_in_fp32():
    """256 + 1 + … + 1: in bf16 the ones would be lost."""
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    optimizer = AdamW([weight], 1e-3, (0.9, 0.99))
    for factor in (256.0, *[1.0] * 8):
        (factor * weight).sum().backward()
    assert optimizer.weights[0].grad.tolist() == [264.0, 264.0] and weight.grad is None


def test_masters_come_back_bit_for_bit():
    learning = weights(torch.bfloat16)
    optimizer = AdamW(learning, 1e-3, (0.9, 0.99))
    train(learning, optimizer, 3)
    saved = {
        number: {name: value.clone() for name, value in state.items()} for number, state in optimizer.state().items()
    }
    again = [torch.nn.Parameter(weight.detach().clone()) for weight in learning]
    resumed = AdamW(again, 1e-3, (0.9, 0.99))
    resumed.load(saved)
    for one, other in ((learning, optimizer), (again, resumed)):
        train(one, other, 3)
    assert all(torch.equal(a, b) for a, b in zip(optimizer.weights + learning, resumed.weights + again, strict=True))


def test_no_compiler_is_imported():
    """torch's own class imports one, which takes seconds of every training."""
    code = (
        "import sys, torch; from htgrpo.training.adamw import AdamW; w = torch.nn.Parameter(torch.ones(2)); "
        "w.sum().backward(); AdamW([w], 0.1, (0.9, 0.99)).step(); print('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
