"""Every setting of a run and of the paper's experiment, by name, taken from the dataclasses that hold them, so that
none is left out. reports/paper/settings.py compares them."""

from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask.asked import from_arguments
from bench.ask.presets import Setting, preset, read
from bench.ask.request import Request
from bench.benchmarks.base import MAIN
from htgrpo.base.errors import UserError
from htgrpo.base.files import read_object
from htgrpo.base.options import build
from htgrpo.base.registry import METHODS
from htgrpo.training.train_config import TrainConfig
from reports.paper.settings import NOT_RECORDED

if TYPE_CHECKING:
    from reports.run.load import Run

APART = {
    "preset": "a name for all the others",
    "methods": "each is compared by its own settings",
    "train": "compared one by one, as METHOD.KEY",
    "settings": "compared one by one, as main.KEY; further ones are tables of their own",
    "benchmarks": "each is compared by its title and by what judges it",
    "checkpoints": "their training is not recorded, which is said",
    "policy_sha256": "of the policy, which is compared",
    "budget": "compared for every method",
    "curve": "on pictures that no table shows",
    "text": "the paper has no benchmark of text",
    "hyperparameters": "a name for settings of methods, which are compared",
    "claim": "what is said of the numbers, not how they come about",
    "margin": "likewise",
}
"""Fields of a Request that are not compared as they are, and why."""


def of_paper(backbone: str, methods: list[str], parser: ArgumentParser) -> dict[str, Any]:
    """The settings of the paper's experiment as `--preset paper` starts it on `backbone`, also for methods that the
    paper does not train; of those that are not installed here, what is common to all. parser: of bench.compare."""
    known = [name for name in methods if name in METHODS.names()] or preset("paper", backbone)["methods"][:1]
    args = parser.parse_args(["--preset", "paper", "--backbone", backbone, "--methods", ",".join(known), "--dry-run"])
    request = asdict(from_arguments(args).request)
    request["train_prompts"] = {"source": preset("paper", backbone)["train_prompts"], "sha256": ""}
    found = _flat(request) | _judges(read(f"paper_{backbone}")["judges"])
    del found["revision"]  # whichever is the newest
    shared = {name.partition(".")[2]: value for name, value in found.items() if name.startswith(f"{known[0]}.")}
    keys = [f.name for f in fields(TrainConfig) if f.name in shared]
    return found | {f"{name}.{key}": shared[key] for name in methods if name not in known for key in keys}


def of_run(run: "Run", backbone: str) -> dict[str, Any]:
    """The settings of a run under the same names; what it should record and does not is NOT_RECORDED."""
    facts, found = read(f"paper_{backbone}"), _flat(run.config)
    machine = run.config.get("machine", {})
    device = machine.get("device", "cpu")
    found["gpus"] = machine.get("processes", 1) if device == "cuda" else f"none ({device})"
    for name in (name.removeprefix("benchmarks.") for name in facts["given"] if name.startswith("benchmarks.")):
        meta = _meta(run, name)
        if meta:
            found[f"benchmarks.{name}"] = meta["title"]
            found |= _judges({f"scorer.{name}": _known(meta["scorer"], facts["judges"].get(f"scorer.{name}", {}))})
    rewarders, used = (
        _rewarders(run.root),
        ",".join(values.get("rewards", "") for values in run.config.get("train", {}).values()),
    )
    for name in {part.partition("=")[0].strip() for part in used.split(",")}:
        if wanted := facts["judges"].get(f"reward.{name}"):
            said = [_text(_known(identity, wanted)) for identity in rewarders.get(name, [])]
            found[f"reward.{name}"] = " or ".join(dict.fromkeys(said)) or NOT_RECORDED
    return found | {
        label: "a given checkpoint, whose training is not recorded" for label in run.config.get("checkpoints", {})
    }


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name of a request as config.json holds it."""
    found = {f.name: config.get(f.name, NOT_RECORDED) for f in fields(Request) if f.name not in APART}
    found["seeds"] = len(config["seeds"]) if config.get("seeds") else NOT_RECORDED
    found["train_prompts"] = _prompts(config.get("train_prompts"))
    main = config.get("settings", {}).get(MAIN, {})
    defaults = {f.name: f.default for f in fields(Setting) if isinstance(f.default, (str, int, float))}
    found |= {f"main.{f.name}": main.get(f.name, defaults.get(f.name, NOT_RECORDED)) for f in fields(Setting)}
    for method, values in config.get("train", {}).items():
        found |= {
            f"{method}.{f.name}": values.get(f.name, NOT_RECORDED)
            for f in fields(TrainConfig)
            if f.name not in ("method", "method_options", "seed")
        }
        found |= {f"{method}.{name}": value for name, value in options_of(values.get("method", method), values).items()}
    return found


def options_of(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a method with the value it had; those that were set, of a method that is not installed here."""
    given = values.get("method_options", {})
    try:
        made = build(METHODS.get(method), given, method)
    except UserError:
        return dict(given)
    return {f.name: getattr(made, f.name) for f in fields(made) if f.init} if is_dataclass(made) else dict(given)


def _prompts(recorded: Mapping[str, str] | None) -> str:
    """Training prompts by the name of their asset or file, and by their hash where they are a file."""
    if not recorded:
        return NOT_RECORDED
    path = Path(recorded["source"])
    return f"{path.name} ({recorded['sha256'][:12]})" if path.is_absolute() else recorded["source"]


def _meta(run: "Run", benchmark: str) -> dict[str, Any] | None:
    """The meta file of a benchmark in the run, or of its namesake of the embedded world."""
    for name in (benchmark, f"embedded_{benchmark}"):
        metas = run.metas[run.metas["benchmark"] == name]
        if not metas.empty:
            return metas["meta"].iloc[0]
    return None


def _rewarders(root: Path) -> dict[str, list[dict[str, Any]]]:
    """What rewarded the trainings of a run, by name: its identity in every one."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(root.glob("train/*/seed*/rewards.json")):
        try:
            for name, identity in read_object(path).items():
                found.setdefault(name, []).append(identity)
        except UserError:
            continue
    return found


def _known(identity: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What of an identity the paper's experiment says something about, and its name."""
    return {key: identity.get(key) for key in dict.fromkeys(["name", *wanted]) if key in identity}


def _judges(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: _text(one) for name, one in facts.items()}


def _text(facts: Mapping[str, Any]) -> str:
    return ", ".join(str(value) if key == "name" else f"{key} {value}" for key, value in facts.items())
