"""What a command was asked to do, with every default filled in. Torch-free: an unchanged run is recognised without
it."""

from collections.abc import Callable
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any

from bench.benchmarks.text.settings import TextSettings
from bench.sources import training_prompts
from htgrpo.base.errors import UserError
from htgrpo.base.records import fault
from htgrpo.training.train_config import TrainConfig

SPLITS = ("heldout", "validation")
SHARED_BY_ALL, PUBLISHED = "shared", "published"
"""Hyperparameters of a run's methods: those that all share, with tuned learning rates, or each one's published ones."""
SAME, SHARED, MORE, FIRST, LAST, ANY = "same", "shared", "more", "first", "last", "any"
"""What a field of a command may be beside that of the run it works on: the same; a mapping that has the same under the
keys of both and may have others; a list, to which it adds; the same, or unsaid by one of them; anything, where it is
said; anything."""
JOINS: dict[str, Callable[[Any, Any], Any]] = {
    SHARED: lambda old, new: {**old, **new},
    MORE: lambda old, new: list(dict.fromkeys([*old, *new])),
    FIRST: lambda old, new: old or new,
    LAST: lambda old, new: new or old,
}
"""What the run has then; by default what the command says."""


@dataclass(frozen=True)
class Mark:
    """What a field of a Request does. joins: one of the six above. names_run: it counts, as it is, to the name of a
    folder that nobody named (asked._identity says what counts in another form). decides: it may change what comes of a
    command."""

    joins: str = ANY
    names_run: bool = False
    decides: bool = True


def marked(joins: str, names_run: bool = False, decides: bool = True, **options: Any) -> Any:
    """A field of Request."""
    return field(metadata={"mark": Mark(joins, names_run, decides)}, **options)


def mark(one: Field) -> Mark:
    """The mark of a field."""
    return one.metadata["mark"]


@dataclass(frozen=True)
class Request:
    """A run. methods x seeds are trained from `policy` and scored on `benchmarks` under `settings`, beside
    `checkpoints`.

    policy: "embedded", an absolute folder or a hub id, of `backbone`; revision: commit of a hub id, "" elsewhere;
    policy_sha256: of its weights, "" in a plan for weights that are not here. train: resolved TrainConfig by method,
    without the seed. checkpoints: label -> [{"path", "sha256", "seed", "iteration", "forwards"}], scored as they are.
    limit, subset, split: which prompts. budget: the views of the run with commas between, the main one first
    (budgets.parse_views). claim: the one comparison named beforehand, {"benchmark", "setting", "milestone"}, None
    while nobody has; margin: the share of a scale within which two policies are called equal, named likewise.
    train_prompts: training_prompts.TrainPrompts. curve: prompts of the first benchmark on which saved checkpoints are
    scored, 0 for none. text: how policies are asked for text, as text.settings.TextSettings.
    hyperparameters: SHARED_BY_ALL or PUBLISHED, never both in a run.
    """

    preset: str = marked(SAME, names_run=True)
    methods: list[str] = marked(MORE)
    seeds: list[int] = marked(MORE)
    backbone: str = marked(SAME, names_run=True)
    policy: str = marked(ANY)
    revision: str = marked(ANY)
    policy_sha256: str = marked(SAME, names_run=True)
    budget: str = marked(SAME, names_run=True)
    benchmarks: list[str] = marked(MORE)
    split: str = marked(SAME, names_run=True)
    limit: int | None = marked(SAME, names_run=True)
    subset: dict[str, int] = marked(SHARED, names_run=True)
    settings: dict[str, dict] = marked(SAME, names_run=True)
    train: dict[str, dict] = marked(SHARED)
    checkpoints: dict[str, list[dict]] = marked(SHARED)
    train_prompts: dict = marked(SAME, default_factory=training_prompts.embedded)
    curve: int = marked(LAST, default=0)
    text: dict[str, Any] = marked(SHARED, default_factory=lambda: asdict(TextSettings()))
    claim: dict[str, str] | None = marked(FIRST, decides=False, default=None)
    hyperparameters: str = marked(SAME, default=SHARED_BY_ALL)
    margin: float | None = marked(FIRST, decides=False, default=None)

    @property
    def views(self) -> list[str]:
        """The views, the main one first."""
        return self.budget.split(",")

    def config(self, method: str, seed: int) -> TrainConfig:
        """The settings of one training."""
        return TrainConfig(**{**self.train[method], "seed": seed})

    def joined(self, old: "Request") -> "Request":
        """This request added to the one of the run it works on."""
        found = {
            one.name: JOINS.get(mark(one).joins, lambda old, new: new)(getattr(old, one.name), getattr(self, one.name))
            for one in fields(Request)
        }
        seeds = sorted(found["seeds"]) if self.methods else old.seeds  # without trainings they mean nothing
        return Request(**{**found, "seeds": seeds})

    @staticmethod
    def read(config: dict[str, Any], where: str) -> "Request":
        """The request recorded in a run's config.json. Raises UserError when that is not a whole one."""
        missing = [
            f.name
            for f in fields(Request)
            if f.name not in config and f.default_factory is MISSING and f.default is MISSING
        ]
        if missing:
            raise UserError(
                f"{where} lacks {', '.join(missing)}: it was not written by this version; start a run in a new folder"
            )
        told = fault(config, Request) or _train_fault(config)
        if told:
            raise UserError(f"{where} is damaged or was edited ({told}): restore it, or start again with --overwrite")
        return Request(**{f.name: config[f.name] for f in fields(Request) if f.name in config})


def _train_fault(config: dict[str, Any]) -> str:
    """What is wrong with the settings of trainings in a config.json; "" where nothing is."""
    known = {f.name for f in fields(TrainConfig)} - {"seed"}
    for method in config["methods"] if config["train"] or config["seeds"] else []:
        settings = config["train"].get(method)
        told = fault(settings, dict[str, Any]) or fault({**settings, "seed": 0}, TrainConfig)
        if strange := "" if told else next(iter(sorted(settings.keys() - known)), ""):
            told = f"{strange} is no setting"
        if told:
            return f"train.{method}: {told}"
    return ""
