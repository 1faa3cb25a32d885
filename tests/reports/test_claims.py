"""The paper's claims about methods: judged by the run's own differences, in every view, and only where it speaks."""

from dataclasses import replace

import pytest

from reports.findings import claims
from reports.findings.analysis import analyse
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from reports.tables import claims as tables
from tests.reports.synthetic import write_run


def results_of(root):
    return [analyse(block, False) for block in make_blocks(load_run(root))]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """ht far above mask and the base, uni far below mask."""
    root = write_run(
        tmp_path_factory.mktemp("claims") / "run", {"ht": 0.4, "mask": 0.05, "uni": -0.3}, seeds=4, images=False
    )
    return results_of(root)


def test_every_claim_that_the_run_can_speak_of_is_judged(results):
    found = {one.claim: one for one in claims.of_methods(results[0])}
    status = {claim.partition(" better")[0].partition(" the base")[0]: one.status for claim, one in found.items()}
    assert status["HT-GRPO is"] == claims.HOLDS and status["HT-GRPO improves"] == claims.HOLDS
    assert "TraceGRPO falls behind MaskGRPO" not in found, "trace is not in the run"
    together = found["MaskGRPO, TraceGRPO and UniGRPO improve the base policy"]
    assert together.status == claims.FAILS and together.weakest.a == "uni", "one that fails refutes them all"
    ours = found["HT-GRPO is better than MaskGRPO"].weakest
    assert (ours.a, ours.b) == ("ht", "mask")
    pair = results[0].pair("ht", "mask")
    assert ours.interval() == pair.interval() and ours.holm() == pair.holm()


def test_a_claim_against_the_evidence_fails(tmp_path):
    results = results_of(write_run(tmp_path / "run", {"ht": -0.3, "mask": 0.3}, seeds=4, images=False))
    found = {one.claim: one.status for one in claims.of_methods(results[0])}
    assert found["HT-GRPO is better than MaskGRPO"] == found["HT-GRPO improves the base policy"] == claims.FAILS
    (section, table, _) = tables.markdown(results)
    assert "claims here" in section and "| fails" in table and "ht − mask" in table
    assert "FAILS: HT-GRPO is better than MaskGRPO" in tables.terminal(results)[1].replace("\n  ", " ")


def test_other_benchmarks_and_soft_read_outs_are_not_what_the_paper_speaks_of(results):
    one = results[0]
    for name in ("embedded_geneval_soft", "hpsv3"):
        assert claims.of_methods(replace(one, block=replace(one.block, benchmark=name))) == []
    assert tables.markdown([]) == [] == tables.terminal([])


def test_an_unresolved_claim_shows_a_difference_that_is_and_how_many_seeds_would_answer(tmp_path):
    """mask is far above uni, trace is not told from it: the claim that both are better rests on trace."""
    effects = {"mask": 0.4, "trace": 0.02, "uni": 0.0}
    result = results_of(write_run(tmp_path / "run", effects, seeds=4, images=False))[0]
    (found,) = [one for one in claims.of_methods(result) if one.claim.endswith("better than UniGRPO")]
    assert found.status == claims.UNRESOLVED and found.weakest.a == "trace"
    pair = found.weakest
    seeds = pair.seeds_needed()
    assert seeds is None or seeds[0] > 4, "more than it had"
    words = "over 64" if seeds is None else f"{seeds[0]}{' (equal)' if seeds[1] == 'equal' else ''}"
    assert tables.needed(found) == words and f"needs {words} seeds" in tables.sentence(found, "methods", 1.0)
    (row,) = [row for row in tables.rows([result]) if row[0] == found.claim]
    assert row[tables.HEADER.index("seeds")] == words
    assert tables.needed(replace(found, status=claims.HOLDS)) == "–", "what has an answer needs none"
