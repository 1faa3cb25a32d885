"""Adapters on the network: where they are, what they start as, how they are switched off and merged, and their
files."""

import json
import re
import shutil

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.policies import lora
from htgrpo.policies.llada import LLaDA, Packed, Size
from tests.htgrpo.tiny import tiny_policy

SEVEN = ("q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out")
PACKED = Packed(torch.arange(12) % 9, (5, 7))
RANK, ALPHA = 3, 6.0


def adapted_net(dtype=torch.float64, dropout=0.0, shaken=True, seed=3) -> LLaDA:
    """A network of two blocks with adapters; `shaken`: as if they had learnt."""
    net = tiny_policy(seed, layers=2, dtype=dtype).net
    lora.add_adapters(net, RANK, ALPHA, dropout, generator(seed, "lora"))
    return shake(net) if shaken else net


def shake(net, scale=0.2):
    """Adds noise to the adapters' second factors."""
    with torch.no_grad():
        for key, weight in lora.state(net).items():
            if "lora_B" in key:
                weight += scale * torch.randn(weight.shape, generator=generator("shake", key)).to(weight.dtype)
    return net


def plain_net(dtype=torch.float64) -> LLaDA:
    return tiny_policy(3, layers=2, dtype=dtype).net


def test_every_linear_layer_of_every_block_is_adapted_and_nothing_else():
    """The head has the name of the blocks' down projections, but no adapter."""
    net = adapted_net(shaken=False)
    assert [name for name, _ in lora.adapted(net)] == [
        f"model.transformer.blocks.{block}.{layer}" for block in (0, 1) for layer in SEVEN
    ]
    head = net.trunk.ff_out
    assert type(head) is type(plain_net().trunk.ff_out) and [name for name, _ in head.named_parameters()] == ["weight"]
    learning = {name for name, weight in net.named_parameters() if weight.requires_grad}
    assert learning == {
        f"model.transformer.blocks.{block}.{layer}.lora_{part}.default.weight"
        for block in (0, 1)
        for layer in SEVEN
        for part in "AB"
    }
    size = net.size
    d, m = size.d_model, size.mlp_hidden_size
    assert sum(weight.numel() for weight in lora.state(net).values()) == size.n_layers * RANK * (
        4 * 2 * d + 3 * (d + m)
    )


def test_an_8b_network_gets_335_million_adapter_weights():
    """methods.md section 7: rank 128 on all seven layers, without allocating the network."""
    with torch.device("meta"):
        net = LLaDA(Size(4096, 32, 32, 12288, 134656))
    lora._inject(net, peft.LoraConfig(r=128, target_modules=lora.ADAPTED))
    assert sum(weight.numel() for weight in lora.state(net).values()) == 335_544_320


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_they_start_from_their_generator_and_change_nothing(dtype):
    """A is peft's uniform draw, B is zero, the global generator is not moved, and outputs keep the network's dtype."""
    before = torch.get_rng_state()
    net = adapted_net(dtype, shaken=False)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    again, other = adapted_net(dtype, shaken=False), plain_net(dtype)
    lora.add_adapters(other, RANK, ALPHA, 0.0, generator(4, "lora"))
    for (key, weight), same, different in zip(
        lora.state(net).items(), lora.state(again).values(), lora.state(other).values()
    ):
        assert weight.dtype == dtype
        assert torch.equal(weight, same) and weight.is_contiguous()
        if "lora_B" in key:
            assert not weight.any()
        else:
            bound = weight.shape[1] ** -0.5
            assert 0.8 * bound < weight.abs().max() <= bound * (1 + 2**-8) and not torch.equal(weight, different)
    with torch.no_grad():
        assert torch.equal(net(PACKED), plain_net(dtype)(PACKED)) and net(PACKED).dtype == dtype


def test_they_change_the_output_as_the_formula_says():
    """W + alpha / r B A, against a plain network with those weights."""
    net, plain = adapted_net(), plain_net()
    with torch.no_grad():
        for name, layer in lora.adapted(net):
            delta = ALPHA / RANK * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            plain.get_submodule(name).weight += delta
        assert (
            (net(PACKED) - plain(PACKED)).abs().max() < 1e-12 < 1e-2 < (net(PACKED) - plain_net()(PACKED)).abs().max()
        )


