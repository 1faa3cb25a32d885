"""The held-out score along training: every saved checkpoint of a finished training on a few prompts. No table shows it."""

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.plan import milestone_jobs, scoring_job, training_of
from bench.presets import MAIN
from bench.request import BASE
from bench.selection import Selection, select
from bench.weights import inspect
from bench.work import Job, Target
from htgrpo.prompts import prompt_set_sha256

if TYPE_CHECKING:
    from bench.plan import Context

CURVE = "curve"
"""The setting and the milestone of these verdicts."""


def later_jobs(context: "Context", dry: bool = False) -> list[Job]:
    """What can be planned only once trainings are done: the equal-iterations milestone and the held-out curve."""
    return [*milestone_jobs(context, dry), *curve_jobs(context)]


def curve_jobs(context: "Context") -> list[Job]:
    """Jobs that score the checkpoints which lack it, one per method, and one for the starting policy."""
    if not context.request.curve or not context.selections:
        return []
    by_method = {method: _targets(context, method) for method in context.request.methods}
    if not any(by_method.values()):
        return []
    weights = context.base
    base = Target(BASE, BASE, None, CURVE, weights.source, weights.sha256, weights.random_weights, 0, 0, context.request.revision)
    few = few_prompts(context)
    found = [scoring_job(few, f"{method} along training", targets) for method, targets in {BASE: [base], **by_method}.items()]
    return [job for job in found if job is not None]


def few_prompts(context: "Context") -> "Context":
    """The context with nothing but the curve's evaluation: prompts of the first benchmark drawn by the hash of their ids,
    categories taking turns, one picture each under the main setting."""
    name, chosen = next(iter(context.selections.items()))
    drawn = select(name, list(chosen.drawn.prompts), None, min(context.request.curve, len(chosen.drawn.prompts)))
    ids = {prompt.id for prompt in drawn}
    own = tuple(prompt for prompt in chosen.prompts if prompt.id in ids)
    pictures = replace(chosen.drawn, prompts=tuple(drawn), sha256=prompt_set_sha256(drawn))
    benchmark = copy(context.benchmarks[name])
    benchmark.samples = None  # one picture, whatever the benchmark makes elsewhere
    settings = {CURVE: {**context.request.settings[MAIN], "samples": 1}}
    return replace(
        context,
        request=replace(context.request, settings=settings),
        benchmarks={name: benchmark},
        selections={name: Selection(name, own, prompt_set_sha256(own), pictures)},
    )


def _targets(context: "Context", method: str) -> list[Target]:
    """Every saved checkpoint of the method's finished trainings."""
    from htgrpo.checkpoints import saved

    found = []
    for seed in context.request.seeds:
        if training_of(context, method, seed).done:
            for folder in saved(context.run.train(method, seed)):
                weights = inspect(str(folder))
                name = f"{method}-seed{seed}.{weights.iteration}"
                found.append(Target(name, method, seed, CURVE, weights.source, weights.sha256, weights.random_weights,
                                    weights.iteration, weights.forwards))
    return found
