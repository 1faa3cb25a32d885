"""A plan says what it will see, and where the variances that it rests on are of other pictures."""

import pytest

from bench import compare
from htgrpo.base.errors import EXIT_OK

PLAN = ["--preset", "study", "--policy", "embedded_large", "--methods", "ht", "--benchmarks", "embedded_large_geneval"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), ""),
        (("main.guidance=0",), "its variances were measured with guidance 4.0, not 0.0, so that"),
        (("main.guidance=0", "main.steps=6"), "with steps 12, not 6 and guidance 4.0, not 0.0, so that"),
    ],
)
def test_a_plan_says_what_it_sees_and_of_what(more, said, tmp_path, capsys):
    flags = [part for one in more for part in ("--set", one)]
    assert compare.main([*PLAN, *flags, "--dry-run", "--out", str(tmp_path / "run")]) == EXIT_OK
    told = " ".join(capsys.readouterr().out.split())
    assert "894 prompts x 1 pictures x 4 seeds, 1 comparisons: sees differences from" in told
    assert said in told and ("its variances" in told) == bool(said)
