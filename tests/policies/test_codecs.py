"""What both image codecs promise: shapes, ranges, order, batches, folders, refusals, and that random ones are worth
scoring."""

from types import SimpleNamespace

import pytest
import torch

from htgrpo.base.rng import generator
from htgrpo.policies import magvit_net
from htgrpo.policies.magvit import Magvit, MagvitCodec, tiny_magvit
from htgrpo.policies.vqmodel import VQModelCodec, tiny_vqmodel
from tests.policies.codecs import MAKERS, draw, gap, refusal


@pytest.fixture(scope="module", params=MAKERS)
def codec(request):
    return MAKERS[request.param](generator("codec"))


def test_shapes_and_range(codec):
    codes = draw(codec, 2, (3, 2))
    images = codec.decode(codes, (3, 2))
    assert (codec.patch, len(codec)) == (16, 8192)
    assert images.shape == (2, 3, 48, 32) and images.dtype == torch.float32 and not images.requires_grad
    assert 0.0 <= float(images.min()) < float(images.max()) <= 1.0
    found = codec.encode(images)
    assert found.shape == (2, 6) and found.dtype == torch.int64 and 0 <= int(found.min()) <= int(found.max()) < 8192
    assert codec.decode(codes[:0], (3, 2)).shape == (0, 3, 48, 32) and codec.encode(images[:0]).shape == (0, 6)
    assert torch.equal(codec.decode(codes, (3, 2)), images) and torch.equal(codec.encode(images), found)
    assert gap(codec.decode(codes, (2, 3)).reshape(2, -1), images.reshape(2, -1)) > 0.1


def test_raster_order(codec):
    """Changing the code of row r, column c changes that patch most, and encoding cuts patches in the same order."""
    grid, size = (2, 5), codec.patch
    codes = draw(codec, 6, grid)
    for slot in (0, 4, 7):
        other = codes.clone()
        other[:, slot] = draw(codec, 6, (1, 1), seed=slot)[:, 0]
        change = (codec.decode(codes, grid) - codec.decode(other, grid)).abs().mean((0, 1))
        assert int(torch.nn.functional.avg_pool2d(change[None], size).argmax()) == slot
    images = torch.full((1, 3, 2 * size, 5 * size), 0.5)
    plain = codec.encode(images)
    images[:, :, size:, 3 * size : 4 * size] = torch.rand(3, size, size, generator=generator("patch"))
    assert plain[0, 8] != codec.encode(images)[0, 8]


def test_random_pictures_vary(codec):
    """A reward on random pictures of a tiny codec has spread: between pictures, and from the change of one code."""
    codes = draw(codec, 12, (4, 4))
    images = codec.decode(codes, (4, 4))
    assert float(images.std(0).mean()) > 0.1 and 0.3 < float(images.mean()) < 0.7
    assert float(((images == 0) | (images == 1)).float().mean()) < 0.25
    assert float(images.mean((2, 3)).std(0).mean()) > 0.01, "mean colours differ"
    codes[:, 5] = draw(codec, 12, (1, 1), seed=1)[:, 0]
    change = torch.nn.functional.avg_pool2d((codec.decode(codes, (4, 4)) - images).abs().mean(1), 16).mean(0).flatten()
    assert float(change[5]) > 0.1 and float(change[5]) > 2 * float(change[8:].mean())
    assert len(codec.encode(images).unique()) > 20


def test_batches_change_nothing(codec):
    codes = draw(codec, 5, (2, 3))
    images = codec.decode(codes, (2, 3))
    found = codec.encode(images)
    assert all(torch.equal(codec.decode(codes[i : i + 1], (2, 3)), images[i : i + 1]) for i in range(5))
    assert all(torch.equal(codec.encode(images[i : i + 1]), found[i : i + 1]) for i in range(5))
    usual = codec.pixels_per_batch
    for pictures in (2, 3, 5):
        codec.pixels_per_batch = pictures * 6 * 256 + 1
        assert gap(codec.decode(codes, (2, 3)), images) <= 1e-5, "other kernels: rounding only"
        assert torch.equal(codec.encode(images), found)
    codec.pixels_per_batch = usual


def test_the_batch_split_follows_pixels_per_batch(monkeypatch):
    codec, seen = tiny_magvit(generator("split"), bits=4), []
    inner = MagvitCodec._decode
    monkeypatch.setattr(MagvitCodec, "_decode", lambda self, codes: (seen.append(len(codes)), inner(self, codes))[1])
    for pixels in (codec.pixels_per_batch, 512, 1100, 10**9):
        codec.pixels_per_batch = pixels
        codec.decode(draw(codec, 5, (1, 2)), (1, 2))
    assert seen == [1, 1, 1, 1, 1] + [1, 1, 1, 1, 1] + [2, 2, 1] + [5]


