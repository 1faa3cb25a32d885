"""The plan of a run: which jobs are left, what is there already, how long it should take."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.ask.request import Request
from bench.ask.selection import Selection, select_all
from bench.ask.weights import Weights, inspect
from bench.benchmarks.base import MAIN
from bench.benchmarks.evaluation import Evaluation
from bench.record.pictures import is_generated
from bench.record.rundir import RunDir
from bench.record.trainings import training_of
from bench.record.verdicts import is_scored
from bench.record.work import GENERATE, SCORE, TRAIN, Job, Target
from bench.run.views import equal_seconds, target_at, trained_targets
from bench.sources import training_prompts
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from htgrpo.base.records import BASE, FINAL
from htgrpo.training.train_config import TrainConfig

if TYPE_CHECKING:
    from bench.benchmarks.base import Benchmark
    from bench.cost.forecast import Forecast
    from bench.cost.measured import Measured
    from bench.cost.outline import Outline


@dataclass(frozen=True)
class Context:
    """A request with what it names loaded: benchmarks, prompts, and how it is run. forecast: of costs on published
    weights. remarks: what is not here yet, of a plan that is only looked at."""

    run: RunDir
    request: Request
    stages: tuple[str, ...]
    benchmarks: "dict[str, Benchmark]"
    selections: dict[str, Selection]
    train_prompts: list[Prompt]
    outline: "Outline"
    device: str
    threads: int
    report_to: str | None = None
    forecast: "Forecast | None" = None
    remarks: tuple[str, ...] = ()

    @cached_property
    def clock(self) -> "Forecast | Measured":
        """What expected seconds are asked of: the forecast where the weights are published ones, else rates measured
        once."""
        if self.forecast:
            return self.forecast
        from bench.cost.measured import Measured

        return Measured(self.outline, self.train_prompts)

    @property
    def base(self) -> Weights:
        """The starting weights. Those that are not here have no hash; only a plan gets so far with them."""
        request = self.request
        if not request.policy_sha256:
            return Weights(request.policy, "", False, None, None, request.backbone, request.revision)
        return inspect(request.policy, request.backbone, request.revision or None)

    def evaluations(self) -> tuple[Evaluation, ...]:
        """Every benchmark under all of its settings, with the dtype and resolution that the defaults of generation mean
        here."""
        from htgrpo.base.cpu import sampling_dtype

        def resolved(values: dict) -> dict:
            dtype = str(sampling_dtype(values["dtype"], self.device)).removeprefix("torch.")
            return {**values, "dtype": dtype, "resolution": self.outline.resolution(values["resolution"])}

        request = replace(
            self.request, settings={name: resolved(values) for name, values in self.request.settings.items()}
        )
        found = []
        for name, one in self.selections.items():
            benchmark = self.benchmarks[name]
            for setting, values in benchmark.settings(request).items():
                found.append(
                    Evaluation(
                        name, setting, values, one.prompts, one.sha256, one.drawn, benchmark.of_policy, one.whole
                    )
                )
        return tuple(found)

    def job(self, name: str, **details) -> Job:
        """A job of this run."""
        request = self.request
        return Job(
            name,
            self.run,
            request.backbone,
            request.policy,
            request.revision,
            self.stages,
            self.device,
            self.threads,
            report_to=self.report_to,
            **details,
        )


def load_context(
    run: RunDir,
    request: Request,
    stages: tuple[str, ...],
    device: str,
    threads: int,
    report_to: str | None = None,
    gpu: str | None = None,
    dry: bool = False,
) -> Context:
    """Loads benchmarks and prompts, and checks what can be checked before any work. Raises UserError.

    gpu: the card that costs are forecast for. dry: nothing will be run here, so that the forecast is for that card
    alone.
    """
    from bench.benchmarks.registry import make
    from bench.cost.outline import outline_of
    from htgrpo.base.registry import BACKBONES
    from htgrpo.training.train_config import make_method

    benchmarks = {name: make(name) for name in request.benchmarks}
    for benchmark in benchmarks.values():
        benchmark.device = device
        benchmark.settings(request)
    absent: list[str] = []
    selections = select_all(benchmarks, request.split, request.limit, request.subset, absent if dry else None)
    if SCORE in stages:
        absent += without_scorers(benchmarks)
    if absent and not dry:
        raise UserError("; ".join(dict.fromkeys(absent)) + "; or leave such benchmarks out")
    for method in request.methods:
        config = request.config(method, 0)
        make_method(config)
    prompts, outline, forecast = training_prompts.load(request.train_prompts), outline_of(request), None
    for values in [*request.settings.values(), *request.train.values()]:
        outline.resolution(values["resolution"])
    if request.backbone in BACKBONES.names():
        from bench.cost.forecast import Card, Forecast

        forecast = Forecast(outline, Card.find(gpu), prompts, "cuda" if dry else device)
    remarks = tuple(dict.fromkeys(absent))
    return Context(
        run, request, stages, benchmarks, selections, prompts, outline, device, threads, report_to, forecast, remarks
    )


def without_scorers(benchmarks: "Mapping[str, Benchmark]") -> list[str]:
    """What is said about benchmarks whose scorers are not here: a run of hours must not end in that sentence."""
    found = []
    for benchmark in benchmarks.values():
        try:
            benchmark.scorer_identity()
        except UserError as error:
            found.append(error.message)
    return found


def jobs(context: Context) -> list[Job]:
    """The jobs of a run that still have something to do, those that need finished trainings excepted."""
    request, found = context.request, []
    if request.benchmarks and (GENERATE in context.stages or SCORE in context.stages):
        found.append(scoring_job(context, BASE, [Target.start(context.base, FINAL)]))
        for label, items in request.checkpoints.items():
            targets = [_checkpoint(label, item, request.backbone) for item in items]
            found.append(scoring_job(context, label, targets))
    for method in request.methods:
        for seed in request.seeds:
            found.append(_training_job(context, method, seed))
    return [job for job in found if job is not None]


def _checkpoint(label: str, item: dict[str, Any], backbone: str) -> Target:
    """A checkpoint that is scored as it is."""
    weights = replace(
        inspect(item["path"], backbone),
        source=item["path"],
        revision="",
        iteration=item["iteration"],
        forwards=item["forwards"],
    )
    return Target.of(weights, f"{label}-seed{item['seed']}", label, item["seed"], FINAL)


def _training_job(context: Context, method: str, seed: int) -> Job | None:
    name, training = f"{method} seed {seed}", training_of(context.run, context.request, method, seed)
    config = context.request.config(method, seed)
    if TRAIN not in context.stages:
        if training.folder is None:
            raise UserError(f"{name} has not been trained: run python -m bench.train first, or leave it out")
        return scoring_job(context, name, trained_targets(context.run, config, training.reached))
    scored = GENERATE in context.stages
    if training.done:
        return scoring_job(context, name, trained_targets(context.run, config, training.reached)) if scored else None
    evaluations, shown = context.evaluations() if scored else (), _views_of(config)
    asked = [
        (one, view) for view in shown for one in evaluations if view == context.request.views[0] or one.setting == MAIN
    ]
    where = f", goes on from iteration {training.iteration}" if training.iteration else ""
    scoring = (f"{_note(one, f'{method}-seed{seed}')} at {view}" for one, view in asked)
    notes = (f"train {name}, {' and '.join(shown)}{where}", *scoring)
    return context.job(
        name,
        config=config,
        evaluations=evaluations,
        prompts=tuple(context.train_prompts),
        notes=notes,
        train_seconds=context.clock.train_seconds(config, training.forwards),
        evaluate_seconds=sum(
            _evaluate_seconds(context, [(one, False) for one, at in asked if at == view]) for view in shown
        ),
    )


def _views_of(config: TrainConfig) -> list[str]:
    """The budgets at which a training is looked at."""
    from htgrpo.base.registry import METHODS
    from htgrpo.training.train_config import comparable, parse_budgets

    return [budget.text for budget in comparable(parse_budgets(config.budget), METHODS.get(config.method).rewarded)]


def scoring_job(context: Context, name: str, targets: list[Target]) -> Job | None:
    """A job that generates and scores what is missing of `targets`; None when nothing is."""
    seconds, notes, evaluations = 0.0, [], context.evaluations()
    for target in targets:
        todo = []
        for e in target.asked(evaluations):
            made = e.of_policy or is_generated(
                context.run.images(target.name, e.drawn.name, e.setting), e, target.sha256
            )
            judged = is_scored(context.run, target, e, context.benchmarks[e.benchmark])
            if (SCORE in context.stages and not judged) or (GENERATE in context.stages and not made):
                todo.append((e, made or GENERATE not in context.stages))
                notes.append(_note(e, target.name))
        seconds += _evaluate_seconds(context, todo)
    if not notes:
        return None
    return context.job(
        name, targets=tuple(targets), evaluations=evaluations, notes=tuple(notes), evaluate_seconds=seconds
    )


def _evaluate_seconds(context: Context, todo: list[tuple[Evaluation, bool]]) -> float:
    """Expected seconds of evaluations, each with whether its pictures are there; those that several judge are made
    once."""
    seconds, made = 0.0, set()
    for evaluation, there in todo:
        pictures = evaluation.drawn.name, evaluation.setting
        seconds += context.clock.evaluate_seconds(evaluation, there or pictures in made)
        made.add(pictures)
    return seconds


def check_rewards(todo: list[Job]) -> None:
    """Raises UserError where what rewards one of these trainings cannot be had here: before any work, without loading
    it."""
    from htgrpo.base.registry import METHODS
    from htgrpo.training.rewards import WeightedReward

    asked = [
        (job.config.rewards, job.prompts) for job in todo if job.config and METHODS.get(job.config.method).rewarded
    ]
    for rewards, prompts in dict.fromkeys(asked):
        WeightedReward(rewards).check(list(prompts))


def _note(evaluation: Evaluation, policy: str) -> str:
    return f"{policy}: {len(evaluation.items)} {evaluation.noun} for {evaluation.benchmark} ({evaluation.setting})"


def seconds_jobs(context: Context, dry: bool = False) -> list[Job]:
    """Jobs for the view at equal training seconds, one per method, once all trainings are done."""
    by_method: dict[str, list[Target]] = {}
    for config, iteration, reached in equal_seconds(context.run, context.request, dry):
        main = reached.get(context.request.views[0])
        by_method.setdefault(config.method, []).append(target_at(context.run, config, iteration, main))
    found = [scoring_job(context, f"{method} at equal seconds", targets) for method, targets in by_method.items()]
    return [job for job in found if job is not None]
