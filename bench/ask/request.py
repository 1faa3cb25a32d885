"""What a command was asked to do, with every default filled in. Torch-free: an unchanged run is recognised without
it."""

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from bench.benchmarks.text.settings import TextSettings
from bench.sources import training_prompts
from htgrpo.base.errors import UserError
from htgrpo.base.records import fault
from htgrpo.training.train_config import TrainConfig

BASE = "base"
SPLITS = ("heldout", "validation")


@dataclass(frozen=True)
class Request:
    """A run. methods x seeds are trained from `policy` and scored on `benchmarks` under `settings`, beside
    `checkpoints`.

    policy: "embedded", an absolute folder or a hub id, of `backbone`; revision: commit of a hub id, "" elsewhere;
    policy_sha256: of its weights, "" in a plan for weights that are not here. train: resolved TrainConfig by method,
    without the seed. checkpoints: label -> [{"path", "sha256", "seed", "iteration", "forwards"}], scored as they are.
    limit, subset, split: which prompts. budget: the views of the run with commas between, the main one first
    (budgets.parse_views). claim: the one comparison named beforehand, {"benchmark", "setting", "milestone"}, None while
    nobody has. train_prompts: training_prompts.TrainPrompts. curve: prompts of the first benchmark on which saved checkpoints
    are scored, 0 for none. text: how policies are asked for text, as text.settings.TextSettings.
    """

    preset: str
    methods: list[str]
    seeds: list[int]
    backbone: str
    policy: str
    revision: str
    policy_sha256: str
    budget: str
    benchmarks: list[str]
    split: str
    limit: int | None
    subset: dict[str, int]
    settings: dict[str, dict]
    train: dict[str, dict]
    checkpoints: dict[str, list[dict]]
    train_prompts: dict = field(default_factory=training_prompts.embedded)
    curve: int = 0
    text: dict[str, Any] = field(default_factory=lambda: asdict(TextSettings()))
    claim: dict[str, str] | None = None

    @property
    def views(self) -> list[str]:
        """The views, the main one first."""
        return self.budget.split(",")

    def config(self, method: str, seed: int) -> TrainConfig:
        """The settings of one training."""
        return TrainConfig(**{**self.train[method], "seed": seed})

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
