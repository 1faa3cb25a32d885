"""The control: continued pre-training, its loss against a plain cross-entropy, its cost, and its place in the training
loop."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from baselines.pretrain import Pretrain
from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl, sha256_file
from htgrpo.base.rng import generator
from htgrpo.interface import HIDDEN
from htgrpo.training.checkpoints import saved
from htgrpo.training.pretraining import ROWS, HalfProducts, TinySize, masked_backward, masked_batch, new_policy
from htgrpo.training.trainer import train
from htgrpo.world.world import find
from tests.htgrpo.oracle import log_table
from tests.htgrpo.tiny import LONG, SHORT, flat_gradient, moved, tiny_policy
from tests.htgrpo.training import CONFIG, PROMPTS

SMALL = TinySize(d_model=16, n_layers=1, n_heads=2, mlp_hidden_size=24)


@pytest.fixture(scope="module")
def world():
    return new_policy(find(), SMALL, generator("world"))


def test_the_loss_is_the_mean_cross_entropy_of_the_hidden_codes():
    """Over more pictures than one part holds, against one forward per picture."""
    policy, count = tiny_policy(3), ROWS + 3
    g = generator("pretrain")
    prompts = [policy.prompt(text) for text in (LONG, SHORT, "") * count][:count]
    codes = torch.randint(6, (count, 6), generator=g)
    mask = torch.rand(count, 6, generator=g) < 0.5
    mask[:, 0] = True
    net = moved(policy.net, 0, 0.0).requires_grad_(True)
    total = -sum(
        log_table(policy, net, prompts[i], torch.where(mask[i], HIDDEN, codes[i]).tolist(), (2, 3))[s, codes[i, s]]
        for i, s in mask.nonzero().tolist()
    ) / int(mask.sum())
    (0.5 * total).backward()
    found = masked_backward(policy, prompts, codes, mask, scale=0.5)
    assert found == pytest.approx(total.item(), abs=1e-6)
    assert float((flat_gradient(policy.net) - flat_gradient(net)).abs().max()) < 1e-7


def test_a_batch_of_the_world(world):
    """Prompts fit their pictures' grid, some are dropped, every picture hides something and some hide all."""
    prompts, codes, mask = masked_batch(world, find(), 300, generator("batch"))
    rows, columns = world.backbone.grid
    assert codes.shape == mask.shape == (300, rows * columns) and mask.any(1).all()
    assert 0 <= int(codes.min()) and int(codes.max()) < world.backbone.codebook_size
    assert [len(p) for p in prompts] == sorted(len(p) for p in prompts)
    dropped = sum(p == world.prompt("") for p in prompts)
    assert 10 < dropped < 60 and 8 < int(mask.all(1).sum()) < 150
    again = masked_batch(world, find(), 300, generator("batch"))
    assert prompts == again[0] and torch.equal(codes, again[1]) and torch.equal(mask, again[2])


def test_a_new_policy_of_the_world(world):
    """Ids in order, code rows near the principal axes of their patches, the same for the same key."""
    b = world.backbone
    assert b.image_columns.stop <= world.net.size.embedding_size and b.codebook_size == len(world.codec)
    assert max(*b.text_open, *b.text_close, *b.image_open, *b.image_close, b.pad, b.mask) < b.image_offset
    other = new_policy(find(), SMALL, generator("world"))
    assert all(torch.equal(a, c) for a, c in zip(world.net.parameters(), other.net.parameters(), strict=True))
    rows = world.net.trunk.wte.weight[b.image_columns].detach()
    assert float(torch.corrcoef(torch.stack([rows.flatten(), world.codec.pca(16).flatten()]))[0, 1]) > 0.8


def test_it_trains_counts_and_resumes(tmp_path):
    """Three forwards per picture, a falling loss, and bit-identical weights after an interruption."""
    options = {"updates_per_iteration": 2, "batch": 6}
    config = replace(CONFIG, method="pretrain", method_options=options, budget="iterations:4", lr=0.02)

    def go(out, stop=None):
        def on_progress(event):
            if (event["iteration"], event["phase"]) == stop:
                raise KeyboardInterrupt

        train(new_policy(find(), SMALL, generator("world")), config, PROMPTS, out, on_progress=on_progress)

    go(tmp_path / "whole")
    lines = read_jsonl(tmp_path / "whole" / "metrics.jsonl")
    assert [line["forwards"] for line in lines] == [36] * 4 and lines[-1]["forwards_total"] == 144
    keys = {
        "iteration", "forwards", "forwards_total", "forwards_train", "loss", "grad_norm", "lr", "optimiser_steps",
        "rollouts", "reward_queries", "forwards_undeduplicated",
    }  # fmt: skip
    counted = ("optimiser_steps", "rollouts", "reward_queries", "forwards_undeduplicated")
    assert [tuple(line[name] for name in counted) for line in lines] == [(2, 0, 0, 36)] * 4
    assert all(set(line) == keys for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "cut", (3, "done"))
    go(tmp_path / "cut")
    for name in ("metrics.jsonl", f"checkpoints/{saved(tmp_path / 'cut')[-1].name}/model.safetensors"):
        assert sha256_file(tmp_path / "whole" / name) == sha256_file(tmp_path / "cut" / name)


def test_half_products_keep_a_bias():
    """Whichever way F.linear is called, and in fp32: a bias is no product."""
    draw = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*shape, generator=draw) for shape in ((3, 8), (5, 8), (5,)))
    halves = F.linear(x.bfloat16(), weight.bfloat16()).float()
    with HalfProducts():
        plain, third, named = F.linear(x, weight), F.linear(x, weight, bias), F.linear(x, weight=weight, bias=bias)
    assert torch.equal(plain, halves) and plain.dtype == torch.float32
    assert torch.equal(third, halves + bias) and torch.equal(named, third)


@pytest.mark.parametrize("options", [{"updates_per_iteration": 0}, {"batch": 0}])
def test_bad_options_are_refused(options):
    with pytest.raises(UserError, match=f"pretrain.{next(iter(options))}"):
        Pretrain(**options)
