"""GenEval's detector: MMDetection's pixels and post-processing, against its own class's numbers and a slow second
version."""

import hashlib

import numpy as np
import pytest
import torch

from bench.scorers.geneval import detector, network, pixels
from bench.scorers.geneval.convert import by_pixel, convert
from htgrpo.base.errors import UserError
from tests.scorers import tiny_mask2former as tiny

GOLDEN = tiny.GOLDEN


def drawing() -> np.ndarray:
    """The picture that MMDetection looked at."""
    image = np.zeros((60, 91, 3), np.uint8)
    image[...] = (30, 90, 200)
    image[10:40, 15:50] = (220, 40, 30)
    image[30:55, 60:85] = (250, 240, 60)
    image[5:20, 55:80] = (40, 180, 70)
    return image + (np.arange(91)[None, :, None] * np.array([1, 0, 0])).astype(np.uint8) // 2


@pytest.fixture(scope="module")
def state() -> dict:
    return tiny.weights(GOLDEN["shapes"])


@pytest.fixture(scope="module")
def net(state):
    net = network.make_network(tiny.config())
    network.fill_from(net, convert(state, "the test"), "the test", "cpu", torch.float32)
    return net


# --- pixels ---


@pytest.mark.parametrize(
    "size, resized",
    [
        ((512, 512), (800, 800)), ((1024, 1024), (800, 800)), ((60, 91), (800, 1213)), ((768, 1536), (667, 1333)),
        ((1536, 768), (1333, 667)), ((800, 800), (800, 800)), ((1, 500), (3, 1333)),
    ],
)  # fmt: skip
def test_the_short_side_is_800_unless_the_long_one_passes_1333(size, resized):
    assert pixels.resized_size(*size) == resized


# sha256 of cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR) for _noise(h, w), by opencv-python-headless
# 4.7.0.72 and 5.0.0.93 alike
RESIZED = {
    ((512, 512), (800, 800)): "ac396298c1d479fb670e912202bfed33b175146007eb8054f7af7b242ee29649",
    ((300, 511), (783, 1333)): "0101c6e6ba6fb469aa24a2d9694f0b002c91011a7e45fe9c8c7e6c56be590567",
    ((64, 64), (800, 800)): "88771efa555292ce1b793af47fda4bba113272bdb955eb15bf76e07852d7dc6a",
    ((1024, 1000), (80, 77)): "8ecba9a13aaa3b14015415d86b7fabf86fbc37afe40befa55aa6cda7388a3843",
    ((37, 91), (37, 91)): "337686ecc26f8473b2ab23bbb6ee9d76c0af3685132e774711cae50cc2c2a066",
}


