"""The engine refuses updates that break the contract, with one sentence, before anything is computed."""

from dataclasses import replace

import pytest
import torch

from htgrpo.base.errors import UserError
from htgrpo.interface import HIDDEN, Update
from htgrpo.training.planning import check


def good() -> Update:
    """One update under the empty context."""
    shape = (2, 4)  # images, slots
    return Update(
        torch.full((1, 4), HIDDEN), torch.zeros(shape, dtype=torch.long), torch.ones(shape), torch.ones(shape)
    )


def test_equal_counts_and_non_negative_shares_pass():
    check([[good(), good()], [good(), good()]])


@pytest.mark.parametrize("drawn", [[[good()], [good(), good()]], [[], []]])
def test_unequal_or_no_updates_are_refused(drawn):
    with pytest.raises(UserError, match="number of updates"):
        check(drawn)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_bad_shares_are_refused(value):
    bad = good()
    share = bad.share.clone()
    share[1, 2] = value
    with pytest.raises(UserError, match="share"):
        check([[replace(bad, share=share)]])