def test_switched_off_the_network_is_as_before_and_comes_back():
    net = adapted_net()
    with torch.no_grad():
        on, base = net(PACKED), plain_net()(PACKED)
        with lora.adapters_off(net):
            assert torch.equal(net(PACKED), base)
        assert torch.equal(net(PACKED), on) and not torch.equal(on, base)
        with pytest.raises(ZeroDivisionError), lora.adapters_off(net):
            raise ZeroDivisionError
        assert torch.equal(net(PACKED), on), "on again after an error"
    assert all(weight.requires_grad for weight in lora.state(net).values())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=str)
def test_merged_it_is_a_plain_network_that_says_the_same(dtype, tolerance):
    net = adapted_net(dtype)
    with torch.no_grad():
        on = net(PACKED)
        lost = lora.merge(net)
        assert (net(PACKED) - on).abs().max() < tolerance * on.abs().max() and lost == 0.0
    assert net.state_dict().keys() == plain_net().state_dict().keys() and not lora.has_adapters(net)
    assert all(weight.requires_grad for weight in net.parameters())
    assert lora.merge(net) == 0.0, "nothing is left to merge"
    shake_again = adapted_net(dtype, shaken=False)
    assert lora.merge(shake_again) == 0.0
    assert all(torch.equal(a, b) for a, b in zip(shake_again.parameters(), plain_net(dtype).parameters(), strict=True))


def test_merging_in_bf16_says_what_was_rounded_away():
    """A large change survives, a small one is mostly lost: 1 means that nothing of it is left."""
    large, small = adapted_net(torch.bfloat16), adapted_net(torch.bfloat16, shaken=False)
    shake(small, 1e-6)
    assert lora.merge(large) < 0.05
    assert 0.5 < lora.merge(small)


@pytest.fixture
def folder(tmp_path):
    """Written adapters of `adapted_net()`."""
    lora.write_adapters(adapted_net(torch.float32), tmp_path)
    return tmp_path


def test_the_files_are_those_of_peft(folder):
    keys = load_file(folder / "adapter_model.safetensors").keys()
    assert keys == {
        f"base_model.model.model.transformer.blocks.{b}.{layer}.lora_{p}.weight"
        for b in (0, 1)
        for layer in SEVEN
        for p in "AB"
    }
    config = json.loads((folder / "adapter_config.json").read_text())
    assert [config[name] for name in ("peft_type", "r", "lora_alpha", "base_model_name_or_path")] == [
        "LORA", 3, 6.0, None,
    ]  # fmt: skip
    assert config["inference_mode"] and re.fullmatch(config["target_modules"], "model.transformer.blocks.31.ff_out")
    assert not re.fullmatch(config["target_modules"], "model.transformer.ff_out")


def test_peft_loads_them_and_we_load_what_peft_saves(folder, tmp_path):
    """PeftModel.from_pretrained on a network with these names says what ours says, also after a round trip through
    peft."""
    with torch.no_grad():
        on = adapted_net(torch.float32)(PACKED)
        wrapped = peft.PeftModel.from_pretrained(plain_net(torch.float32), str(folder))
        assert torch.equal(wrapped(PACKED), on)
        wrapped.save_pretrained(str(tmp_path / "again"))
        net = plain_net(torch.float32)
        before = torch.get_rng_state()
        lora.apply_adapter(net, tmp_path / "again")
        assert torch.equal(net(PACKED), on) and torch.equal(torch.get_rng_state(), before)
    assert not any(weight.requires_grad for weight in net.parameters()) and not any(m.training for m in net.modules())


@pytest.mark.parametrize("targets", [["q_proj", "k_proj", "v_proj", "up_proj"], ["attn_out"]], ids=str)
def test_adapters_made_elsewhere_are_loaded(targets, tmp_path):
    """MaskGRPO's choice of layers, given by suffix, with rank-stabilised scaling."""
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules=targets, use_rslora=True, init_lora_weights=False)
    wrapped = peft.get_peft_model(plain_net(torch.float32), config)
    wrapped.save_pretrained(str(tmp_path))
    net = plain_net(torch.float32)
    lora.apply_adapter(net, tmp_path)
    with torch.no_grad():
        assert torch.equal(net(PACKED), wrapped(PACKED))
        assert not torch.equal(net(PACKED), plain_net(torch.float32)(PACKED))