def _noise(height, width):
    values = np.arange(height * width * 3, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(4294967291)
    return (values >> np.uint64(13)).astype(np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("sizes", RESIZED, ids=str)
def test_resizing_is_opencvs_to_the_bit(sizes):
    (h, w), (height, width) = sizes
    made = pixels.resize(_noise(h, w), height, width)
    assert made.shape == (height, width, 3) and made.dtype == np.uint8
    assert hashlib.sha256(made.tobytes()).hexdigest() == RESIZED[sizes]


def test_network_input_is_mmdetections():
    prepared, resized = pixels.prepare(drawing())
    expected = GOLDEN["input"]
    assert list(prepared.shape) == expected["shape"] and list(resized) == expected["resized"]
    assert prepared.double().sum().item() == pytest.approx(expected["sum"], abs=0.5)
    for channel, row, column, value in expected["points"]:
        assert prepared[channel, row, column].item() == pytest.approx(value, abs=1e-6)
    grey = torch.tensor([(128 - mean) / std for mean, std in zip(pixels.MEAN, pixels.STD)])
    assert torch.allclose(prepared[:, :, resized[1] :], grey[:, None, None], atol=1e-6)


# --- the network ---


def test_the_network_with_mmdetections_weights_gives_mmdetections_numbers(net):
    with torch.inference_mode():
        output = net(pixel_values=pixels.prepare(drawing())[0][None])
    classes, masks = output.class_queries_logits[0], output.masks_queries_logits[0]
    step = GOLDEN["mask_logits"]["stride"]
    expected = torch.tensor(GOLDEN["class_logits"])
    assert expected.std(0).mean() > 0.5, "queries must differ, or the comparison says nothing"
    assert (classes - expected).abs().max() < 1e-4
    upsampled = torch.nn.functional.interpolate(masks[None], GOLDEN["input"]["shape"][1:], mode="bilinear")[
        0, :, ::step, ::step
    ]
    assert (upsampled - torch.tensor(GOLDEN["mask_logits"]["values"])).abs().max() < 1e-3


@pytest.mark.parametrize(
    "key", ["backbone.stages.0.downsample.reduction.weight", "backbone.stages.2.downsample.norm.weight"]
)
def test_unfolds_order_of_patch_merging_matters(state, net, key):
    wrong = network.make_network(tiny.config())
    spoilt = dict(state)
    spoilt[key] = spoilt[key].flip(-1)
    network.fill_from(wrong, convert(spoilt, "the test"), "the test", "cpu", torch.float32)
    picture = pixels.prepare(drawing())[0][None, :, :96, :160]
    with torch.inference_mode():
        difference = net(pixel_values=picture).class_queries_logits - wrong(pixel_values=picture).class_queries_logits
    assert difference.abs().max() > 1e-3


def test_merging_takes_blocks_as_unfold_does():
    features = torch.randn(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    unfolded = torch.nn.Unfold(2, stride=2)(features)[0].T  # [pixels, 4c], channel by channel
    weight = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    last = features.permute(0, 2, 3, 1)
    # transformers
    merged = torch.cat([last[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], -1).reshape(-1, 12)
    assert torch.allclose(unfolded @ weight.T, merged @ by_pixel(weight).T, atol=1e-5)


def test_detections_are_mmdetections(net):
    judge = detector.Detector(net, tiny.NAMES, {}, "cpu")
    (found,) = judge.detect([drawing()])
    expected = sorted((box for box in GOLDEN["detections"] if box[5] > 0.3), key=lambda box: -box[5])
    areas = {(label, area) for label, area in GOLDEN["mask_areas"]}
    assert len(found) == len(expected) >= 5
    for one, (label, *box, score) in zip(found, expected):
        assert one.cls == tiny.NAMES[label] and list(one.box) == box
        assert one.score == pytest.approx(score, abs=1e-4)
        assert one.mask.shape == (60, 91) and one.mask.dtype == bool
        assert min(abs(int(one.mask.sum()) - area) for which, area in areas if which == label) <= 2


def test_batches_and_company_do_not_change_detections(net, monkeypatch):
    monkeypatch.setattr(pixels, "SHORT", 200)
    monkeypatch.setattr(pixels, "LONG", 400)
    judge = detector.Detector(net, tiny.NAMES, {}, "cpu")
    wide, tall = drawing()[:30, :80], np.ascontiguousarray(drawing().transpose(1, 0, 2))[:80, :30]
    alone = [judge.detect([picture])[0] for picture in (wide, tall, wide[::-1])]
    together = judge.detect([wide, tall, wide[::-1]])
    assert sum(map(len, alone)) > 0
    for one, other in zip(alone, together, strict=True):
        assert [(item.cls, item.box) for item in one] == [(item.cls, item.box) for item in other]
        assert [item.score for item in one] == pytest.approx([item.score for item in other], abs=1e-5)


def test_a_detector_of_other_classes_is_refused(net):
    with pytest.raises(UserError, match="tells 5 classes apart, but GenEval names 2"):
        detector.Detector(net, ["cup", "dog"], {}, "cpu")


def test_official_class_names(assets, monkeypatch):
    monkeypatch.setenv("HTGRPO_ASSETS", str(assets))
    names = detector.class_names()
    assert len(names) == len(set(names)) == 80
    assert names[0] == "person" and "computer mouse" in names and "tv remote" in names


# --- post-processing, slowly ---


def slow_resize(image, height, width):
    """Bilinear, half-pixel centres, edges repeated; one number after the other."""
    made = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            y = min(max((row + 0.5) * image.shape[0] / height - 0.5, 0), image.shape[0] - 1)
            x = min(max((column + 0.5) * image.shape[1] / width - 0.5, 0), image.shape[1] - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, image.shape[0] - 1), min(x0 + 1, image.shape[1] - 1)
            upper = image[y0, x0] * (1 - (x - x0)) + image[y0, x1] * (x - x0)
            lower = image[y1, x0] * (1 - (x - x0)) + image[y1, x1] * (x - x0)
            made[row, column] = upper * (1 - (y - y0)) + lower * (y - y0)
    return made


def slow_detections(classes, masks, padded, resized, size, names, most):
    """MMDetection's instance_postprocess in words: every pair of a query and a class, the best `most`, one mask at a
    time."""
    pairs = []
    for query, logits in enumerate(classes):
        parts = np.exp(logits - logits.max())
        for label in range(len(names)):
            pairs.append((parts[label] / parts.sum(), query, label))
    pairs = sorted(pairs, reverse=True)[:most]
    found = []
    for probability, query, label in pairs:
        mask = slow_resize(slow_resize(masks[query], *padded)[: resized[0], : resized[1]], *size)
        binary = mask > 0
        quality = ((1 / (1 + np.exp(-mask))) * binary).sum() / (binary.sum() + 1e-6)
        rows, columns = np.nonzero(binary)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
        found.append((names[label], probability * quality, tuple(float(side) for side in box), binary))
    return sorted(found, key=lambda item: -item[1])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("most, floor", [(100, -1.0), (7, -1.0), (100, 0.3)])
def test_post_processing_against_the_slow_version(seed, most, floor, monkeypatch):
    monkeypatch.setattr(detector, "MOST", most)
    draws = torch.Generator().manual_seed(seed)
    classes, masks = 2 * torch.randn(4, 4, generator=draws), 3 * torch.randn(4, 6, 8, generator=draws)
    masks[3] = -1.0  # an empty mask
    shape = ((24, 32), (20, 30), (13, 17))
    names = ["cup", "dog", "cat"]
    found = detector.post_process(classes, masks, *shape, names, floor)
    expected = slow_detections(classes.double().numpy(), masks.double().numpy(), *shape, names, most)
    expected = [item for item in expected if item[1] > floor]
    assert len(found) == len(expected) and (len(found) == min(12, most) if floor < 0 else len(found) < 12)
    assert [one.score for one in found] == pytest.approx([score for _, score, _, _ in expected], abs=1e-5)
    empty = {one.cls for one in found if one.score == 0}
    for one, (cls, score, box, mask) in zip(found, expected):
        if score > 0:  # those of the empty mask tie
            assert one.cls == cls and one.box == box and np.array_equal(one.mask, mask)
        else:
            assert one.box == (0, 0, 0, 0) and not one.mask.any() and cls in empty


def test_one_query_may_be_found_under_several_classes():
    classes = torch.tensor([[5.0, 5.0, -9.0, -9.0]])
    found = detector.post_process(classes, torch.full((1, 2, 2), 9.0), (8, 8), (8, 8), (8, 8), ["cup", "dog", "cat"])
    assert {one.cls for one in found} == {"cup", "dog"} and all(one.box == (0, 0, 8, 8) for one in found)
    assert all(one.score == pytest.approx(0.5, abs=1e-3) for one in found)


def test_the_floor_is_strict_and_nothing_found_is_an_empty_list():
    classes, mask = torch.tensor([[5.0, -9.0]]), torch.full((1, 2, 2), 9.0)
    (one,) = detector.post_process(classes, mask, (8, 8), (8, 8), (8, 8), ["cup"])
    assert detector.post_process(classes, mask, (8, 8), (8, 8), (8, 8), ["cup"], floor=one.score) == []
    assert detector.post_process(-classes, mask, (8, 8), (8, 8), (8, 8), ["cup"]) == []
