"""Reads flags into a Request, with every default filled in. Torch-free: an unchanged run is recognised without it."""

import argparse
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.ask import keys, methods
from bench.ask.budgets import parse_views, training_budget
from bench.ask.cli import say
from bench.ask.overrides import Overrides, parse_overrides, resolve
from bench.ask.presets import Setting, preset, published, tuned
from bench.ask.request import PUBLISHED, SHARED_BY_ALL, Request, mark
from bench.ask.weights import NotHere, Weights, check_same_shape, inspect
from bench.benchmarks.base import MAIN
from bench.benchmarks.text.settings import from_options
from bench.scorers.servers import use_servers
from bench.sources import training_prompts
from htgrpo.base.errors import UserError, suggest
from htgrpo.base.files import sha256_json
from htgrpo.base.options import build
from htgrpo.base.records import BASE
from htgrpo.base.registry import BACKBONES, BENCHMARKS, METHODS
from htgrpo.policies.model_files import EMBEDDED
from htgrpo.training.rewards import check_names

OF_TRAINING = ("reward", "train_prompts", "report_to", "seeds")
"""Flags that say how methods are trained and nothing else."""
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]*")


@dataclass(frozen=True)
class Parsed:
    """A request, the folder it goes to when --out is not given, and remarks for the user."""

    request: Request
    folder: Path
    remarks: list[str]

    def told(self) -> "Parsed":
        """Itself, once the remarks are said."""
        for remark in self.remarks:
            say(remark)
        return self


def from_arguments(args: argparse.Namespace) -> Parsed:
    """Reads the flags of bench.ask.arguments. Raises UserError for the first one that cannot be; `--set help` prints
    what there is to set and leaves, as --help does."""
    use_servers(args.scorer_url)
    named, policy, remarks = _named_checkpoints(args.checkpoint, args.policy)
    weights = _weights(args, policy)
    defaults = preset(args.preset, weights.backbone, weights.random_weights)
    remarks += _random_remarks(args, weights, defaults)
    resolution = args.resolution or weights.resolution or defaults.get("resolution", "")
    defaults = {**defaults, "train": {"resolution": resolution, **defaults["train"]}}
    chosen = _methods(args.methods, defaults["methods"], named)
    if not chosen:
        for flag in (flag for flag in OF_TRAINING if getattr(args, flag, None) is not None):
            raise UserError(
                f"--{flag.replace('_', '-')} has no effect where nothing is trained: leave it out, or name --methods"
            )
    kind = getattr(args, "hyperparameters", None) or SHARED_BY_ALL
    tunings = {m: _own(m, weights.backbone, kind == PUBLISHED) for m in METHODS.names()}
    if keys.HELP in args.set:
        print(keys.listing(args.preset, defaults, tunings, trained=args.methods != [BASE]))
        raise SystemExit(0)
    overrides = parse_overrides(args.set, METHODS.names(), list(defaults["settings"]))
    if args.reward:
        overrides.common["rewards"] = args.reward
    check_card(args.gpu, args.dry_run, weights.backbone)
    views = parse_views(args.budget if args.budget is not None else defaults["budget"])
    benchmarks = args.benchmarks or defaults["benchmarks"]
    train = {m: resolve(m, training_budget(views), _layers(m, defaults, tunings, overrides)) for m in chosen}
    for method in overrides.methods.keys() - set(chosen):  # which may be added later
        resolve(method, training_budget(views), _layers(method, defaults, tunings, overrides))
    for rewards in dict.fromkeys(config.rewards for m, config in train.items() if METHODS.get(m).rewarded):
        check_names(rewards)
    settings = {
        name: _setting(
            name, {**values, "resolution": values["resolution"] or resolution, **overrides.settings.get(name, {})}
        )
        for name, values in defaults["settings"].items()
    }
    request = Request(
        preset=args.preset,
        methods=chosen,
        seeds=args.seeds or list(range(defaults["seeds"])),
        backbone=weights.backbone,
        policy=weights.source,
        revision=weights.revision,
        policy_sha256=weights.sha256,
        budget=",".join(views),
        benchmarks=benchmarks,
        split=args.split,
        limit=args.limit,
        subset=subset(args.subset, benchmarks),
        settings=settings,
        train={m: {k: v for k, v in asdict(config).items() if k != "seed"} for m, config in train.items()},
        checkpoints={label: _given(sources, weights) for label, sources in named.items()},
        train_prompts=_train_prompts(args, defaults, chosen, remarks),
        curve=defaults["curve"] if args.curve is None else args.curve,
        text=asdict(from_options(overrides.text, "text.")),
        claim=_claim(args.claim, benchmarks, views),
        margin=args.margin,
        hyperparameters=kind,
    )
    name = f"{args.preset}-{_identity(request, defaults, tunings, overrides)[:8]}"
    return Parsed(request, Path("runs") / name, remarks)


