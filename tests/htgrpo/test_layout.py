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
from tests.htgrpo.oracle import reference_logits, sequence
from tests.htgrpo.tiny import LAYOUTS, LONG, SHORT, WORDS, make_group, run_engine, tiny_policy


@pytest.fixture(params=LAYOUTS)
def policy(request):
    return tiny_policy(layout=request.param)


def outside(policy):
    """Ids that no image slot may be drawn from, and that are never judged."""
    b = policy.backbone
    return {*specials(policy), b.image_offset - 1, b.image_columns.stop}


def specials(policy):
    """Markers, newline, pad and mask of a backbone."""
    b = policy.backbone
    found = [*b.text_open, *b.text_close, *b.image_open, *b.row_close, *b.image_close, b.mask]
    return found if b.pad is None else [*found, b.pad]


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
    assert len(set(specials(policy))) == len(specials(policy)) >= 6 and max(specials(policy)) < b.image_offset
    assert b.image_columns == slice(b.image_offset, b.image_offset + b.codebook_size)
    assert b.image_columns.stop < policy.net.size.embedding_size


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (4, 1), (2, 3), (4, 2)])
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
    (task, bos), (eos,), pad = policy.backbone.text_open, policy.backbone.text_close, policy.backbone.pad
    red, circle = (WORDS.index(word) for word in ("red", "circle"))
    assert policy.prompt("red circle") == (task, bos, red, circle, eos)
    assert policy.prompt("") == policy.unconditional() == (task, bos, eos)
    assert policy.backbone.prompt("red", lambda text: [bos, red]) == (task, bos, red, eos), "bos is not doubled"
    fits, cut = policy.prompt("red " * 5), policy.prompt("red " * 6)
    assert fits == cut == (task, bos, *[red] * 5, eos) and len(cut) == 8
    padded = policy.prompt("red circle", pads="attend")
    assert padded == (pad,) * 3 + policy.prompt("red circle")
    assert policy.unconditional(pads="attend") == (pad,) * 5 + policy.unconditional()
    assert policy.prompt("red " * 9, pads="attend") == cut


def test_lumina_prompt():
    """The template around the text, an empty text included; a long one loses its own last ids, never the template's; no
    pads."""
    policy = tiny_policy(layout="lumina", max_text=8)
    two, red, circle, right, above, a = (WORDS.index(word) for word in ("two", "red", "circle", "right", "above", "a"))
    assert policy.prompt("red circle") == (two, red, circle, right, above)
    assert policy.prompt("") == (two, right, above)
    assert policy.unconditional() == policy.unconditional("attend") == (two, a, right, above)
    assert policy.prompt("red " * 5) == policy.prompt("red " * 50) == (two, *[red] * 5, right, above)
    assert policy.prompt("red", pads="attend") == policy.prompt("red")


def test_image_blocks():
    """MMaDA's slots stand between two markers; Lumina's rows each end in a newline, two markers before and after."""
    mmada, lumina = (tiny_policy(layout=name).backbone for name in ("mmada", "lumina"))
    assert mmada.image_block((2, 2)).tolist() == [*mmada.image_open, *[HIDDEN] * 4, *mmada.image_close]
    row = [HIDDEN, HIDDEN, HIDDEN, *lumina.row_close]
    assert lumina.image_block((2, 3)).tolist() == [*lumina.image_open, *row, *row, *lumina.image_close]
    assert [len(ids) for ids in (lumina.image_open, lumina.row_close, lumina.image_close)] == [2, 1, 2]


@torch.no_grad()
def test_a_batch_of_unequal_prompts_equals_one_at_a_time(policy):
    """Logits of every slot, prompts of several lengths in one pack against each alone and against the literal
    network."""
    texts, grid = (LONG, "", SHORT, LONG), (3, 2)
    codes = torch.randint(6, (4, 6), generator=torch.Generator().manual_seed(2))
    codes[:, 1::2] = HIDDEN
    prompts = [policy.prompt(text) for text in texts]
    packed, at = pack(policy, prompts, codes, grid)
    together = policy.net(packed, at.flatten(), policy.backbone.image_columns).view(4, 6, -1)
    for i, prompt in enumerate(prompts):
        alone, slots = pack(policy, [prompt], codes[i : i + 1], grid)
        assert float((together[i] - policy.net(alone, slots[0], policy.backbone.image_columns)).abs().max()) < 1e-12
        ids, where = sequence(policy, prompt, codes[i].tolist(), grid)
        literal = reference_logits(policy.net, ids)[where][:, policy.backbone.image_columns]
        assert float((together[i] - literal).abs().max()) < 1e-12


@pytest.mark.parametrize(
    "text", ["<|mdm_mask|> red", "[iPAD]", "<|soi|><|eoi|>", "red\x00\n\x1b[0mcircle", "zebra ünïcode 图"]
)
def test_a_prompt_cannot_smuggle_in_special_ids(text):
    """Special strings, control characters and unknown words in a prompt are ordinary text."""
    policy = tiny_policy()
    body = policy.prompt(text)[2:-1]
    assert not set(body) & set(specials(policy))
    assert all(i < policy.backbone.image_offset for i in body)
