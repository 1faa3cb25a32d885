"""What methods hide and train is read from their own updates, and is drawn."""

from dataclasses import replace

import numpy as np
import pytest

from baselines.espo import ESPO
from baselines.gdsd import GDSD
from baselines.steps import EGSPO
from baselines.uni import Uni
from bench.cost.specimen import GRID, SHOWN, explained, level, reveal_steps, specimen
from bench.explain import main
from htgrpo.base.errors import UserError
from htgrpo.base.registry import METHODS
from htgrpo.ht import HT
from htgrpo.interface import HIDDEN
from reports.figures.methods import markdown
from tests.htgrpo.tiny import Scripted, method_generator

REWARDED = [name for name in METHODS.names() if METHODS.get(name).rewarded]


def test_the_specimen_is_a_rollout():
    group = specimen()
    assert group.codes.shape == (9, 64) and sorted(group.rank[0].tolist()) == list(range(1, 65))
    assert group.reveal_step.min() == 0 and group.reveal_step.max() == 7 and group.other is not None
    settled = group.predicted.gather(1, group.reveal_step[:, None])[:, 0]
    assert (settled == group.codes).all() and (group.codes != HIDDEN).all()
    assert (reveal_steps() == group.reveal_step[0].reshape(GRID).numpy()).all()


@pytest.mark.parametrize("name", REWARDED)
def test_every_method_is_explained(name):
    """Maps are of the right size; nothing is trained that is shown, but by methods that say so; all is finite."""
    found = explained(name)
    assert 1 <= len(found.moments) <= SHOWN and found.forwards > 0 and found.contexts >= 1
    for moment in found.moments:
        assert moment.shown.shape == moment.trained.shape == GRID
        assert set(np.unique(moment.shown)) <= {0.0, 1.0} and 0 < moment.trained.max() <= 1
        assert ((moment.trained > 0) & (moment.shown > 0)).sum() == 0
        assert 1 <= moment.number <= moment.contexts
    assert name in markdown([found])


LEVELS = {"ht": "token", "wd1": "none", "spg": "none", "coupled": "token", "espo": "image", "egspo": "image"}


@pytest.mark.parametrize("name", LEVELS)
def test_levels_are_read_off_the_updates(name):
    assert explained(name).level == LEVELS[name]


def test_other_levels():
    assert explained("xing").level == "image, product"
    assert explained("egspo", EGSPO(level="product")).level == "image, product"
    assert explained("gdsd", GDSD(samples=2)).level == "image and sample"
    assert explained("espo", ESPO(samples=2)).level == explained("uni", Uni(ratio="sequence")).level == "image"
    group = specimen()
    (update,) = Scripted(count=1, units=True).updates(group, method_generator(group))
    assert level(update) == "group" and level(replace(update, unit=None)) == "token"


def test_an_option_shows():
    assert explained("ht", HT(lambda_s=7.0)).weights == (0.5, 7.0)
    assert explained("ht", HT(stages=(1, 0, 0))).updates == 1


def test_a_method_without_rollouts_is_refused():
    with pytest.raises(UserError, match="no rollouts"):
        explained("pretrain")


def test_the_command(tmp_path, capsys):
    assert main(["--methods", "ht,mask,coupled", "--out", str(tmp_path / "out")]) == 0
    assert {"explain.png", "explain.pdf", "explain.md"} <= {path.name for path in (tmp_path / "out").iterdir()}
    told = capsys.readouterr().out
    assert "HT-GRPO" in told and "coupled-GRPO" in told and (tmp_path / "out" / "explain.md").read_text() in told
