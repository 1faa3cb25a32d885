"""What a command was asked to do, with every default filled in. Torch-free: an unchanged run is recognised without
it."""

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, get_type_hints

from bench.benchmarks.text.settings import TextSettings
from bench.sources import prompts
from htgrpo.base.errors import UserError
from htgrpo.base.run_files import object_fault
from htgrpo.training.train_config import TrainConfig

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
    nobody has. train_prompts: prompts.TrainPrompts. curve: prompts of the first benchmark on which saved checkpoints
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
    train_prompts: dict = field(default_factory=prompts.embedded)
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
        told = object_fault(
            config, {k: v for k, v in get_type_hints(Request).items() if k in config}, {}
        ) or _train_fault(config)
        if told:
            raise UserError(f"{where} is damaged or was edited ({told}): restore it, or start again with --overwrite")
        return Request(**{f.name: config[f.name] for f in fields(Request) if f.name in config})


def _train_fault(config: dict[str, Any]) -> str:
    """What is wrong with the settings of trainings in a config.json; "" where nothing is."""
    for method in config["methods"] if config["train"] or config["seeds"] else []:
        known = {name: kind for name, kind in get_type_hints(TrainConfig).items() if name != "seed"}
        settings = config["train"].get(method)
        kinds = {k: v for k, v in known.items() if isinstance(settings, dict) and k in settings}
        told = object_fault(settings, kinds, {}, f"train.{method}")
        strange = sorted(settings.keys() - known.keys()) if not told else []
        if told or strange:
            return told or f"train.{method}.{strange[0]} is no setting"
    return ""
