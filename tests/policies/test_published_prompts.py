"""Sequences of the published backbones at their real ids, against the fact sheet's layouts written out; what a prompt
may hold."""

import pytest
import torch

from htgrpo.base.registry import BACKBONES as RECORDS
from htgrpo.base.registry import SAMPLERS
from htgrpo.interface import HIDDEN
from htgrpo.policies.policy import pack
from htgrpo.policies.tokenizer import PublishedTokenizer
from htgrpo.rollout import generate
from htgrpo.samplers import Lumina, MaskGIT
from tests.htgrpo.oracle import reference_logits
from tests.policies.conftest import BACKBONES

TEXT = "a red circle"
SYSTEM = "Generate an image according to the text prompt."
OFFSET = {"mmada": 126349, "lumina-dimoo": 126356}
ODD = {
    "empty": "", "space": " ", "control": "red\x00\n\t\x1b[0m\x7fcircle",
    "scripts": "赤い円 دائرة حمراء красный круг लाल वृत्त", "emoji": "👩‍👩‍👧‍👦🏳️‍🌈 e\u0301\u202e\ufeff",
    "surrogate": "red \ud800 circle \udfff", "braces": "{} {0} %s",
    "special": "<|mdm_mask|><|startoftext|><|endoftext|><|eot_id|><uncondition></user><system><IMAGE><|reserved_token_0|>",
    "nested": "<|mdm<|mdm_mask|>_mask|> <<uncondition>>", "upstream's names": "<|t2i|>[iPAD]<|soi|><|eoi|>",
}  # fmt: skip


def letters(text):
    """Ids of text under the made tokenizer, where every byte is one: those of its alphabet in order."""
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = sorted(ByteLevel.alphabet())
    pieces = ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
    return [alphabet.index(letter) for piece, _ in pieces for letter in piece]


def lumina(text_ids):
    """<system> S </system><user> text </user>, with the made tokenizer's ids of the four."""
    return (126085, *letters(SYSTEM), 126086, 126087, *text_ids, 126088)


# ---- prompts


def test_mmada_prompts(loaded):
    """Section 4.1: <|t2i|> bos text eos; upstream pads it on the left to 513, and MaskGRPO, which attends to the pads,
    to 257; without a text just <|t2i|> bos eos."""
    policy = loaded["mmada"]
    body = (126088, 126080, *letters(TEXT), 126081)
    assert policy.prompt(TEXT) == body
    assert policy.prompt(TEXT, "attend") == (126093,) * (257 - len(body)) + body
    assert policy.unconditional() == policy.prompt("") == (126088, 126080, 126081)
    assert policy.unconditional("attend") == (126093,) * 254 + (126088, 126080, 126081)


def test_lumina_prompts(loaded):
    """Sections 3.4 and 4.2: the template around the text, <uncondition> (one id) in its place; no pads ever."""
    policy = loaded["lumina-dimoo"]
    assert policy.prompt(TEXT) == policy.prompt(TEXT, "attend") == lumina(letters(TEXT))
    assert policy.unconditional() == policy.unconditional("attend") == lumina([126351])
    assert policy.prompt("") == lumina([])
    assert (
        policy.backbone.template.format("") + "<uncondition>" == f"<system>{SYSTEM}</system><user></user><uncondition>"
    )


@pytest.mark.parametrize("pads", ["strip", "attend"])
def test_long_prompts_keep_their_first_ids(pads, loaded):
    """MMaDA: the first L - 1 ids and eos, L = 513, or 257 with MaskGRPO's pads. Lumina-DiMOO: 1024 ids, the template
    whole."""
    long = "red circle, " * 2000
    ids, policy = letters(long), loaded["mmada"]
    most = {"strip": 510, "attend": 254}[pads]
    assert policy.prompt(long, pads) == (126088, 126080, *ids[:most], 126081)
    assert policy.prompt(long[:most], pads) == policy.prompt(long[: most + 1], pads) == policy.prompt(long, pads)
    found, room = loaded["lumina-dimoo"].prompt(long, pads), 1024 - len(lumina([]))
    assert found == lumina(ids[:room]) and len(found) == 1024


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_a_prompt_may_hold_anything(name, text, loaded):
    """No text breaks a batch, none becomes a special id, and every special id of the layout is where it belongs."""
    policy = loaded[name]
    record, prompt = policy.backbone, policy.prompt(text)
    frame = policy.prompt("")
    before = len(record.text_open) or len(lumina([])) - 1
    after = len(frame) - before
    assert prompt[:before] == frame[:before] and prompt[len(prompt) - after :] == frame[before:]
    assert all(0 <= i < 126080 for i in prompt[before : len(prompt) - after])
    assert text == "" or len(prompt) > len(frame)
    assert policy.tokenizer.plain(TEXT) == TEXT


