"""The page of bench.ablate: findings first, a section per study, and a gallery of the variants."""

import base64
import json
import re
import zlib

import pytest

from reports.ablations.build import build
from reports.ablations.studies import blocks_of, load_variants, read_record
from reports.findings.analysis import analyse
from tests.reports.ablation_runs import write_ablations
from tests.reports.enriched import add_benchmark

pytestmark = pytest.mark.usefixtures("plain_figures")
GAINS = {"default": 0.3, "alpha_narrow": 0.0, "alpha_broad": 0.3}


@pytest.fixture
def root(tmp_path):
    return write_ablations(tmp_path / "ablate-1", GAINS, prompts=20, images=True)


def test_findings_come_first_and_every_file_is_there(root):
    report = build(root)
    text = (root / "report" / "index.html").read_text()
    order = ["<title>ablate-1", "findings of the paper", 'id="findings"', 'id="study-1"', 'id="gallery"', 'id="how"']
    places = [text.index(part) for part in order]
    assert places == sorted(places) and not re.search(r"<th[^>]*></th>", text)
    beside = set(re.findall(r'href="(?!["#])([^"]*)"', text))
    assert text.count('<figure class="drawing"') == text.count(">CSV</a>") > 0
    assert "ablations.csv" in beside and beside <= {path.name for path in report.files}
    assert not build(root).fresh


def test_the_gallery_is_of_variants_with_their_own_pictures(root):
    build(root)
    text = (root / "report" / "index.html").read_text()
    (one,) = json.loads(zlib.decompress(base64.b64decode(re.search(r'id="pool">([^<]*)<', text)[1])))
    record = read_record(root)
    labels = {name: v["label"] for name, v in [("default", record["default"]), *record["variants"].items()]}
    names = [name for _, name, *_ in one["policies"]]
    run = load_variants(root, record)
    (block,) = blocks_of(run, record)
    result = analyse(block)
    assert names == ["base", *(labels[m.name] for m in result.block.methods[1:])]
    files = set(re.findall(r'data-file="([^"]*)"', text))
    assert files and all((root / file).is_file() for file in files)
    assert {file.split("/")[1] for file in files} == set(GAINS)
    policy = result.block.methods[2].policies[0]
    assert run.origins[policy] == (root / "variants" / result.block.methods[2].name, "ht-seed0")


def test_every_axis_has_a_figure_and_lines_of_its_own(tmp_path, plain_figures):
    root = write_ablations(tmp_path / "ablate-1", GAINS, prompts=20)

    def two_axes(record):
        return {**record, "score": record["score"], "evidence": {"gm": record["score"], "am": 1.0 - record["score"]}}

    for variant in (root / "variants").iterdir():
        add_benchmark(variant, "atoms", two_axes, title="Atoms", scale=1, axes={"gm": "GM", "am": "AM"})
    report = build(root)
    files = {path.name for path in report.files}
    assert {"A4.svg", "A4_atoms_gm.svg", "A4_atoms_am.svg"} <= files
    scores = {
        (row["benchmark"], row["variant"]): float(row["estimate"]) for row in report.rows if row["kind"] == "score"
    }
    assert {name for name, _ in scores} == {"geneval", "atoms.gm", "atoms.am"}
    for variant in GAINS:
        assert scores["atoms.gm", variant] == pytest.approx(1.0 - scores["atoms.am", variant])
