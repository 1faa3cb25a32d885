"""PickScore and HPSv2.1 against their official code and against open_clip's own network, and what they read of pictures
and prompts."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from bench.scorers.clip_h import END, KNOWN, KNOWN_IDS, VIT_H, HPSv2, HPSv2Aliased, PickScore
from bench.scorers.clip_score import ClipScore
from bench.scorers.pixels import CLIP_MEAN, CLIP_STD
from bench.scorers.references import REFERENCES
from htgrpo.base.errors import UserError
from tests.scorers import tiny
from tests.scorers.ports import alone, gap, golden, rounding, seeded
from tests.scorers.tiny_clip_h import OPEN_CLIP, SIDE, SIZES, tiny_hpsv2, tiny_pickscore

BLACK = -torch.tensor(CLIP_MEAN) / torch.tensor(CLIP_STD)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("clip_h")
    tiny_pickscore(root / "pickscore", seeded())
    tiny_hpsv2(root / "hpsv2", seeded())
    return root


@pytest.fixture(scope="module")
def pickscore(folders):
    return PickScore.load(folders / "pickscore")


@pytest.fixture(scope="module")
def hpsv2(folders):
    return HPSv2.load(folders / "hpsv2", sizes=SIZES)


@pytest.mark.parametrize("name, close", [("pickscore", 2e-5), ("hpsv2", 2e-7)])
def test_scores_are_the_official_ones(name, close, request):
    wanted = golden(name)
    found = alone(request.getfixturevalue(name), *tiny.pairs())
    assert gap(found, wanted["scores"]) <= close + rounding(wanted["origin"], 10 * close)
    assert name in REFERENCES


def test_the_network_is_open_clips(hpsv2, folders):
    """The file's weights in open_clip's class give the same cosines, so that no weight is in another one's place."""
    net = open_clip.CLIP(**OPEN_CLIP).eval()
    state = torch.load(folders / "hpsv2" / "HPS_v2.1_compressed.pt", weights_only=True)["state_dict"]
    net.load_state_dict(state, strict=True)
    images, prompts = tiny.pairs()
    pixels = torch.stack([hpsv2.pixels(image) for image in images])
    with torch.inference_mode():
        seen, read = net.encode_image(pixels), net.encode_text(open_clip.SimpleTokenizer(context_length=77)(prompts))
    wanted = (normalize(seen, dim=-1) * normalize(read, dim=-1)).sum(-1).tolist()
    assert gap([one.score for one in hpsv2.score(images, prompts)], wanted) <= 1e-6


def test_without_a_file_of_sizes_they_are_open_clips():
    """VIT_H builds what open_clip calls ViT-H-14: as many weights, heads and positions."""
    from transformers import CLIPConfig, CLIPModel

    with torch.device("meta"):
        ours, theirs = CLIPModel(CLIPConfig.from_dict(VIT_H)), open_clip.create_model("ViT-H-14", device="meta")
    assert sum(one.numel() for one in ours.parameters()) == sum(one.numel() for one in theirs.parameters())
    heads = theirs.visual.transformer.resblocks[0].attn.num_heads, theirs.transformer.resblocks[0].attn.num_heads
    config = ours.config
    assert heads == (config.vision_config.num_attention_heads, config.text_config.num_attention_heads)
    assert type(theirs.transformer.resblocks[0].mlp.gelu) is torch.nn.GELU and theirs.context_length == 77


def test_pickscore_is_a_scaled_cosine_of_clips_picture(pickscore, hpsv2):
    image = tiny.picture(1, 97, 64)
    assert pickscore.scale == pytest.approx(np.exp(4.59375)) and hpsv2.scale == 1
    assert torch.equal(pickscore.pixels(image), ClipScore.pixels(pickscore, image))
    assert pickscore.pixels(image).shape == (3, SIDE, SIDE) and pickscore.reward_scale == 1 / 26
    changed = image.copy()
    changed.paste((255, 255, 255), (0, 0, 8, 64))  # a side, which is cut off
    assert alone(pickscore, [image], ["a cat"]) == alone(pickscore, [changed], ["a cat"])


