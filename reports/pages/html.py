"""index.html: the whole report in one file that needs no network."""

from collections.abc import Mapping, Sequence
from typing import Any

from reports.figures.looks import colours, labels
from reports.findings import choices, health, sentences, shown
from reports.findings.analysis import Result
from reports.findings.answer import answer, in_every_view
from reports.findings.central import central, left_out
from reports.findings.costs import Cost, by_view
from reports.findings.diversity import MEASURE
from reports.findings.hacking import REWARD_NOTE, Moves, heading
from reports.findings.health import Health
from reports.findings.quality import Panel
from reports.findings.training import AXES
from reports.format import many
from reports.pages.charts import charts
from reports.pages.drawing import Drawing, drawings, variable
from reports.pages.gallery import Gallery
from reports.pages.template import about, render
from reports.run.load import Run
from reports.statistics.stats import MIN_SEEDS
from reports.tables import claims, judges, notes
from reports.tables import costs as cost_tables
from reports.tables.view import PAIR_HEADER, column_title, pair_rows, score_rows

CLAIMS = {"These checkpoints": "checkpoints", "These methods": "methods"}


def page(
    run: Run,
    results: list[Result],
    costs: list[Cost],
    contents: Mapping[str, bytes],
    gallery: Gallery | None = None,
    moves: list[Moves] | None = None,
    trained: list[Health] | None = None,
    warnings: Sequence[str] = (),
    panels: list[Panel] | None = None,
    signs: Sequence[str] = (),
) -> str:
    """The page as text. contents: the files that lie beside it, whose figures it holds; moves: the panel of reward
    hacking; trained: how training went; panels: quality against cost;
    signs: what else tells of reward hacking."""
    drawn = _drawings(run, results, contents, panels or [], moves or [])
    first, palette = in_every_view(results), {name: variable(colour) for name, colour in colours(run).items()}
    others = sorted((r for r in results if r not in first), key=lambda r: not r.block.is_main)
    return render(
        "report.html.j2",
        title=run.title,
        names=run.names,
        config=run.config,
        facts=facts(run),
        answer=answer(results, run.names),
        first=[_block(r, run, palette) for r in first],
        others=[_block(r, run, palette) for r in others],
        sentences=sentences.pair_sentences(results, run.names),
        every_pair=not any(map(left_out, results)),
        orders=[line for result in results for line in notes.order_lines(result, run.names)],
        costs={when: [_cost(cost, run, palette) for cost in own] for when, own in by_view(costs).items()},
        cost_columns=list(cost_tables.COSTS.values()),
        drawings=drawn,
        charts=charts(run, panels or []),
        axes=[axis for axis in AXES if f"quality_{axis}" in drawn or f"curves_{axis}" in drawn],
        quality={axis: drawn[f"quality_{axis}"] for axis in AXES if f"quality_{axis}" in drawn},
        curves={axis: drawn[f"curves_{axis}"] for axis in AXES if f"curves_{axis}" in drawn},
        categories=[drawing for name, drawing in drawn.items() if name.startswith("categories")],
        method_note=notes.METHOD_NOTE.replace("*", ""),
        cost_note=cost_tables.COST_NOTE,
        choices={
            "title": choices.TITLE,
            "told": choices.paragraphs(run),
            "header": choices.HEADER,
            "rows": [[run.called(name), *rest] for name, *rest in choices.rows(run)],
        },
        identities=_identities(run),
        gallery=gallery,
        colours=palette,
        moves=moves or [],
        warnings=[run.spoken(line) for line in warnings],
        health={
            "title": health.TITLE,
            "header": health.HEADER,
            "note": health.NOTE,
            "rows": [[run.called(one.method), *one.cells[1:]] for one in trained or []],
        },
        hacking_title=heading(run),
        hacking_notes=[REWARD_NOTE, MEASURE],
        claims={
            "title": claims.TITLE,
            "header": claims.HEADER,
            "note": claims.NOTE.replace("*", ""),
            "rows": claims.rows(results, run.names),
        },
        judges={
            "title": judges.TITLE,
            "header": judges.HEADER,
            "note": judges.NOTE,
            "rows": judges.rows(moves or [], run.names),
            "lines": judges.lines(moves or [], signs, run.names),
        },
        **about(run.config),
    )


def _drawings(
    run: Run, results: list[Result], contents: Mapping[str, bytes], panels: list[Panel], moves: list[Moves]
) -> dict[str, Drawing]:
    told = shown.shown(run, results, panels, moves)
    mains = [result for result in results if result.block.is_main]
    told |= {name: shown.categories(run, result) for name, result in shown.category_names(mains).items()}
    data = dict.fromkeys([name for name in told if name.startswith(("differences", "categories"))], "table.csv")
    data |= {f"quality_{axis}": "quality.csv" for axis in AXES} | {f"curves_{axis}": "curves.csv" for axis in AXES}
    data |= {"entropy_by_rank": "curves.csv"} | {name: f"{name}.csv" for name in ("reward_and_rest", "unmasking")}
    return drawings(contents, told, data)


def facts(run: Run) -> list[str]:
    """What the run is, in a line; what a run of its kind has not is left out."""
    known = [(key, str(run.config.get(key) or "")) for key in ("folder", "preset", "policy", "budget")]
    known.append(("commit", str(run.config.get("git_commit") or "")[:12]))
    return [f"{key} {value}" for key, value in known if value] + [str(run.config.get("created", ""))[:10]]


def _block(result: Result, run: Run, palette: dict[str, str]) -> dict[str, Any]:
    claims = CLAIMS if any(pair.seeds >= MIN_SEEDS for pair in result.pairs) else {"These checkpoints": "checkpoints"}
    own_names = many(run.methods)
    names = labels(run) if own_names else run.names
    tables = {
        title: [row.cells for row in pair_rows(result, level, names, central(result))]
        for title, level in claims.items()
    }
    return {
        "label": result.block.label,
        "title": result.block.title,
        "when": result.block.when,
        "setting": result.block.setting,
        "main": result.block.is_main,
        "protocol": notes.protocol(result),
        "columns": [column_title(name) for name in result.columns],
        "rows": [(row, palette.get(row.name, "#888")) for row in score_rows(result, run.names)],
        "own_names": own_names,
        "withheld": {run.called(name): reason for name, reason in result.withheld.items()},
        "elsewhere": [notes.elsewhere(run.called(name)) for name in result.block.elsewhere],
        "note": notes.score_note(result),
        "claims": tables if result.pairs else {},
        "pairs_left_out": left_out(result, names=names),
        "methods_claimed": len(claims) == 2,
        "pair_header": PAIR_HEADER,
        "no_method_claim": notes.NO_METHOD_CLAIM,
    }


def _cost(cost: Cost, run: Run, palette: dict[str, str]) -> dict:
    cells = [str(cost.seeds), *cost_tables.cost_cells(cost)]
    name = cost_tables.cost_label(cost, run.names)
    return {"name": name, "colour": palette.get(cost.method, "#888"), "cells": cells}


def _identities(run: Run) -> list[list[str]]:
    """What was scored with what: one line per scored policy."""
    rows = []
    for meta in run.metas["meta"]:
        scorer = meta["scorer"]
        rows.append(
            [
                meta["policy"]["name"],
                f"{meta['benchmark']} v{meta['version']}",
                str(meta.get("identity", ""))[:12],
                str(meta["prompt_set_sha256"])[:12],
                " ".join(str(scorer[k]) for k in ("name", "version", "weights_revision") if scorer.get(k)),
                ", ".join(f"{k} {v}" for k, v in meta["setting"].items()),
            ]
        )
    return rows
