"""What one update keeps for its backward pass, counted by saved-tensor hooks: HT-GRPO's does not grow with the group.

The network's activations and the table of log-probabilities are kept once per prompt. All that a rollout adds is a few
numbers per judged token (its indices into the table, advantage, share, ratio, old and reference log-probability).
"""

import peft
import pytest
import torch

from htgrpo.ht import HT
from htgrpo.policies import lora
from htgrpo.policies.llada import LLaDA, Packed, Size
from htgrpo.training.engine import Engine, Totals
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import TUNINGS
from tests.htgrpo.tiny import LAYOUTS, LONG, make_group, method_generator, tiny_policy

GRID, SLOTS = (4, 5), 20
SIZES = (3, 9, 27)
PER_TOKEN = 48
"""Bytes at most, in fp32, that a judged token adds (two indices and seven numbers are 44)."""
GLOBAL = HT(stages=(1, 0, 0))


class Kept:
    """Hooks that count every storage once, and hold it so that no other can take its address."""

    def __init__(self):
        self.tensors = {}

    def __enter__(self):
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error):
        self.hooks.__exit__(*error)

    def _pack(self, tensor):
        self.tensors.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    def bytes(self, of=lambda tensor: True):
        return sum(tensor.untyped_storage().nbytes() for tensor in self.tensors.values() if of(tensor))


def update(size, method=GLOBAL, tuning="full", layout="mmada", recompute=False, **config):
    """Bytes that a first update of one group of `size` keeps: of the network and its table, and of every token."""
    policy = tiny_policy(4, layout, GRID, codebook=6, d_model=16, layers=2, dtype=torch.float32)
    tuned = TUNINGS[tuning](policy, TrainConfig(tuning=tuning, lora_rank=2, recompute=recompute))
    engine = Engine(policy, tuned.reference(), TrainConfig(beta=0.1, tokens_per_forward=10**6, **config))
    group = make_group(policy, LONG, GRID, size)
    steps = engine.plan([group], method, [method_generator(group)], Totals())
    judged = len(steps[0][0].tokens.slot)
    with Kept() as kept:
        engine.accumulate(steps[0], 1, Totals())
    tokens = kept.bytes(lambda tensor: tensor.shape == (judged,))
    return kept.bytes() - tokens, tokens / judged


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "changes", [{}, {"kl": "exact"}, {"tuning": "lora"}, {"tuning": "lora", "recompute": True}], ids=str
)
def test_an_update_keeps_as_much_for_27_rollouts_as_for_3(changes, layout):
    found = {update(size, layout=layout, **changes) for size in SIZES}
    assert len(found) == 1, "network and table are kept once, and every token adds the same"
    assert 0 < found.pop()[1] <= PER_TOKEN


def test_random_subsets_keep_no_more_than_all_slots():
    """The table has a row for every slot that some rollout judges: more rollouts judge more slots, up to all of
    them."""
    whole, _ = update(27)
    for method in (HT(stages=(0, 1, 0), gamma_max=(0.5,) * 3, gamma_min=(0.5,) * 3, alpha=0.5), HT(stages=(0, 0, 1))):
        found = [update(size, method)[0] for size in SIZES]
        assert 0.8 * whole < found[0] <= found[1] <= found[2] <= whole


@pytest.mark.parametrize("dedup", ["none", "rollout"])
def test_without_sharing_it_grows_with_the_group(dedup):
    """What is measured is there: one sequence per rollout is kept where contexts are not shared."""
    found = [update(size, dedup=dedup)[0] for size in SIZES]
    assert found[1] > 2.5 * found[0] and found[2] > 2.5 * found[1]


@pytest.mark.parametrize(("recompute", "share"), [(False, 0.001), (True, 0.01)])
def test_at_published_sizes_27_rollouts_are_a_trifle_beside_one_sequence(recompute, share):
    """MMaDA-8B with adapters in bf16, 1155 tokens of which 1024 are slots, on the meta device."""
    with torch.device("meta"):
        net = LLaDA(Size(4096, 32, 32, 12288, 134656)).to(torch.bfloat16)
        lora._inject(net, peft.LoraConfig(r=128, target_modules=lora.ADAPTED))
        net.recompute = recompute
        with Kept() as kept:
            logits = net(
                Packed(torch.zeros(1155, dtype=torch.long), (1155,)), torch.arange(1024), slice(126349, 134541)
            )
            logits.float().log_softmax(-1).sum().backward()
    weights = {weight.untyped_storage()._cdata for weight in net.parameters()}
    assert PER_TOKEN * 27 * 1024 < share * kept.bytes(lambda tensor: tensor.untyped_storage()._cdata not in weights)
