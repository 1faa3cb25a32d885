"""Flags that several commands share. Their help is meant to teach: what a thing is, what it takes, an example."""

from bench.ask import kinds
from bench.ask.flags import OUTPUT, RUNNING, SCORING, TRAINING, Parser
from bench.ask.keys import HELP
from bench.ask.presets import PRESETS, gpus
from bench.ask.request import SPLITS
from bench.benchmarks.registry import check as check_benchmark
from htgrpo.base.errors import UserError
from htgrpo.base.registry import BACKBONES, BENCHMARKS, METHODS
from htgrpo.base.values import Names, OneOf, Resolution, Text, Whole, refuse
from htgrpo.training.train_config import TRACKERS
from htgrpo.world.world import policies

METHOD = OneOf(METHODS.names, "method")
BACKBONE = OneOf(lambda: [*policies(), *BACKBONES.names()], "backbone")
COUNT = Whole(1, 10**7)
"""Of prompts, pictures and the like."""
JOBS = Whole(0, 4096)
DTYPE = OneOf(("float32", "bfloat16", "float16"), "dtype")
"""Of a scorer."""


def benchmark(value: str, name: str) -> str:
    """A benchmark's name."""
    try:
        return check_benchmark(Text(most=200)(value, name))
    except UserError as error:
        raise UserError(f"{name}: {error.message}") from error


def picture_setting(value: str, name: str) -> str:
    """KEY=VALUE of `--set` where nothing is trained."""
    owner, dot, _ = Text()(value, name).partition("=")[0].rpartition(".")
    if value != HELP and (not dot or owner in METHODS.names()):
        raise refuse(
            name, value, "nothing is trained here: it takes SETTING.KEY=VALUE or text.KEY=VALUE, such as main.steps=12"
        )
    return value


def add_start(p: Parser) -> None:
    """The weights everything starts from."""
    p.add_argument(
        "--policy",
        type=kinds.place,
        metavar="NAME_OR_PATH",
        help="starting weights: 'embedded' (default) or 'embedded_large', which ship with the package, a checkpoint folder, "
        "a folder in the layout of a "
        "published model, or the hub id of one, such as Gen-Verse/MMaDA-8B-MixCoT, which is looked up in the usual cache",
    )
    p.add_argument(
        "--backbone",
        type=BACKBONE,
        metavar="NAME",
        help=f"model family of the weights: {', '.join([*policies(), *BACKBONES.names()])} (default: what "
        "the policy's folder says). "
        "It brings token ids, prompt layout, sampler and image decoder, and the settings of bench/ask/presets/backbone_NAME.json; "
        "without --policy it means the family's published weights",
    )
    p.add_argument(
        "--revision",
        type=kinds.revision,
        metavar="REV",
        help="commit, tag or branch of the hub id in --policy (default: the one in the cache, main)",
    )
    p.add_argument(
        "--resolution",
        type=Resolution(empty=False),
        metavar="HxW|N",
        help="size of the pictures in pixels, in training and scoring, e.g. 512 or 768x1536 (HEIGHTxWIDTH), where the preset names "
        "none (default: the policy's own)",
    )


def add_checkpoints(p: Parser) -> None:
    """Weights that are scored as they are."""
    p.add_argument(
        "--checkpoint",
        type=kinds.place,
        action="append",
        default=[],
        metavar="METHOD=PATH",
        help="score the weights in PATH as METHOD instead of training it; repeat it for more methods, or for more "
        "training seeds of one; without METHOD= the path is taken as --policy",
    )


def add_benchmarks(p: Parser) -> None:
    """What the policies are scored on."""
    p.add_argument(
        "--benchmarks",
        group=SCORING,
        type=Names(benchmark),
        metavar="NAMES",
        help=f"comma-separated benchmarks: {', '.join(BENCHMARKS.names())} (default: all of the preset). SCORER@BENCHMARK puts a "
        "scorer on the pictures of another one, e.g. imagereward@geneval. text asks the policy itself, to see whether training has "
        "cost it language, on our small tasks or as text@TASK on one of lm-eval's, e.g. text@gsm8k",
    )
    p.add_argument(
        "--limit",
        group=SCORING,
        type=COUNT,
        metavar="N",
        help="use the first N prompts of each benchmark, categories taking turns",
    )
    p.add_argument(
        "--subset",
        group=SCORING,
        type=kinds.Drawn(),
        action="append",
        default=[],
        metavar="NAME:N",
        help="use N prompts of one benchmark, drawn evenly over its categories by the hash of their ids, e.g. geneval:60; "
        "repeatable; which ones is recorded in config.json",
    )
    p.add_argument(
        "--curve",
        group=SCORING,
        type=Whole(0, COUNT.high),
        metavar="N",
        help="also score every saved checkpoint on N prompts of the first benchmark, for the learning curves (default: the "
        "preset's; 0: none)",
    )
    p.add_argument(
        "--split",
        group=SCORING,
        type=OneOf(SPLITS, "split"),
        default="heldout",
        metavar="|".join(SPLITS),
        help="prompts to score on (default heldout); validation is for tuning",
    )


