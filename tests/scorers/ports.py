"""What the tests of the native scorers share."""

import io
import json
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from bench.scorers import instructions
from htgrpo.base.errors import UserError
from tests.scorers import tiny
from tests.scorers.texts import STAND_IN

GOLDEN = Path(__file__).parents[1] / "golden" / "scorers"


def seeded():
    return torch.Generator().manual_seed(0)


def golden(name):
    """The official package's numbers."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def rounding(origin, beyond):
    """0.0 on the kernels that the golden numbers were measured with, on others `beyond`."""
    same = torch.__version__ == origin["torch"] and torch.backends.cpu.get_cpu_capability() == origin["cpu"]
    return 0.0 if same else beyond


def alone(scorer, images, prompts):
    """The scores of pictures judged one at a time."""
    return [scorer.score([image], [prompt])[0].score for image, prompt in zip(images, prompts)]


def gap(found, wanted):
    """The greatest difference."""
    assert len(found) == len(wanted)
    return max(abs(one - other) for one, other in zip(found, wanted))


def use_stand_ins(monkeypatch, folder):
    """Makes the stand-in texts the instructions."""
    tiny.write_json(folder / "stand_in.json", STAND_IN)
    monkeypatch.setattr(instructions, "asset", lambda name: folder / "stand_in.json")


def broken():
    """A picture whose file ends early: it opens, and fails when it is decoded."""
    stream = io.BytesIO()
    tiny.picture(5, 64, 64).save(stream, "PNG")
    return Image.open(io.BytesIO(stream.getvalue()[:150]))


def check_batches(scorer, close):
    """Neither batch size nor order nor a broken neighbour changes a score by more than `close`."""
    images, prompts = tiny.pairs()
    one_by_one = alone(scorer, images, prompts)
    scorer.batch_size = 2
    assert gap([one.score for one in scorer.score(images, prompts)], one_by_one) <= close
    judged = scorer.score(
        [images[2], broken(), images[0], None, images[1]], [prompts[2], "a", prompts[0], "a", prompts[1]]
    )
    assert gap([judged[place].score for place in (0, 2, 4)], [one_by_one[place] for place in (2, 0, 1)]) <= close
    assert judged[1].score is None and "cannot be decoded" in judged[1].error
    assert judged[3].score is None and "NoneType" in judged[3].error
    assert scorer.score([], []) == []
    with pytest.raises(UserError, match="3 pictures for 2 prompts"):
        scorer.score(images, prompts[:2])


def check_modes(scorer):
    """Pictures of every mode are judged, those of the self-test too (random weights have no reason to pass it)."""
    assert scorer.expectations() and not any("could not judge" in one for one in scorer.self_test())
    for mode in ("L", "RGBA", "P", "1", "CMYK", "LA"):
        assert scorer.score([tiny.picture(4, 64, 64).convert(mode)], ["a cat"])[0].error is None, mode


def rewrite(file, change):
    """Changes the state in a weights file."""
    if file.suffix == ".pt":
        state = torch.load(file, weights_only=True)
        change(state.get("state_dict", state))
        torch.save(state, file)
    else:
        state = load_file(file)
        change(state)
        save_file(state, file)


def check_keys(load, file, key):
    """`load` refuses weights whose `key` is missing, of another shape or of whole numbers, and weights with a key too
    many."""
    whole = file.read_bytes()

    def refusal(change, *parts):
        rewrite(file, change)
        with pytest.raises(UserError) as caught:
            load()
        assert "\n" not in caught.value.message and all(part in caught.value.message for part in parts), (
            caught.value.message
        )
        file.write_bytes(whole)

    refusal(lambda state: state.pop(key), f"lacks key '{key}'")
    refusal(lambda state: state.update(extra=torch.zeros(1)), "unexpected key 'extra'")
    refusal(lambda state: state.update({key: torch.zeros(3, 5)}), f"'{key}'", "shape [3, 5]")
    refusal(lambda state: state.update({key: state[key].round().long()}), f"'{key}'", "int64")
    load()


def version_5():
    return int(transformers.__version__.partition(".")[0]) >= 5