def test_a_bf16_network_loads_fp32_adapters(folder):
    net = plain_net(torch.bfloat16)
    lora.apply_adapter(net, folder)
    for key, weight in load_file(folder / lora.WEIGHTS).items():
        assert torch.equal(lora.state(net)[key], weight.bfloat16()) and weight.dtype == torch.float32
    assert net(PACKED).dtype == torch.bfloat16


def refused(folder, message, net=None):
    with pytest.raises(UserError, match=message) as error:
        lora.apply_adapter(net or plain_net(torch.float32), folder)
    assert "\n" not in str(error.value)


def changed(folder, change):
    weights = load_file(folder / lora.WEIGHTS)
    change(weights)
    save_file(weights, folder / lora.WEIGHTS)


FIRST = "base_model.model.model.transformer.blocks.0.q_proj.lora_A.weight"


def test_wrong_keys_and_shapes_are_refused_by_name(folder, tmp_path):
    changed(folder, lambda w: w.pop(FIRST))
    refused(folder, f"lacks key '{FIRST}'")
    changed(folder, lambda w: w.update({FIRST: torch.ones(RANK, 9)}))
    refused(
        folder, rf"'{FIRST}' in .* has shape \[3, 9\], but the adapter that adapter_config.json makes .* has \[3, 8\]"
    )
    changed(
        folder,
        lambda w: w.update({FIRST: torch.ones(RANK, 8), FIRST.replace("blocks.0", "blocks.7"): torch.ones(RANK, 8)}),
    )
    refused(folder, "has the unexpected key '.*blocks.7.q_proj.lora_A.weight'")


def test_an_adapted_head_is_refused(tmp_path):
    """Upstream's suffix trap: the network would read the head's weight past such an adapter."""
    wrapped = peft.get_peft_model(plain_net(torch.float32), peft.LoraConfig(r=2, target_modules=["ff_out"]))
    wrapped.save_pretrained(str(tmp_path))
    refused(
        tmp_path, r"unexpected key '.*model\.transformer\.ff_out\.lora_A\.weight': only the linear layers of the blocks"
    )


@pytest.mark.parametrize(
    "config",
    [
        peft.LoHaConfig(target_modules=["q_proj"]),
        peft.LoraConfig(target_modules=["q_proj"], use_dora=True),
        peft.LoraConfig(target_modules=["q_proj"], init_lora_weights="pissa"),
    ],
    ids=["loha", "dora", "pissa"],
)
def test_other_kinds_of_adapters_are_refused(config, folder):
    config.save_pretrained(str(folder))
    refused(folder, "holds no plain LoRA adapter")


def test_an_adapter_of_another_network_is_refused(folder):
    config = json.loads((folder / lora.CONFIG).read_text())
    (folder / lora.CONFIG).write_text(json.dumps({**config, "target_modules": ["o_proj"]}))
    refused(folder, "does not fit the network")
    (folder / lora.CONFIG).write_text(json.dumps(config))
    refused(folder, "lacks key|has the unexpected key", tiny_policy(3, layers=3, dtype=torch.float32).net)
    refused(folder, "has shape", tiny_policy(3, layers=2, d_model=16, dtype=torch.float32).net)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (lora.CONFIG, b"{", "cannot be read as the configuration"),
        (lora.CONFIG, b'{"peft_type": "NEW"}', "cannot be read as the"),
        (lora.CONFIG, None, "holds no plain LoRA adapter"),
        (lora.WEIGHTS, b"\x10\0", "cannot be read as safetensors"),
        (lora.WEIGHTS, None, "cannot be read as safetensors"),
    ],
)
def test_damaged_folders_are_refused(name, data, message, folder):
    (folder / name).unlink()
    if data is not None:
        (folder / name).write_bytes(data)
    refused(folder, message)


def test_an_adapter_on_an_adapter_is_refused(folder):
    refused(folder, "carries an adapter itself: merge that one", adapted_net(torch.float32))
    shutil.rmtree(folder)
    refused(folder, "holds no plain LoRA adapter")