def _own(method: str, backbone: str, as_published: bool) -> dict[str, Any]:
    """What a method is trained with beside what all share: what tuning chose; or its published hyperparameters, where it
    has any, with nothing of the tuning but the learning rate."""
    chosen = tuned(method, backbone)
    if not as_published or not published(method):
        return chosen
    return {name: value for name, value in chosen.items() if name == "lr"} | published(method)


def _claim(text: str | None, benchmarks: list[str], views: tuple[str, ...]) -> dict[str, str] | None:
    """BENCHMARK or BENCHMARK/VIEW, by default the main view, always under the main setting. Raises UserError."""
    if text is None:
        return None
    benchmark, slash, view = text.partition("/")
    if benchmark not in benchmarks:
        raise suggest(benchmark, benchmarks, "benchmark of this run in --claim")
    if BENCHMARKS.get(benchmark.partition("@")[0]).diagnostic:
        raise UserError(
            f"--claim {text}: {benchmark} is a read-out beside a headline, and no main claim is made of it: name the "
            "benchmark whose pictures it reads"
        )
    if slash and view not in views:
        raise suggest(view, views, "view of --budget in --claim")
    return {"benchmark": benchmark, "setting": MAIN, "milestone": view or views[0]}


def _train_prompts(args: argparse.Namespace, defaults: dict, methods: list[str], remarks: list[str]) -> dict[str, Any]:
    """What is trained on. Only a plan is made without prompts that a preset names, and says so."""
    if args.train_prompts is None and not methods:
        return training_prompts.embedded()
    try:
        return training_prompts.train_prompts(args.train_prompts or defaults.get("train_prompts"))
    except UserError as error:
        if not args.dry_run or args.train_prompts is not None:
            raise
        remarks.append(f"still missing: {error.message}; planned with the embedded world's training prompts instead")
        return training_prompts.embedded()


def _random_remarks(args: argparse.Namespace, weights: Weights, defaults: dict) -> list[str]:
    """What a preset means on random weights, where it means something else than on trained ones."""
    if not weights.random_weights or args.benchmarks is not None or defaults == preset(args.preset, weights.backbone):
        return []
    return [f"random weights: judged by {', '.join(defaults['benchmarks'])} unless --benchmarks says otherwise"]


def _weights(args: argparse.Namespace, policy: str) -> Weights:
    """The starting weights. A plan may be made for published weights that are not on this machine."""
    try:
        return inspect(policy, args.backbone, args.revision)
    except NotHere as absent:
        if not args.dry_run:
            raise
        return absent.weights


def _methods(asked: list[str] | None, default: list[str], named: dict[str, list[str]]) -> list[str]:
    """The methods to train. Labels with checkpoints are not trained; `base` always takes part. `help` prints what there
    is and leaves, as --help does."""
    if methods.told(asked or []):
        raise SystemExit(0)
    names = methods.expanded(asked or ([] if named else default))
    for name in names:
        if name not in named and name != BASE and name not in METHODS.names():
            raise suggest(name, [*METHODS.names(), *methods.groups(), BASE, keys.HELP], "method", "--methods")
    return [name for name in names if name != BASE and name not in named]