def test_hpsv2_sees_the_whole_picture_between_black_bars(hpsv2):
    pixels = hpsv2.pixels(Image.new("RGB", (4 * SIDE, 2 * SIDE), (255, 255, 255)))
    black, white = pixels[:, : SIDE // 4], pixels[:, SIDE // 4 : SIDE * 3 // 4]
    assert torch.allclose(black, BLACK[:, None, None].expand_as(black)) and white.min() > 1
    assert torch.allclose(pixels[:, SIDE * 3 // 4 :], BLACK[:, None, None].expand_as(black))
    image = tiny.picture(1, 97, 64)
    changed = image.copy()
    changed.paste((255, 255, 255), (0, 0, 8, 64))
    assert alone(hpsv2, [image], ["a cat"]) != alone(hpsv2, [changed], ["a cat"])
    tall = hpsv2.pixels(tiny.picture(1, 15, SIDE))  # nothing to resize, and padded all the same; the odd column right
    assert not torch.allclose(tall[:, :, 20], BLACK[:, None].expand(3, SIDE))
    assert torch.allclose(tall[:, :, :20], BLACK[:, None, None].expand(3, SIDE, 20))
    assert torch.allclose(tall[:, :, 35:], BLACK[:, None, None].expand(3, SIDE, 21))


def test_a_picture_of_which_nothing_would_be_left(hpsv2):
    (judged,) = hpsv2.score([Image.new("RGB", (2000, 2))], ["a line"])
    assert judged.error == "the picture of 2000 x 2 is too long for HPSv2.1"


def test_antialias_is_what_the_identity_says(folders, monkeypatch):
    """Noise of 1024 made 224: with antialias its deviation is 0.051, without 0.247 and values leave 0..1."""
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    found, said = {}, {}
    for kind in (HPSv2, HPSv2Aliased):
        scorer = kind.load(folders / "hpsv2", sizes=SIZES)
        monkeypatch.setattr(scorer, "size", 224)
        seen = scorer.pixels(Image.fromarray(noise)) * torch.tensor(CLIP_STD)[:, None, None]
        seen += torch.tensor(CLIP_MEAN)[:, None, None]
        found[kind.antialias], said[kind.antialias] = seen, scorer.identity()
    assert found[True].std().item() == pytest.approx(0.051, abs=0.002)
    assert found[False].std().item() == pytest.approx(0.247, abs=0.005) and found[False].max() > 1
    assert {key for key in said[True] if said[True][key] != said[False][key]} == {"name", "antialias"}
    assert said[True]["antialias"] is True and said[True]["weights"] == "v2.1"


@pytest.mark.parametrize("name", ["pickscore", "hpsv2"])
def test_prompts_are_cut_at_77_tokens_and_read_at_their_end(name, request):
    scorer, image = request.getfixturevalue(name), tiny.picture(1, 64, 64)
    longest = " ".join(["cat"] * 75)
    judged = [scorer.score([image], [prompt])[0] for prompt in (longest[4:], longest, longest + " dog", "a " + longest)]
    assert [one.evidence["prompt_cut"] for one in judged] == [False, False, True, True]
    assert judged[1].score == judged[2].score and len({one.score for one in judged}) == 3
    ids = scorer.prepare(image, longest + " dog")[1]
    assert len(ids) == 77 and ids.index(END) == 76 and scorer.read(KNOWN) == KNOWN_IDS
    both = scorer.score([image, image], ["a cat", longest])  # filled up, which moves nothing
    assert abs(both[0].score - scorer.score([image], ["a cat"])[0].score) <= 1e-6 * scorer.scale


@pytest.mark.parametrize("name, end", [("pickscore", "<|endoftext|>"), ("hpsv2", "<end_of_text>")])
def test_a_prompt_with_the_end_token_is_refused(name, end, request):
    scorer = request.getfixturevalue(name)
    (judged,) = scorer.score([tiny.picture(1, 64, 64)], [f"a cat {end} a dog"])
    assert judged.error == "the prompt contains CLIP's end token, after which nothing would be read"


def test_prompts_are_cleaned_as_the_package_does(hpsv2):
    assert hpsv2.read("A  Photo\nof &amp;amp; cafÃ©") == hpsv2.read("a photo of & café")


@pytest.mark.parametrize(
    "change, said",
    [
        (
            lambda config: config["vision_config"].update(hidden_act="quick_gelu"),
            "activation gelu, got gelu, quick_gelu",
        ),
        (lambda config: config["text_config"].update(eos_token_id=7), "the end token 7"),
    ],
)
def test_another_network_is_refused(change, said, tmp_path):
    tiny_pickscore(tmp_path, seeded())
    config = json.loads((tmp_path / "config.json").read_text())
    change(config)
    tiny.write_json(tmp_path / "config.json", config)
    with pytest.raises(UserError, match=said):
        PickScore.load(tmp_path)


def test_another_vocabulary_is_refused(tmp_path):
    tiny_pickscore(tmp_path, seeded())
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    vocabulary["photo</w>"], vocabulary["cat</w>"] = vocabulary["cat</w>"], vocabulary["photo</w>"]
    tiny.write_json(tmp_path / "vocab.json", vocabulary)
    with pytest.raises(UserError, match="reads 'a photo of a cat' as .* use the files of laion/CLIP-ViT-H-14"):
        PickScore.load(tmp_path)


def test_version_2_0_is_another_scale_and_not_taken(tmp_path):
    tiny_hpsv2(tmp_path, seeded())
    (tmp_path / "HPS_v2.1_compressed.pt").rename(tmp_path / "HPS_v2_compressed.pt")
    with pytest.raises(UserError, match="run `hf download xswu/HPSv2 HPS_v2.1_compressed.pt`"):
        HPSv2.load(tmp_path, sizes=SIZES)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return open, (str(tmp_path / "run"), "w")

    torch.save({"state_dict": Hostile()}, tmp_path / "HPS_v2.1_compressed.pt")
    with pytest.raises(UserError, match="cannot be read as a file of tensors"):
        HPSv2.load(tmp_path, sizes=SIZES)
    assert not (tmp_path / "run").exists()