def test_the_default_batch_fits_the_device(monkeypatch):
    """One picture on a CPU; on a GPU a sixteenth of its memory, at six of the widest activations per pixel."""
    assert tiny_magvit(generator("memory"), bits=4).pixels_per_batch == 1
    monkeypatch.setattr(MagvitCodec, "device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=24 << 30))
    assert tiny_magvit(generator("memory"), bits=4).pixels_per_batch == (24 << 30) // 16 // (6 * 64 * 4)
    with torch.device("meta"):
        published = MagvitCodec(Magvit(magvit_net.PUBLISHED))
    assert published.pixels_per_batch // 512**2 == 2


def test_convolutions_keep_float32_on_a_gpu(monkeypatch):
    """TF32 is off while the network runs, and as it was afterwards."""
    codec, seen, setting = tiny_magvit(generator("tf32"), bits=4), [], torch.backends.cudnn
    monkeypatch.setattr(
        MagvitCodec, "_encode", lambda self, images: (seen.append(setting.allow_tf32), torch.zeros(1))[1]
    )
    monkeypatch.setattr(setting, "allow_tf32", True)
    codec.encode(torch.zeros(1, 3, 16, 16))
    assert seen == [False] and setting.allow_tf32 is True


def test_save_and_load(codec, tmp_path):
    codec.save(tmp_path)
    again, codes = type(codec).load(tmp_path), draw(codec, 2, (2, 2))
    images = codec.decode(codes, (2, 2))
    assert (len(again), again.patch, again.dtype, again.device.type) == (len(codec), 16, torch.float32, "cpu")
    assert torch.equal(again.decode(codes, (2, 2)), images) and torch.equal(again.encode(images), codec.encode(images))
    assert again.to("cpu") is again and not any(w.requires_grad for w in again.net.parameters())
    assert not again.net.training
    rough = type(codec).load(tmp_path, dtype=torch.bfloat16)
    found = rough.decode(codes, (2, 2))
    assert rough.dtype == torch.bfloat16 and found.dtype == torch.float32
    assert 1e-4 < float((found - images).abs().mean()) < 0.05


def test_the_global_generator_is_left_alone(tmp_path):
    before = torch.get_rng_state()
    for maker in MAKERS.values():
        codec = maker(generator("global"))
        codec.save(tmp_path)
        codec = type(codec).load(tmp_path)
        codec.encode(codec.decode(draw(codec, 1, (1, 1)), (1, 1)))
    Magvit(magvit_net.TINY)
    assert torch.equal(before, torch.get_rng_state())


def test_tiny_codecs_follow_their_generator():
    for maker in MAKERS.values():
        one, same, other = (maker(generator("tiny", seed)).net.state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(one[key], same[key]) for key in one)
        assert not torch.equal(one["decoder.conv_out.weight"], other["decoder.conv_out.weight"])
    assert len(tiny_magvit(generator(0), bits=5)) == 32 and len(tiny_vqmodel(generator(0), codes=100)) == 100


def test_refused_codes(codec):
    codes = draw(codec, 2, (2, 2))
    for wrong in (codes[0], codes[:, :3], codes.float(), codes.int()):
        refusal("do not fill a grid of 2 x 2", codec.decode, wrong, (2, 2))
    refusal("do not fill a grid of 0 x 4", codec.decode, codes[:, :0], (0, 4))
    for value in (-1, 8192):
        codes[1, 3] = value
        refusal("0..8191", codec.decode, codes, (2, 2))


def test_refused_pictures(codec):
    for shape in ((3, 16, 16), (1, 1, 16, 16), (1, 16, 16, 3)):
        refusal("cannot be encoded", codec.encode, torch.zeros(shape))
    refusal("uint8", codec.encode, torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    for shape in ((1, 3, 24, 16), (1, 3, 16, 8), (1, 3, 0, 16)):
        refusal("multiples of 16", codec.encode, torch.zeros(shape))
    for value in (-1.0, 1.5, float("nan")):
        refusal("must lie in [0, 1]", codec.encode, torch.full((1, 3, 16, 16), value))


def test_no_codec_there(tmp_path):
    for cls in (MagvitCodec, VQModelCodec):
        refusal("there is no folder", cls.load, tmp_path / "nowhere")
        refusal("give the folder that holds", cls.load, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    refusal("cannot be read", MagvitCodec.load, tmp_path)
