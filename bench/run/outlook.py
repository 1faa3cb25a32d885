"""Prints a plan, for --dry-run: jobs, expected time, and on a published backbone what it costs on a card."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ask.options import Options
from bench.ask.width import fitted
from bench.cost import estimate
from bench.record.work import SCORE, Job
from htgrpo.training.train_config import SECONDS
from reports.format import MARGIN

if TYPE_CHECKING:
    from bench.run.plan import Context


@dataclass(frozen=True)
class Plan:
    """What is left to do. contexts: of the runs that are not complete. jobs: of all of them. at_once: how many jobs."""

    contexts: "list[Context]"
    jobs: list[Job]
    at_once: int

    @property
    def seconds(self) -> float:
        """Expected seconds until the last job ends."""
        return estimate.wall_seconds([job.seconds for job in self.jobs], self.at_once)


def show(planned: Plan, later: bool, root: Path, options: Options) -> None:
    """Prints the plan, as JSON where that was asked for. later: whether its jobs hold those that need finished
    trainings."""
    context = planned.contexts[0]
    costs = _costs(planned, options)
    power = _power(planned, options)
    remarks = list(dict.fromkeys(remark for one in planned.contexts for remark in one.remarks))
    if options.json:
        several = {"variants": [one.run.root.name for one in planned.contexts]} if len(planned.contexts) > 1 else {}
        jobs = [{"job": job.name, "seconds": round(job.seconds), "work": list(job.notes)} for job in planned.jobs]
        plan = {"run": str(root), **several, "jobs": jobs, "at_once": planned.at_once}
        more = {
            "expected_seconds": round(planned.seconds),
            **({"power": power} if power else {}),
            **({"missing": remarks} if remarks else {}),
        }
        print(json.dumps({**plan, **more, **({"forecast": costs} if costs else {})}, indent=2))
        return
    lines = [f"Plan for {root} (nothing is written):"]
    for job in planned.jobs:
        lines += [f"  {job.name}, about {estimate.in_words(job.seconds)}", *(f"    {note}" for note in job.notes)]
    lines += [f"  afterwards: {what}" for what in _afterwards(planned, later)]
    lines += [f"still missing: {remark}" for remark in remarks]
    many = f"{len(planned.contexts)} runs, " if len(planned.contexts) > 1 else ""
    where = f"{context.threads} compute threads each, on {context.device}"
    if context.forecast:  # another machine than this one is planned for
        where = f"on one {context.forecast.card.title}"
    lines += [
        f"{many}{len(planned.jobs)} jobs, {planned.at_once} at a time, {where}",
        f"expected time: about {estimate.in_words(planned.seconds)} (rough: {context.clock.basis()})",
    ]
    lines += [f"  {line}" for line in power]
    if costs:
        from bench.cost import forecast_table

        lines += ["", *forecast_table.lines(costs)]
    print(fitted(lines))


def _afterwards(planned: Plan, later: bool) -> list[str]:
    """What follows once trainings are done, and cannot be planned before."""
    requests = [context.request for context in planned.contexts if any(job.run == context.run for job in planned.jobs)]
    seconds = any(SECONDS in request.views and len(request.methods) > 1 for request in requests) and not later
    curve = next((request.curve for request in requests if request.curve and request.methods), 0)
    return [
        *(
            ["of every training, the last checkpoint within the time of the quickest (equal seconds)"]
            if seconds
            else []
        ),
        *([f"every saved checkpoint on {curve} prompts (the held-out curve)"] if curve else []),
    ]


def _power(planned: Plan, options: Options) -> list[str]:
    """What the one run will be able to see."""
    if len(planned.contexts) > 1 or SCORE not in options.stages:
        return []
    from bench.cost import power

    context = planned.contexts[0]
    margin = (context.run.config() or {}).get("margin") or context.request.margin or MARGIN
    return power.sentences(context.request, context.benchmarks, context.selections, margin)


def _costs(planned: Plan, options: Options) -> dict | None:
    """The forecast of the one run on published weights; None elsewhere."""
    context = planned.contexts[0]
    if context.forecast is None or len(planned.contexts) > 1:
        return None
    from bench.cost import forecast_table

    scored = context.evaluations() if SCORE in options.stages else ()
    return forecast_table.numbers(context.forecast, context.request, scored)
