"""A plan says what it will see, and where the variances that it rests on are of other pictures."""

import json

import pytest

from bench import compare, power
from htgrpo.base.errors import EXIT_OK
from tests.bench.tampering import edit
from tests.reports.synthetic import write_run

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


def test_what_is_measured_says_of_what(tmp_path, capsys):
    root = write_run(tmp_path / "run", seeds=2, prompts=20, samples=2, images=False)
    sampling = {"sampler": "maskgit", "steps": 9, "guidance": 1.5}
    edit(root / "config.json", lambda config: config["settings"]["main"].update(sampling))
    assert power.main([str(root), "--json"]) == EXIT_OK
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert runs and all(run["sampling"] == sampling for run in runs.values())
