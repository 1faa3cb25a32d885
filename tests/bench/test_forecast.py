"""What --dry-run says of an 8B run, against numbers worked out by hand for MMaDA's published sizes, G = 9 and K = 8."""

import pytest
import torch

from bench.cost.forecast import Card, Forecast
from bench.cost.memory import GIB, held_by
from bench.cost.meter import LOOK, OLD, REF, ROLLOUT, TRAIN, Meter, Spent, count_iteration, standin
from bench.cost.outline import Outline
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from htgrpo.base.registry import BACKBONES, METHODS
from htgrpo.policies.llada import LLaDA, Packed, Size
from htgrpo.training.train_config import TrainConfig, make_method

SIZE = Size(4096, 32, 32, 12288, 134656)
GRID = (32, 32)
MMADA = BACKBONES.get("mmada").backbone
# with <|t2i|>, bos and eos: sequences of 1155
TEXT_128 = Outline(SIZE, MMADA, lambda text: [0] * (126 if text else 0), "")
CARD = Card("a card", 1e15, 80e9, 0.5)


def config(method: str, **more) -> TrainConfig:
    return TrainConfig(
        **{
            "method": method, "sampler": "emerge", "steps": 12, "guidance": 3.5, "tokens_per_forward": 12288,
            "tuning": "full", "prompts_per_iteration": 1, **more,
        }
    )  # fmt: skip


def counted(method: str, **more) -> dict[str, Spent]:
    settings = config(method, **more)
    return count_iteration(standin(Meter(SIZE), MMADA, TEXT_128.encode), make_method(settings), settings, "x", GRID)


def test_operations_of_one_forward():
    for length, trunk in ((1155, 16.8), (1283, 18.8), (1539, 22.7)):
        assert SIZE.forward_flops(length, 0, 0) / 1e12 == pytest.approx(trunk, abs=0.05)
        full_head = SIZE.forward_flops(0, length, SIZE.embedding_size) / 1e12
        assert full_head == pytest.approx({1155: 1.27, 1283: 1.42, 1539: 1.70}[length], abs=0.005)
    assert SIZE.forward_flops(0, 1024, 8192) / 1e12 == pytest.approx(0.069, abs=0.0005)


@pytest.mark.parametrize(
    "method, more, old, train",
    [
        ("ht", {}, 1, 8),  # 1 + 1 + 3 * 8 = 26
        ("ht", {"dedup": "none"}, 72, 72),  # 144 + 216 = 360: HT-GRPO in MaskGRPO's loop
        ("ht", {"dedup": "rollout"}, 9, 72),  # 18 + 216 = 234: old and reference once
        ("mask", {"dedup": "rollout"}, 72, 72),  # 360
        ("uni", {"dedup": "none"}, 72, 72),  # 360
        ("uni", {}, 64, 64),  # 320: its last update is the empty context
        ("trace", {}, 100, 800),  # 2600: so is the first trace group
        ("trace", {"dedup": "rollout"}, 108, 864),  # 216 + 2592 = 2808
    ],
)
def test_forwards_of_an_update_cycle(method, more, old, train):
    spent = counted(method, **more)
    assert (spent[OLD].forwards, spent[REF].forwards, spent[TRAIN].forwards) == (old, old, train)
    # the first step is one for all images of a batch, of which two are made
    assert spent[ROLLOUT].forwards == 2 * 9 * 11 + 2 * 2


def test_a_method_without_a_reference_costs_less():
    assert counted("ht", beta=0.0)[REF].forwards == 0
    assert counted("ht", guidance=0.0)[ROLLOUT].forwards == 9 * 11 + 1


def test_operations_of_an_update_cycle():
    for method, more, pflop in (("ht", {}, 0.44), ("ht", {"dedup": "none"}, 6.1), ("trace", {"dedup": "rollout"}, 47)):
        spent = counted(method, **more)
        assert (spent[OLD].flop + spent[REF].flop + 3 * spent[TRAIN].flop) / 1e15 == pytest.approx(pflop, rel=0.02)