def _named_checkpoints(texts: list[str], policy: str | None) -> tuple[dict[str, list[str]], str, list[str]]:
    """METHOD=PATH by label, the policy, and remarks; a bare path is the policy."""
    named: dict[str, list[str]] = {}
    bare = []
    for text in texts:
        label, equals, path = text.partition("=")
        if not equals or "/" in label:
            bare.append(text)
            continue
        if not LABEL.fullmatch(label) or label == BASE or not path:
            raise UserError(
                f"--checkpoint {text!r} is not understood: write METHOD=PATH, with a METHOD of letters, digits, '_' and '.' "
                "that is not 'base'"
            )
        named.setdefault(label, []).append(path)
    if len(bare) > 1 or (bare and policy is not None):
        raise UserError(
            f"--checkpoint {bare[-1]!r} names no method, and the policy is given already: write METHOD=PATH"
        )
    remarks = [f"--checkpoint {path} names no method: taken as --policy {path}" for path in bare]
    return named, policy or (bare[0] if bare else EMBEDDED), remarks


def _given(sources: list[str], policy: Weights) -> list[dict]:
    """Checkpoints of one label. Their training seeds are read from their paths (…/seed3/…) when those tell them apart,
    else counted from 0."""
    found = [inspect(source, policy.backbone) for source in sources]
    seeds = [re.findall(r"/seed(\d+)/", weights.source) for weights in found]
    numbers = [int(seed[-1]) for seed in seeds if seed]
    if len(set(numbers)) < len(found):
        numbers = list(range(len(found)))
    for source in sources:
        check_same_shape(source, policy.source, policy.revision or None)
    return [
        {"path": w.source, "sha256": w.sha256, "seed": seed, "iteration": w.iteration, "forwards": w.forwards}
        for w, seed in zip(found, numbers, strict=True)
    ]


def _layers(method: str, defaults: dict, tunings: dict[str, dict], overrides: Overrides) -> list[dict]:
    return [defaults["train"], tunings[method], overrides.common, overrides.methods.get(method, {})]


def _setting(name: str, values: dict[str, Any]) -> dict[str, Any]:
    return build(Setting, values, name).validate(name).values()


def check_card(card: str | None, dry_run: bool, backbone: str) -> None:
    """Raises UserError where `--gpu` has no effect: costs on a card are forecast in the plan of a published backbone
    only."""
    if card and not (dry_run and backbone in BACKBONES.names()):
        raise UserError(
            f"--gpu {card} has no effect {'on the embedded policy' if dry_run else 'without --dry-run'}: leave it out"
        )


def subset(drawn: list[tuple[str, int]], benchmarks: list[str]) -> dict[str, int]:
    """Prompts by benchmark. Raises UserError for one that is not among those of the run."""
    for name, _ in drawn:
        if name not in benchmarks:
            raise suggest(name, benchmarks, "benchmark of this run", "--subset")
    return dict(drawn)


def _identity(request: Request, defaults: dict, tunings: dict[str, dict], overrides: Overrides) -> str:
    """Hex identity of what defines a run; methods, seeds and benchmarks may be added later and do not count."""
    methods = {
        m: {**tunings.get(m, {}), **overrides.methods.get(m, {})} for m in sorted({*tunings, *overrides.methods})
    }
    common = {**defaults["train"], **overrides.common}
    checkpoints = {label: [given["sha256"] for given in items] for label, items in request.checkpoints.items()}
    policy = request.policy_sha256 or [request.policy, request.revision]
    named = {one.name: getattr(request, one.name) for one in fields(Request) if mark(one).names_run}
    return sha256_json(
        [
            *{**named, "policy_sha256": policy}.values(),
            resolve("ht", training_budget(request.views), [common]).__dict__,
            {m: v for m, v in methods.items() if v},
            checkpoints,
            MAIN,
            *(
                []
                if request.train_prompts["source"] == training_prompts.EMBEDDED
                else [request.train_prompts["sha256"]]
            ),
            *([overrides.text] if overrides.text else []),
        ]
    )
