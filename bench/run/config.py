"""Writes a run's config.json: what was asked, and what decides what comes of it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.ask import machine
from bench.ask.choices import choices
from bench.ask.cli import command_line
from bench.ask.presets import published
from bench.ask.request import PUBLISHED, Request
from bench.benchmarks.base import MAIN
from bench.record.rundir import write_config
from bench.record.work import SCORE
from htgrpo.base.errors import UserError
from htgrpo.base.registry import BACKBONES, METHODS
from htgrpo.training.train_config import make_method

if TYPE_CHECKING:
    from bench.run.plan import Context


def record(context: "Context", at_once: int) -> Request:
    """Writes config.json and returns the request joined with what the run held before."""
    worlds = " and ".join(
        f"{world} world" for world in sorted({benchmark.world for benchmark in context.benchmarks.values()})
    )
    from_hub = context.request.backbone in BACKBONES.names()
    return write_config(
        context.run,
        named(context),
        {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "title": f"{context.request.backbone} on prompts and judges of the {worlds}" if from_hub else worlds,
            "command": command_line(),
            "folder": str(context.run.root),
            "titles": titles(context.request),
            "looks": looks(context.request),
            "levels": levels(context.request),
            "choices": choices(context.request),
            "versions": machine.versions(),
            "git_commit": machine.git_commit(),
            "prompt_sets": {name: selection.sha256 for name, selection in context.selections.items()},
            "selections": {
                name: [p.id for p in selection.prompts]
                for name, selection in context.selections.items()
                if context.request.limit or context.request.subset
            },
            "machine": {
                "cpu": machine.cpu_name(),
                "cores": machine.cores(),
                "threads_per_job": context.threads,
                "jobs": at_once,
                "processes": machine.processes(),
                "device": context.device,
            },
        },
    )


def titles(request: Request) -> dict[str, str]:
    """What the methods are called outside of tables, where they say so: with the level of their ratios where that is an
    option, and whether with hyperparameters of their own."""
    found = {}
    for name in request.methods:
        options = make_method(request.config(name, 0))
        title, level = options.title, getattr(options, "level", "")
        own = request.hyperparameters == PUBLISHED and published(name)
        told = [title, level, "published hyperparameters" if own else ""]
        if title:
            found[name] = ", ".join(filter(None, told))
    return found


def looks(request: Request) -> dict[str, list[str]]:
    """The colour and the marker that each method was registered with; a class that takes after another one has none of
    its own."""
    classes = {name: type(make_method(request.config(name, 0))) for name in request.methods}
    return {name: list(cls.__dict__["look"]) for name, cls in classes.items() if cls.__dict__.get("look")}


def levels(request: Request) -> dict[str, str]:
    """At which level each method has its ratios, read off its updates; without those that a made-up group does not
    suit."""
    from bench.cost.specimen import explained  # loads torch, which a refusal need not wait for

    found = {}
    for name in request.methods:
        if METHODS.get(name).rewarded:
            try:
                found[name] = explained(name, make_method(request.config(name, 0))).level
            except UserError:
                continue
    return found


def named(context: "Context") -> Request:
    """The request with its claim: where nobody has named one before anything is scored, the first benchmark that is no
    diagnostic, in the main view. What was scored without one stays so."""
    request = context.request
    headlines = [name for name in request.benchmarks if not context.benchmarks[name].diagnostic]
    if request.claim or SCORE not in context.stages or not headlines or context.run.scored:
        return request
    claim = {"benchmark": headlines[0], "setting": MAIN, "milestone": request.views[0]}
    return replace(request, claim=claim if context.run.config() is None or not context.run.request().claim else None)