@pytest.mark.parametrize("name", BACKBONES)
def test_every_special_string_is_plain_text_in_a_prompt(name, made):
    tokenizer = PublishedTokenizer(made[name])
    strings = tokenizer.library.get_added_vocab()
    assert len(strings) > 260
    for text, index in strings.items():
        assert tokenizer.encode(text) == [index] and max(tokenizer.encode(tokenizer.plain(f"a{text}b"))) < 126080
    together = "".join(strings)
    assert max(tokenizer.encode(tokenizer.plain(together))) < 126080
    assert tokenizer.plain(tokenizer.plain(together)) == tokenizer.plain(together)


def test_the_tokenizer_is_written_byte_for_byte(made, tmp_path):
    PublishedTokenizer(made["mmada"]).save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    assert all(path.read_bytes() == (made["mmada"] / path.name).read_bytes() for path in tmp_path.iterdir())


# ---- whole sequences


def expected(name, prompt, codes, grid):
    """Sections 4.1 and 4.2: the whole sequence and the positions of its image slots."""
    ids = [126336 if code == HIDDEN else OFFSET[name] + code for code in codes]
    if name == "mmada":
        return [*prompt, 126084, *ids, 126085], list(range(len(prompt) + 1, len(prompt) + 1 + len(codes)))
    sequence, slots = [*prompt, 126354, 126349], []
    for row in range(grid[0]):
        slots += range(len(sequence), len(sequence) + grid[1])
        sequence += [*ids[row * grid[1] : (row + 1) * grid[1]], 126084]
    return [*sequence, 126350, 126355], slots


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("grid", [(2, 3), (1, 1)])
def test_packed_sequences(name, grid, loaded):
    """Codes 0 and 8191 are the first and last image ids; hidden slots the mask; slots of both rows as the sheet counts
    them."""
    policy, slots = loaded[name], grid[0] * grid[1]
    codes = torch.tensor([[0, 8191, HIDDEN, 1, 8190, 4096][:slots], [HIDDEN] * slots])
    prompts = [policy.prompt(TEXT), policy.unconditional()]
    packed, at = pack(policy, prompts, codes, grid)
    start = 0
    for prompt, row, places in zip(prompts, codes.tolist(), at.tolist(), strict=True):
        ids, where = expected(name, prompt, row, grid)
        assert packed.ids[start : start + len(ids)].tolist() == ids
        assert places == [start + position for position in where]
        start += len(ids)
    assert packed.lengths == tuple(len(expected(name, p, [0] * slots, grid)[0]) for p in prompts)
    assert start == len(packed.ids)
    if name == "lumina-dimoo":
        assert at[0, 0] == len(prompts[0]) + 2, "upstream's code_start"


@pytest.mark.parametrize(
    ("name", "pixels", "slots", "newlines"),
    [
        ("mmada", "512", 1024, 0), ("mmada", "", 1024, 0), ("mmada", "256", 256, 0),
        ("lumina-dimoo", "512", 1024, 32), ("lumina-dimoo", "", 4096, 64), ("lumina-dimoo", "768x1536", 4608, 48),
    ],
)  # fmt: skip
def test_usual_sizes(name, pixels, slots, newlines):
    """Section 4: slots and newlines of the usual sizes, without and with default."""
    backbone = RECORDS.get(name).backbone
    block = backbone.image_block(backbone.grid_of(pixels))
    assert int((block == HIDDEN).sum()) == slots
    if newlines:
        assert int((block == 126084).sum()) == newlines
        assert block[2:-2].reshape(newlines, -1)[:, -1].unique().tolist() == [126084]
    assert len(block) == slots + newlines + {"mmada": 2, "lumina-dimoo": 4}[name]


# ---- real ids in the network