def test_a_whole_iteration_adds_backward_passes_and_recomputation():
    forecast = Forecast(TEXT_128, CARD, [Prompt("a", "x", "x", {})])
    spent = counted("ht")
    plain = sum(one.flop for one in spent.values())
    full = forecast.training(config("ht"))
    assert full.flop == pytest.approx(plain + 2 * spent[TRAIN].flop)
    assert forecast.training(config("ht", recompute=True)).flop == pytest.approx(plain + 3 * spent[TRAIN].flop)
    adapted = forecast.training(config("ht", tuning="lora"))
    adapters = 2 * 335_544_320 * (spent[ROLLOUT].length + spent[OLD].length + 3 * spent[TRAIN].length)
    assert adapted.flop == pytest.approx(plain + spent[TRAIN].flop + adapters)
    assert full.forwards == {ROLLOUT: 202, OLD: 1, REF: 1, TRAIN: 24}
    twice = forecast.training(config("ht", prompts_per_iteration=2))
    assert twice.flop == pytest.approx(2 * full.flop) and twice.forwards[TRAIN] == 48
    many = config("ht", budget="iterations:10")
    assert forecast.train_seconds(many) == pytest.approx(10 * full.flop / 0.5e15)
    assert forecast.train_seconds(many, spent=228) == pytest.approx(9 * full.flop / 0.5e15)


@pytest.mark.parametrize("method", METHODS.names())
def test_every_method_has_a_forecast(method):
    cost = Forecast(TEXT_128, CARD, [Prompt("a", "x", "x", {})]).training(config(method, prompts_per_iteration=2))
    if not METHODS.get(method).rewarded:
        assert cost is None
    else:
        assert 0 < cost.sampling < cost.flop and cost.forwards[ROLLOUT] == 2 * 202 and cost.steps > 0


def test_memory_of_the_published_sizes():
    lora = held_by(SIZE, TrainConfig(tuning="lora", recompute=True, beta=0.01), torch.bfloat16)
    assert lora.adapters == 335_544_320 and lora.weights == 2 * 8_082_690_048
    assert (lora.extra, lora.optimiser) == (2 * lora.adapters, 4 * 4 * lora.adapters)  # all but the adapters is fp32
    assert 1155 * 32 * lora.kept / GIB == pytest.approx(0.28, abs=0.005)
    full = held_by(SIZE, TrainConfig(tuning="full", beta=0.01), torch.bfloat16)
    # reference and rollouts
    assert full.adapters == 0 and full.optimiser == 8 * full.weights and full.extra == 2 * full.weights
    assert held_by(SIZE, TrainConfig(tuning="full", beta=0.0), torch.bfloat16).extra == full.weights
    assert full.activations(1155, 32) > 10 * lora.activations(1155, 32)


def test_what_a_forward_keeps_grows_with_the_widths():
    """Memory is measured on a narrower network: on one between the two sizes the measured bytes are those that were
    forecast."""
    size, seen = Size(512, 3, 4, 1536, 64), {}
    net = LLaDA(size).to(torch.bfloat16)
    weights = {weight.untyped_storage().data_ptr() for weight in net.parameters()}

    def pack(value):
        seen[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        net(Packed(torch.zeros(48, dtype=torch.long), (24, 24)), torch.arange(2), slice(0, 8))
    kept = sum(value.untyped_storage().nbytes() for place, value in seen.items() if place not in weights)
    forecast = held_by(size, TrainConfig(tuning="full"), torch.bfloat16).activations(48, 3)
    assert forecast == pytest.approx(kept, rel=0.05)


def test_cards():
    assert Card.find("h100").memory == 80e9 and Card.find("h100").seconds(989.4e12 * 0.4) == pytest.approx(1.0)
    with pytest.raises(UserError, match="did you mean 'h200'"):
        Card.find("h20")


def test_units_larger_than_a_batch_take_two_passes():
    """coupled-GRPO ties a prompt's 1 + 2 x 9 contexts of 1155 tokens, of which ten fit: three forwards each at the
    first update, and four at the other seven."""
    forecast = Forecast(TEXT_128, CARD, [Prompt("a", "x", "x", {})])
    large, whole = (
        forecast.training(config("coupled", tuning="lora", tokens_per_forward=limit)) for limit in (12288, 40000)
    )
    assert (large.looks, whole.looks) == (7 * 19, 0)
    assert whole.forwards[TRAIN] == 3 * 8 * 19 and large.forwards[TRAIN] == whole.forwards[TRAIN] + 7 * 19
    look = counted("coupled", tuning="lora")[LOOK]
    assert look.forwards == 7 * 19 and look.tokens <= 12288
    assert look.flop == pytest.approx(7 * 19 * SIZE.forward_flops(1155, 539, 8192), rel=0.001)
    assert large.activations < 12288 / (19 * 1155) * 1.01 * whole.activations
