"""The held-out score along training: every saved checkpoint of a finished training on a few prompts. No table shows
it."""

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.ask.request import Request
from bench.ask.selection import Selection, select
from bench.ask.weights import inspect
from bench.benchmarks.base import MAIN, PictureBenchmark
from bench.record.trainings import training_of
from bench.record.work import Job, Target
from bench.run.plan import scoring_job, seconds_jobs
from htgrpo.base.prompts import prompt_set_sha256
from htgrpo.base.records import BASE, CURVE

if TYPE_CHECKING:
    from bench.benchmarks.base import Benchmark
    from bench.run.plan import Context


def later_jobs(context: "Context", dry: bool = False) -> list[Job]:
    """What can be planned only once trainings are done: the view at equal seconds and the held-out curve."""
    return [*seconds_jobs(context, dry), *curve_jobs(context)]


def curve_jobs(context: "Context") -> list[Job]:
    """Jobs that score the checkpoints which lack it, one per method, and one for the starting policy."""
    if not context.request.curve or not context.selections:
        return []
    by_method = {method: _targets(context, method) for method in context.request.methods}
    if not any(by_method.values()):
        return []
    base = Target.start(context.base, CURVE)
    curved = few_prompts(context)
    found = [
        scoring_job(curved, f"{method} along training", targets)
        for method, targets in {BASE: [base], **by_method}.items()
    ]
    return [job for job in found if job is not None]


def few_prompts(context: "Context") -> "Context":
    """The context with nothing but the curve's evaluation."""
    name, chosen = next(iter(context.selections.items()))
    return replace(
        context,
        request=curve_request(context.request),
        benchmarks={name: one_picture(context.benchmarks[name])},
        selections={name: few(chosen, context.request.curve)},
    )


def curve_request(request: Request) -> Request:
    """The request with nothing but the first benchmark under the main setting, one picture a prompt, as the setting
    CURVE."""
    return replace(
        request, benchmarks=request.benchmarks[:1], settings={CURVE: {**request.settings[MAIN], "samples": 1}}
    )


def one_picture(benchmark: "Benchmark") -> "Benchmark":
    """The benchmark with one picture a prompt, whatever it makes elsewhere."""
    if isinstance(benchmark, PictureBenchmark):
        benchmark = copy(benchmark)
        benchmark.samples = None
    return benchmark


def few(chosen: Selection, count: int) -> Selection:
    """At most `count` prompts of a selection, drawn by the hash of their ids, categories taking turns."""
    drawn = select(chosen.benchmark, list(chosen.drawn.prompts), None, min(count, len(chosen.drawn.prompts)))
    ids = {prompt.id for prompt in drawn}
    own = tuple(prompt for prompt in chosen.prompts if prompt.id in ids)
    pictures = replace(chosen.drawn, prompts=tuple(drawn), sha256=prompt_set_sha256(drawn))
    return Selection(chosen.benchmark, own, prompt_set_sha256(own), pictures, chosen.whole)


def _targets(context: "Context", method: str) -> list[Target]:
    """Every saved checkpoint of the method's finished trainings."""
    from htgrpo.training.checkpoints import saved

    found = []
    for seed in context.request.seeds:
        if training_of(context.run, context.request, method, seed).done:
            for folder in saved(context.run.train(method, seed)):
                weights = inspect(str(folder))
                name = f"{method}-seed{seed}.{weights.iteration}"
                found.append(Target.of(weights, name, method, seed, CURVE))
    return found
