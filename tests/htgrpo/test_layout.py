"""Prompt layout and image block of every backbone record: slots are judged, and nothing else ever is."""

from dataclasses import replace

import pytest
import torch

from htgrpo.ht import HT
from htgrpo.interface import HIDDEN
from htgrpo.policies.llada import LLaDA
from htgrpo.policies.policy import pack
from htgrpo.rollout import generate
from htgrpo.samplers import MaskGIT
from tests.htgrpo.tiny import LAYOUTS, LONG, SHORT, make_group, run_engine, tiny_policy


@pytest.fixture(params=LAYOUTS)
def policy(request):
    return tiny_policy(layout=request.param)


def outside(policy):
    """Ids that no image slot may be drawn from, and that are never judged."""
    b = policy.backbone
    return {b.bos, b.eos, b.pad, b.task, b.image_start, b.image_end, b.mask, b.image_offset - 1, b.image_columns.stop}


def watch(monkeypatch):
    """Records (ids at the head's positions, columns) of every forward."""
    seen = []
    forward = LLaDA.forward

    def watched(self, packed, at, columns):
        seen.append((packed.ids[at], columns, packed))
        return forward(self, packed, at, columns)

    monkeypatch.setattr(LLaDA, "forward", watched)
    return seen


def test_ids_are_distinct_and_ordered(policy):
    """Text < specials < codes; every id is a row of the embedding, and the head is wider than the codes."""
    b = policy.backbone
    specials = [b.bos, b.eos, b.pad, b.task, b.image_start, b.image_end, b.mask]
    assert len(set(specials)) == 7 and max(specials) < b.image_offset
    assert b.image_columns == slice(b.image_offset, b.image_offset + b.codebook_size)
    assert b.image_columns.stop < policy.net.size.embedding_size


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (4, 2)])
def test_slots_are_where_the_codes_are(policy, grid):
    """Packed codes come back from their slots in raster order; every other id is the prompt's or a marker."""
    slots = grid[0] * grid[1]
    codes = torch.randint(6, (3, slots), generator=torch.Generator().manual_seed(0))
    codes[1, 0] = codes[2] = HIDDEN
    prompts = [policy.prompt(text) for text in (LONG, "", SHORT)]
    packed, at = pack(policy, prompts, codes, grid)
    b = policy.backbone
    assert at.shape == (3, slots) and len(at.flatten().unique()) == 3 * slots
    assert torch.equal(packed.ids[at], torch.where(codes == HIDDEN, b.mask, codes + b.image_offset))
    rest = packed.ids.clone()
    rest[at] = -9
    wanted = [i for p in prompts for i in (*p, *[-9 if i == HIDDEN else i for i in b.image_block(grid).tolist()])]
    assert rest.tolist() == wanted
    assert sum(packed.lengths) == len(packed.ids)


@pytest.mark.parametrize("pads", ["strip", "attend"])
@pytest.mark.parametrize("method", [HT(), HT(context="structure_revealed")], ids=["empty", "revealed"])
def test_only_slots_are_judged(policy, method, pads, monkeypatch):
    """In the engine: the head meets image slots alone (codes or masks), and image columns alone."""
    seen = watch(monkeypatch)
    groups = [replace(make_group(policy, text), prompt=policy.prompt(text, pads)) for text in (LONG, SHORT)]
    run_engine(policy, groups, method, beta=0.0)
    assert seen
    for ids, columns, _ in seen:
        assert not set(ids.tolist()) & (outside(policy) - {policy.backbone.mask})
        assert columns == policy.backbone.image_columns


def test_only_slots_are_sampled(policy, monkeypatch):
    """In rollouts: the head runs on masked slots alone, and codes are codes."""
    seen = watch(monkeypatch)
    found = generate(policy, [policy.prompt(LONG), policy.prompt(SHORT)], [(0,), (1,)], MaskGIT(4), 1.0)
    assert 0 <= int(found.codes.min()) and int(found.codes.max()) < policy.backbone.codebook_size
    for ids, columns, _ in seen:
        assert set(ids.tolist()) == {policy.backbone.mask} and columns == policy.backbone.image_columns


def test_marker_prompt_and_pad_logits_carry_no_loss(policy):
    """The head's rows outside the codes get no gradient from any update."""
    gradients, _ = run_engine(policy, [make_group(policy)], HT(), beta=0.0)
    size, offset = policy.net.size, 0
    for name, weight in policy.net.named_parameters():
        if name == "model.transformer.ff_out.weight":
            head = gradients[0][offset : offset + weight.numel()].reshape(weight.shape)
        offset += weight.numel()
    assert head.shape == (size.embedding_size, size.d_model)
    assert float(head[policy.backbone.image_columns].abs().max()) > 0
    for row in outside(policy):
        assert float(head[row].abs().max()) == 0


def test_mmada_prompt():
    """`<|t2i|> bos text eos`; an empty text is bos eos; a long one keeps its first ids and ends in eos."""
    policy = tiny_policy(max_text=8)
    b = policy.backbone
    red, circle = (policy.tokenizer.token_to_id(word) for word in ("red", "circle"))
    assert policy.prompt("red circle") == (b.task, b.bos, red, circle, b.eos)
    assert policy.prompt("") == (b.task, b.bos, b.eos)
    assert b.prompt([b.bos, red]) == (b.task, b.bos, red, b.eos), "bos is not doubled"
    fits, cut = policy.prompt("red " * 5), policy.prompt("red " * 6)
    assert fits == cut == (b.task, b.bos, *[red] * 5, b.eos) and len(cut) == 8
    padded = policy.prompt("red circle", pads="attend")
    assert padded == (b.pad,) * 3 + policy.prompt("red circle")
    assert policy.prompt("red " * 9, pads="attend") == cut


def test_mmada_image_block():
    b = tiny_policy().backbone
    assert b.image_block((2, 2)).tolist() == [b.image_start, *[HIDDEN] * 4, b.image_end]


@pytest.mark.parametrize("text", ["<|mdm_mask|> red", "[iPAD]", "<|soi|><|eoi|>", "red\x00\n\x1b[0mcircle", "zebra ünïcode 图"])
def test_a_prompt_cannot_smuggle_in_special_ids(text):
    """Special strings, control characters and unknown words in a prompt are ordinary text."""
    policy = tiny_policy()
    b = policy.backbone
    body = policy.prompt(text)[2:-1]
    assert not set(body) & {b.bos, b.eos, b.pad, b.task, b.image_start, b.image_end, b.mask}
    assert all(i < b.image_offset for i in body)
