"""What every method costs: the formulas of sheet methods2, section 1.2, exactly, and the table of docs/methods.md."""

import re
from pathlib import Path

import pytest

from baselines import espo
from baselines.coupled import Coupled
from baselines.d1 import D1
from baselines.espo import ESPO
from baselines.focus import Focus
from baselines.gdsd import GDSD
from baselines.spg import SPG
from baselines.steps import EGSPO, Xing
from baselines.strata import Strata
from baselines.trace import CJ, D2
from baselines.wd1 import WD1
from htgrpo.adaptive import AdaptiveAlpha, AdaptiveCredit
from htgrpo.base.registry import METHODS
from tests.baselines.recorded import recorded_group
from tests.htgrpo.tiny import moved, run_engine, tiny_policy

G, K, T = 9, 8, 12
DOCS = Path(__file__).parents[2] / "docs/methods.md"


def spent(method, beta=0.1, dedup="all", grid=(8, 8)):
    """Forward-equivalents of one group of nine images of 64 slots in twelve steps."""
    policy = tiny_policy(grid=grid)
    group = recorded_group(policy, grid=grid, size=G, steps=T)
    forwards = run_engine(policy, [group], method, moved(policy.net, 7), lr=0.0, beta=beta, dedup=dedup)[1].forwards
    return sum(forwards.values())


@pytest.mark.parametrize(
    ("method", "cost"),
    [
        (D1(), 3 * K + 2),
        (AdaptiveAlpha(), 3 * K + 2),
        (AdaptiveCredit(), 3 * K + 2),
        (WD1(), 3 * K + 1),
        (Coupled(), 3 * K * (1 + 2 * G) + 2 * (1 + 2 * G * K)),
        (Coupled(views="pair"), 10 * K * G),
        (Focus(), 5 * K * G),
        (Focus(4), 5 * 4 * G),
        (D2(segments=4), 3 * K * (1 + G * 3) + 2 * (1 + G * 3)),
        (D2(segments=8), 3 * K * (1 + G * 7) + 2 * (1 + G * 7)),
        (CJ(), 3 * K * (1 + G * (T - 1)) + 2 * (1 + G * (T - 1))),
        (Strata(), 5 * K * 4 * G),
        (Strata(strata=2), 5 * K * 2 * G),
        (Xing(), 5 * (1 + (K - 1) * G)),  # all images' first step is the fully masked image
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else str(value),
)
def test_formulas(method, cost):
    assert spent(method) == cost


@pytest.mark.parametrize(
    ("method", "cost"),
    [
        (WD1(), 3 * K * G), (SPG(), 3 * 2 * K * G), (SPG(samples=3), 9 * K * G), (EGSPO(), 5 * K * G - 2 * K * G),
        (Xing(), 5 * K * G - 2 * K * G),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else str(value),
)  # fmt: skip
def test_training_alone_without_sharing(method, cost):
    """Of a likelihood nothing else is evaluated without a penalty."""
    policy = tiny_policy(grid=(8, 8))
    group = recorded_group(policy, grid=(8, 8), size=G, steps=T)
    forwards = run_engine(policy, [group], method, lr=0.0, beta=0.0, dedup="none")[1].forwards
    assert forwards["train"] == cost and (forwards["old"] == 0) == isinstance(method, (WD1, SPG))


def test_halves_cost_ten_a_sample(monkeypatch):
    """ESPO and GDSD: two contexts a sample, image and update, five forwards each; a half that holds all slots is shared
    within the group and costs less, an empty one nothing."""

    def proper_halves(codes, generator, draw=espo.stratified_halves):
        while True:
            drawn = draw(codes, generator)
            if bool((drawn[0] == -1).any(1).all()):
                return drawn

    assert spent(ESPO()) <= 10 * K * G
    monkeypatch.setattr(espo, "stratified_halves", proper_halves)
    for method, cost in ((ESPO(), 10), (GDSD(), 10), (ESPO(samples=2), 20), (GDSD(samples=2), 20)):
        assert spent(method) == cost * K * G


def documented():
    """{method: forwards} of the table in docs/methods.md: the number after the formula."""
    rows = [line.split("|")[1:-1] for line in DOCS.read_text().splitlines() if re.match(r"\| `\w+` \|", line)]
    return {row[0].strip(" `"): row[8].strip() for row in rows if len(row) > 8}


@pytest.mark.parametrize("name", [name for name in METHODS.names() if METHODS.get(name).rewarded])
def test_the_table_of_the_docs(name):
    """Its numbers are what is counted with the defaults and a penalty; `~` where random contexts may be shared."""
    told = documented()[name]
    counted = spent(METHODS.get(name)())
    if told.startswith("~"):
        assert 0.85 * int(told[1:]) <= counted <= int(told[1:])
    else:
        assert counted == int(told)
