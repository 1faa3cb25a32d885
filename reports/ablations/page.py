"""index.html of the ablation studies: the paper's findings first, then every study, then the variants' pictures."""

from collections.abc import Mapping
from typing import Any

from reports.ablations.studies import Study
from reports.ablations.text import (
    METHOD_NOTE,
    OTHER_SCALE,
    claim_note,
    finding_text,
    findings_rows,
    protocol_text,
    scatter_text,
    study_rows,
)
from reports.findings.claims import NO_CLAIM, UNMEASURED
from reports.format import listed
from reports.pages.drawing import drawings
from reports.pages.gallery import Gallery
from reports.pages.html import facts
from reports.pages.template import about, render
from reports.run.load import Run


def page(run: Run, studies: list[Study], contents: Mapping[str, bytes], gallery: Gallery | None) -> str:
    """The page as text. contents: the files that lie beside it, whose figures it holds."""
    first = studies[0].block.name if studies else ""
    told = {_figure(study, first): " ".join(finding_text(f, study) for f in study.findings) for study in studies}
    data = dict.fromkeys(told, "ablations.csv")
    drawn = drawings(contents, {"figure4": "The studies of the paper's Figure 4 in one picture."} | told, data)
    shown: list[dict[str, Any]] = []
    for study in studies:
        header, rows = study_rows(study)
        texts = [finding_text(finding, study) for finding in study.findings]
        about_it = {"protocol": protocol_text(study), "scatter": scatter_text(study), "findings": texts}
        title = f"{study.key} {study.title}: {study.block.title}"
        drawing = drawn.get(_figure(study, first))
        shown.append(
            {"title": title, "about": study.about, "header": header, "rows": rows, "drawing": drawing, **about_it}
        )
    header, rows = findings_rows(studies)
    return render(
        "ablations.html.j2",
        title=run.title,
        facts=facts(run),
        answer=_answer([study for study in studies if study.block.name == first]),
        claim=claim_note(studies[0]) if studies else "",
        header=header,
        rows=rows,
        studies=shown,
        gallery=gallery,
        method_note=METHOD_NOTE.replace("*", ""),
        other_scale=OTHER_SCALE,
        **about({**run.config, "folder": str(run.root)}),
    )


def _figure(study: Study, first: str) -> str:
    return study.key + ("" if study.block.name == first else f"_{study.block.file}")


def _answer(studies: list[Study]) -> list[str]:
    """How many of the paper's findings hold, fail and stay open on the first benchmark, and which."""
    by_status: dict[str, list[str]] = {}
    for study in studies:
        for finding in study.findings:
            by_status.setdefault(finding.status, []).append(f"{study.key}: {finding.claim}")
    measured = {status: claims for status, claims in by_status.items() if status not in (UNMEASURED, NO_CLAIM)}
    total = sum(map(len, measured.values()))
    if not total:
        return ["None of the paper's findings is measured here."]
    counts = [f"{len(claims)} {status}" for status, claims in measured.items()]
    lines = [f"Of {total} findings of the paper measured on {studies[0].block.title}: {listed(counts)}."]
    return lines + [f"{status.capitalize()}: {'; '.join(claims)}." for status, claims in measured.items()]