def add_training(p: Parser) -> None:
    """How methods are trained."""
    p.add_argument(
        "--budget",
        group=TRAINING,
        type=kinds.views,
        metavar="KIND:N,...",
        help="when methods are compared: iterations:N (the same rollouts, reward queries and optimiser steps) or forwards:N (equal "
        "compute: sequences through the network, a training step counting three, rollouts included), or several with commas "
        "between, such as iterations:16,forwards:40000: a training goes on until all are reached and keeps a checkpoint at each; "
        "the first one is the main view. With ,seconds the checkpoints within the time of the quickest training are compared as "
        "well (default: the preset's)",
    )
    p.add_argument(
        "--reward",
        group=TRAINING,
        type=kinds.reward,
        metavar="SPEC",
        help="weighted sum of rewards, e.g. objects=1,attributes=0.5; hpsv3=1,clip=1,unifiedreward=1 (any scorer, python -m "
        "bench.doctor lists them; NAME.KEY is a number of its evidence); geneval or geneval_strict; my_module:my_reward=1 (a "
        "TRL-style callable)",
    )
    p.add_argument(
        "--train-prompts",
        group=TRAINING,
        type=kinds.place,
        metavar="NAME|FILE",
        help="what is trained on: embedded (default) or embedded_large, geneval_train (python -m bench.fetch geneval_train), "
        "a .txt file with a "
        'prompt a line, or a .jsonl, .json, .csv or .tsv file of {"prompt", "id", "category", "spec"}, all but the first optional; '
        "a prompt that stands there twice is drawn twice as often",
    )
    p.add_argument(
        "--report-to",
        group=TRAINING,
        type=OneOf(TRACKERS, "tracker"),
        metavar="TRACKER",
        help="also log to tensorboard, wandb or trackio (default: none)",
    )


def add_overrides(p: Parser, common: bool = True) -> None:
    """Single settings."""
    p.add_argument(
        "--set",
        type=Text() if common else picture_setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting; repeatable. lr=1e-4 for all methods, ht.lr=3e-4 for one, ht.alpha=0.5 an option of a method, "
        "main.samples=2 the generation setting 'main', text.gen_length=128 how text is asked for; --set help lists all keys"
        if common
        else "change how pictures are made, e.g. main.steps=12 or main.samples=2; repeatable; --set help lists all keys",
    )


COMPARED = (
    "quick (default): one training seed, minutes. full: four seeds, six methods, two samplers, with and without "
    "guidance, at equal iterations, forwards and seconds; about an hour on two cores. paper: the HT-GRPO paper's "
    "experiment at full size, with --backbone mmada or lumina-dimoo (python -m bench.paper --command tells its settings)"
)
"""What the presets are to bench.compare."""


def add_preset(p: Parser, use: str = "") -> None:
    """Defaults of everything else. use: what of a preset the command takes; by default all of it."""
    p.add_argument(
        "--preset",
        type=OneOf(PRESETS, "preset"),
        default="quick",
        metavar="|".join(PRESETS),
        help=f"{use}: quick (default), full, or paper with --backbone mmada or lumina-dimoo" if use else COMPARED,
    )


def add_scorers(p: Parser) -> None:
    """Where scorers are that are not on this machine."""
    p.add_argument(
        "--scorer-url",
        group=RUNNING,
        type=kinds.scorer_url,
        action="append",
        default=[],
        metavar="NAME=URL",
        help="a scorer on a server, for rewards and benchmarks: hpsv3=http://HOST:18100 (python -m bench.serve), "
        "geneval=pickle+http://HOST:18085 (a reward-server) or unifiedreward=openai+http://HOST:8080 (vLLM, SGLang); repeatable; "
        "also as $HTGRPO_SCORER_URLS, with spaces between; a token is read from $HTGRPO_SCORER_TOKEN",
    )


def add_one_scorer(p: Parser) -> None:
    """Which weights of one scorer are loaded, and where to."""
    p.add_argument(
        "--weights", group=RUNNING, type=kinds.Folder(), help="folder of the weights (default: the hub's cache)"
    )
    p.add_argument(
        "--device",
        group=RUNNING,
        type=kinds.Device(("cpu", "cuda"), numbered=True),
        default="cpu",
        help="cpu, cuda, cuda:1 ... (default cpu)",
    )
    p.add_argument(
        "--dtype", group=RUNNING, type=DTYPE, help="float32, bfloat16 or float16 (default: the official one)"
    )


def add_running(p: Parser, jobs: bool = True) -> None:
    """How work is run; none of it changes which run it is."""
    p.add_argument(
        "--device",
        group=RUNNING,
        type=kinds.Device(),
        default="auto",
        metavar="auto|cpu|cuda",
        help="where networks run (default auto: cuda where there is one)",
    )
    if jobs:
        p.add_argument(
            "--jobs",
            group=RUNNING,
            type=JOBS,
            metavar="N",
            help="worker processes (default: CPU cores on a CPU, else 1; 0: none, all in this process)",
        )
    add_scorers(p)
    p.switch("--dry-run", "print the plan and the expected time, and write nothing", RUNNING)
    p.add_argument(
        "--gpu",
        group=RUNNING,
        type=OneOf(lambda: gpus()["gpus"], "card"),
        metavar="NAME",
        help="with --dry-run on a published backbone: the card whose time and memory are estimated, of "
        f"{', '.join(gpus()['gpus'])} (default: the one here, else {gpus()['default']})",
    )
    add_json(p)


def add_allow_incomplete(p: Parser) -> None:
    """Whether a headline may rest on a part of the pictures."""
    p.switch(
        "--allow-incomplete", "print headlines over the pictures that were scored even where some are missing", OUTPUT
    )


def add_json(p: Parser) -> None:
    """Output for machines."""
    p.switch("--json", "print one JSON object on standard output instead of tables", OUTPUT)


def add_out(p: Parser, default: str) -> None:
    """The run's folder."""
    p.add_argument(
        "--out", group=OUTPUT, type=kinds.NewFolder(), metavar="RUN", help=f"folder of the run (default: {default})"
    )


def method_names() -> str:
    """All registered methods, for help texts."""
    return ", ".join(METHODS.names())
