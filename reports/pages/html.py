"""index.html: the whole report in one file that needs no network."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from reports.figures.style import DPI, colours
from reports.findings import choices, health, sentences
from reports.findings.analysis import Result
from reports.findings.costs import Cost, by_view
from reports.findings.diversity import MEASURE
from reports.findings.hacking import REWARD_NOTE, Moves, heading
from reports.findings.health import Health
from reports.pages.gallery import Gallery
from reports.run.load import Run
from reports.statistics.stats import MIN_SEEDS
from reports.tables import costs as cost_tables
from reports.tables import judges, notes
from reports.tables.view import PAIR_HEADER, column_title, pair_rows, score_rows

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
    signs: Sequence[str] = (),
) -> str:
    """The page as text. pictures: file name -> PNG bytes, each put into the page as a data URI; moves: the panel of
    reward hacking; trained: how training went; signs: what else tells of reward hacking."""
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
        others=[_block(r, colours(run.methods)) for r in results if not r.block.is_main],
        sentences=sentences.pair_sentences(results),
        orders=[line for result in results for line in notes.order_lines(result)],
        costs={when: [_cost(cost, colours(run.methods)) for cost in own] for when, own in by_view(costs).items()},
        cost_columns=list(cost_tables.COSTS.values()),
        pictures={name: _picture(data) for name, data in sorted(pictures.items())},
        method_note=notes.METHOD_NOTE.replace("*", ""),
        cost_note=cost_tables.COST_NOTE,
        choices={
            "title": choices.TITLE,
            "told": choices.paragraphs(run),
            "header": choices.HEADER,
            "rows": choices.rows(run),
        },
        legend=choices.legend(run),
        pair_header=PAIR_HEADER,
        no_method_claim=notes.NO_METHOD_CLAIM,
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
        judges={
            "title": judges.TITLE,
            "header": judges.HEADER,
            "note": judges.NOTE,
            "rows": judges.rows(moves or []),
            "lines": judges.lines(moves or [], signs),
        },
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


def _block(result: Result, palette: dict[str, str]) -> dict[str, Any]:
    claims = {"These checkpoints": "checkpoints", "These methods": "methods"}
    if not any(pair.seeds >= MIN_SEEDS for pair in result.pairs):
        del claims["These methods"]
    return {
        "label": result.block.label,
        "title": result.block.title,
        "when": result.block.when,
        "setting": result.block.setting,
        "protocol": notes.protocol(result),
        "columns": [column_title(name) for name in result.columns],
        "rows": [(row, palette.get(row.name, "#888")) for row in score_rows(result)],
        "withheld": result.withheld,
        "elsewhere": [notes.elsewhere(name) for name in result.block.elsewhere],
        "note": notes.score_note(result),
        "claims": {title: pair_rows(result, level) for title, level in claims.items()} if result.pairs else {},
        "methods_claimed": len(claims) == 2,
    }


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
