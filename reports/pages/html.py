"""index.html: the whole report in one file that needs no network."""

import base64
from collections.abc import Sequence
from pathlib import Path

import jinja2

from reports.figures.style import DPI, colours
from reports.findings import choices, health, sentences
from reports.findings.analysis import Result
from reports.findings.costs import Cost, by_view
from reports.findings.diversity import MEASURE
from reports.findings.hacking import REWARD_NOTE, Moves, heading
from reports.findings.health import Health
from reports.format import bounds, number
from reports.pages.gallery import Gallery
from reports.run.load import Run
from reports.statistics.stats import MIN_SEEDS
from reports.tables import costs as cost_tables
from reports.tables import text as tables

TEMPLATES = Path(__file__).parent / "templates"
POINTS = 116
"""Pixels of the page per inch of a figure."""


def page(
    run: Run,
    results: list[Result],
    costs: list[Cost],
    pictures: dict[str, bytes],
    gallery: Gallery | None = None,
    moves: list[Moves] | None = None,
    trained: list[Health] | None = None,
    warnings: Sequence[str] = (),
) -> str:
    """The page as text. pictures: file name -> PNG bytes, each put into the page as a data URI; moves: the panel of
    reward hacking; trained: how training went."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["brief"] = lambda value: f"{value:.4g}"
    mains = [r for r in results if r.block.is_main]
    return environment.get_template("report.html.j2").render(
        title=run.title,
        config=run.config,
        facts=_facts(run),
        blocks=[_block(r, colours(run.methods)) for r in mains],
        others=[_block(r, colours(run.methods)) for r in results if r not in mains],
        sentences=sentences.pair_sentences(results),
        orders=[line for result in results for line in tables.order_lines(result)],
        costs={when: [_cost(cost, colours(run.methods)) for cost in own] for when, own in by_view(costs).items()},
        cost_columns=list(cost_tables.COSTS.values()),
        pictures={name: _picture(data) for name, data in sorted(pictures.items())},
        method_note=tables.METHOD_NOTE.replace("*", ""),
        cost_note=cost_tables.COST_NOTE,
        choices={
            "title": choices.TITLE,
            "told": choices.paragraphs(run),
            "header": choices.HEADER,
            "rows": choices.rows(run),
        },
        legend=choices.legend(run),
        no_method_claim=tables.NO_METHOD_CLAIM,
        identities=_identities(run),
        gallery=gallery,
        palette=colours(run.methods),
        moves=moves or [],
        warnings=list(warnings),
        health={
            "title": health.TITLE,
            "header": health.HEADER,
            "note": health.NOTE,
            "rows": [one.cells for one in trained or []],
        },
        hacking_title=heading(run),
        hacking_notes=[REWARD_NOTE, MEASURE],
    )


def _facts(run: Run) -> list[str]:
    """What the run is, in a line; what a run of its kind has not is left out."""
    known = [(key, str(run.config.get(key) or "")) for key in ("preset", "policy", "budget")]
    return [f"{key} {value}" for key, value in known if value] + [str(run.config.get("created", ""))[:10]]


def _picture(data: bytes) -> dict:
    """A figure's PNG for the page: base64, and the width in px at which its letters are as large as the page's small
    print."""
    width = int.from_bytes(data[16:20], "big")
    return {"data": base64.b64encode(data).decode(), "width": round(width / DPI * POINTS)}


def _block(result: Result, palette: dict[str, str]) -> dict:
    scale = result.block.scale
    rows = []
    for name, score in result.scores.items():
        cells = [score.columns[c] for c in result.columns]
        rows.append(
            {
                "name": tables.shown_name(result, name),
                "colour": palette.get(name, "#888"),
                "seeds": tables.seeds_text(result, name),
                "judged": tables.coverage_text(result, name),
                "score": number(score.headline.estimate, scale),
                "interval": bounds(score.headline, scale),
                "methods": bounds(score.method_level, scale),
                "mark": tables.mark(result, name),
                "cells": [(number(c.estimate, scale), bounds(c, scale)) for c in cells],
            }
        )
    claims = [("These checkpoints", "checkpoints")]
    if any(pair.seeds >= MIN_SEEDS for pair in result.pairs):
        claims.append(("These methods", "methods"))
    return {
        "label": result.block.label,
        "title": result.block.title,
        "when": result.block.when,
        "setting": result.block.setting,
        "protocol": tables.protocol(result),
        "columns": [c.removeprefix("questions: ").replace("_", " ") for c in result.columns],
        "rows": rows,
        "withheld": result.withheld,
        "elsewhere": [tables.elsewhere(name) for name in result.block.elsewhere],
        "note": tables.score_note(result),
        "claims": [(title, _pairs(result, level)) for title, level in claims] if result.pairs else [],
        "methods_claimed": len(claims) == 2,
        "claim_label": sentences.claim_label(result),
    }


def _pairs(result: Result, level: str) -> list[dict]:
    names = ("name", "seeds", "value", "interval", "p", "sees", "verdict")
    return [dict(zip(names, tables.pair_row(pair, result, level), strict=True)) for pair in result.pairs]


def _cost(cost: Cost, palette: dict[str, str]) -> dict:
    cells = [str(cost.seeds), *cost_tables.cost_cells(cost)]
    return {"name": cost.label, "colour": palette.get(cost.method, "#888"), "cells": cells}


def _identities(run: Run) -> list[dict]:
    """What was scored with what: one line per scored policy."""
    rows = []
    for meta in run.metas["meta"]:
        scorer, policy = meta["scorer"], meta["policy"]
        rows.append(
            {
                "benchmark": f"{meta['benchmark']} v{meta['version']}",
                "policy": policy["name"],
                "identity": str(meta.get("identity", ""))[:12],
                "prompts": str(meta["prompt_set_sha256"])[:12],
                "setting": ", ".join(f"{k} {v}" for k, v in meta["setting"].items()),
                "scorer": " ".join(str(scorer[k]) for k in ("name", "version", "weights_revision") if scorer.get(k)),
            }
        )
    return rows