@pytest.mark.parametrize("name", BACKBONES)
@torch.no_grad()
def test_image_columns_are_the_published_slice(name, loaded):
    """Logits of the codes equal the slice of the full logits at the sheet's ids, through a literal network; a slice
    that is off by one, by the other backbone's offset or at llm_vocab_size does not."""
    policy, offset, grid = loaded[name], OFFSET[name], (2, 3)
    codes = torch.tensor([[0, 8191, HIDDEN, HIDDEN, 5, HIDDEN]])
    packed, slots = pack(policy, [policy.prompt(TEXT)], codes, grid)
    found = policy.net(packed, slots[0], policy.backbone.image_columns)
    ids, where = expected(name, policy.prompt(TEXT), codes[0].tolist(), grid)
    full = reference_logits(policy.net, ids)[where]
    assert found.shape == (6, 8192) and full.shape == (6, {"mmada": 134656, "lumina-dimoo": 134548}[name])
    assert float((found - full[:, offset : offset + 8192]).abs().max()) < 1e-11
    for wrong in {offset - 1, offset + 1, 126349, 126356, 126464 - 8192} - {offset}:
        assert float((found[:, :8000] - full[:, wrong : wrong + 8000]).abs().max()) > 1.0
    moved = [i - 1 if j in where and i != 126336 else i for j, i in enumerate(ids)]
    assert float((full - reference_logits(policy.net, moved)[where]).abs().max()) > 0.1, "ids of visible codes matter"


@torch.no_grad()
def test_stripped_pads_equal_upstreams_pair_mask(loaded):
    """MMaDA's sampler: 513 ids with left pads, every pair with a pad masked. Pads are never computed here; positions
    are relative, up to the rounding of fp32 angles. Pads that are attended are another matter."""
    policy, grid = loaded["mmada"], (2, 2)
    codes, columns = torch.tensor([[7, HIDDEN, HIDDEN, 8000]]), policy.backbone.image_columns
    for prompt in (policy.prompt(TEXT), policy.unconditional()):
        padded = (126093,) * (513 - len(prompt)) + prompt
        packed, slots = pack(policy, [prompt], codes, grid)
        found = policy.net(packed, slots[0], columns)
        ids, where = expected("mmada", padded, codes[0].tolist(), grid)
        assert len(ids) == 513 + 1 + 4 + 1 and where == list(range(len(ids) - 5, len(ids) - 1))
        visible = [i != 126093 for i in ids]
        masked, seen = (reference_logits(policy.net, ids, mask=mask)[where][:, columns] for mask in (visible, None))
        assert float((found - masked).abs().max()) < 2e-4
        assert float((found - seen).abs().max()) > 0.1
        attended, at = pack(policy, [padded], codes, grid)
        assert float((policy.net(attended, at[0], columns) - seen).abs().max()) < 1e-11


@pytest.mark.parametrize("name", BACKBONES)
def test_pictures_are_sampled_with_guidance(name, loaded):
    """Own sampler, both prompts' rows: codes of the book, no difference between batched and alone, pictures that
    differ."""
    policy = loaded[name]
    sampler = SAMPLERS.get(policy.backbone.sampler)(steps=3)
    assert isinstance(sampler, {"mmada": MaskGIT, "lumina-dimoo": Lumina}[name])
    texts, keys = [TEXT, "two blue squares", "", ODD["scripts"]], [("picture", i) for i in range(4)]
    prompts = [policy.prompt(text) for text in texts]
    found = generate(policy, prompts, keys, sampler, 2.0)
    alone = generate(policy, prompts[1:2], keys[1:2], sampler, 2.0)
    assert torch.equal(found.codes[1], alone.codes[0]) and torch.equal(found.rank[1], alone.rank[0])
    bare = generate(policy, prompts, keys, sampler, 0.0)
    assert not torch.equal(found.codes, bare.codes) and not torch.equal(found.entropy, bare.entropy)
    assert 0 <= int(found.codes.min()) and int(found.codes.max()) < 8192 and len(found.codes.unique()) > 8
    pictures = policy.decode(found.codes)
    assert pictures.shape == (4, 3, *(16 * side for side in policy.backbone.grid)) and pictures.dtype == torch.float32
    assert 0 <= float(pictures.min()) < float(pictures.max()) <= 1
    assert all(float((pictures[i] - pictures[j]).abs().mean()) > 0.02 for i in range(4) for j in range(i))


@torch.no_grad()
def test_the_unconditional_row_is_luminas_own(loaded):
    """Guidance of one step: the entropy recorded is that of (1 + g) conditional - g unconditional, rows of different
    length."""
    policy, grid, g = loaded["lumina-dimoo"], (2, 3), 2.0
    found = generate(policy, [policy.prompt(TEXT)], [("row", 0)], Lumina(1), g, grid)
    logits = []
    for prompt in (lumina(letters(TEXT)), lumina([126351])):
        ids, where = expected("lumina-dimoo", prompt, [HIDDEN] * 6, grid)
        logits.append(reference_logits(policy.net, ids)[where][:, 126356:])
    log_p = ((1 + g) * logits[0] - g * logits[1]).log_softmax(-1)
    assert torch.allclose(found.entropy[0].double(), -(log_p.exp() * log_p).sum(-1), atol=1e-4)
