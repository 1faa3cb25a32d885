"""Flags that several commands share. Their help is meant to teach: what a thing is, what it takes, an example."""

from bench.ask import kinds
from bench.ask.flags import OUTPUT, RUNNING, SCORING, TRAINING, Parser
from bench.ask.keys import HELP
from bench.ask.presets import PRESETS, gpus
from bench.ask.request import SPLITS
from bench.benchmarks.registry import check as check_benchmark
from htgrpo.base.errors import UserError
from htgrpo.base.options import require
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


def check_heads(d_model: int, n_heads: int) -> None:
    """Raises UserError for a width that heads of even width cannot share."""
    wide = 2 * n_heads
    require(d_model % wide == 0, "--d-model", d_model, f"it must be a multiple of twice --n-heads, {wide}")


def add_start(p: Parser) -> None:
    """The weights everything starts from."""
    p.flag(
        "--policy NAME_OR_PATH",
        kinds.place,
        "starting weights: 'embedded' (default, ships with the package), a checkpoint folder, a folder in the layout of a "
        "published model, or the hub id of one, such as Gen-Verse/MMaDA-8B-MixCoT, which is looked up in the usual cache",
    )
    p.flag(
        "--backbone NAME",
        BACKBONE,
        f"model family of the weights: {', '.join([*policies(), *BACKBONES.names()])} (default: what the policy's folder says). "
        "It brings token ids, prompt layout, sampler and image decoder, and the settings of bench/ask/presets/backbone_NAME.json; "
        "without --policy it means the family's published weights",
    )
    p.flag(
        "--revision REV",
        kinds.revision,
        "commit, tag or branch of the hub id in --policy (default: the one in the cache, main)",
    )
    p.flag(
        "--resolution HxW|N",
        Resolution(empty=False),
        "size of the pictures in pixels, in training and scoring, e.g. 512 or 768x1536 (HEIGHTxWIDTH), where the preset names "
        "none (default: the policy's own)",
    )


def add_checkpoints(p: Parser) -> None:
    """Weights that are scored as they are."""
    p.flag(
        "--checkpoint METHOD=PATH",
        kinds.place,
        "score the weights in PATH as METHOD instead of training it; repeat it for more methods, or for more "
        "training seeds of one; without METHOD= the path is taken as --policy",
        many=True,
    )


def add_benchmarks(p: Parser) -> None:
    """What the policies are scored on."""
    p.flag(
        "--benchmarks NAMES",
        Names(benchmark),
        f"comma-separated benchmarks: {', '.join(BENCHMARKS.names())} (default: all of the preset). SCORER@BENCHMARK puts a "
        "scorer on the pictures of another one, e.g. imagereward@geneval. text asks the policy itself, to see whether training has "
        "cost it language, on our small tasks or as text@TASK on one of lm-eval's, e.g. text@gsm8k",
        SCORING,
    )
    p.flag("--limit N", COUNT, "use the first N prompts of each benchmark, categories taking turns", SCORING)
    p.flag(
        "--subset NAME:N",
        kinds.Drawn(),
        "use N prompts of one benchmark, drawn evenly over its categories by the hash of their ids, e.g. geneval:60; "
        "repeatable; which ones is recorded in config.json",
        SCORING,
        many=True,
    )
    p.flag(
        "--curve N",
        Whole(0, COUNT.high),
        "also score every saved checkpoint on N prompts of the first benchmark, for the learning curves (default: the "
        "preset's; 0: none)",
        SCORING,
    )
    p.flag(
        f"--split {'|'.join(SPLITS)}",
        OneOf(SPLITS, "split"),
        "prompts to score on (default heldout); validation is for tuning",
        SCORING,
        default="heldout",
    )


def add_training(p: Parser) -> None:
    """How methods are trained."""
    p.flag(
        "--budget KIND:N,...",
        kinds.views,
        "when methods are compared: iterations:N (the same rollouts, reward queries and optimiser steps) or forwards:N (equal "
        "compute: sequences through the network, a training step counting three, rollouts included), or several with commas "
        "between, such as iterations:16,forwards:40000: a training goes on until all are reached and keeps a checkpoint at each; "
        "the first one is the main view. With ,seconds the checkpoints within the time of the quickest training are compared as "
        "well (default: the preset's)",
        TRAINING,
    )
    p.flag(
        "--reward SPEC",
        kinds.reward,
        "weighted sum of rewards, e.g. objects=1,attributes=0.5; hpsv3=1,clip=1,unifiedreward=1 (any scorer, python -m "
        "bench.doctor lists them; NAME.KEY is a number of its evidence); geneval or geneval_strict; my_module:my_reward=1 (a "
        "TRL-style callable)",
        TRAINING,
    )
    p.flag(
        "--train-prompts NAME|FILE",
        kinds.place,
        "what is trained on: embedded (default) or embedded_large, geneval_train (python -m bench.fetch geneval_train), "
        "a .txt file with a "
        'prompt a line, or a .jsonl, .json, .csv or .tsv file of {"prompt", "id", "category", "spec"}, all but the first optional; '
        "a prompt that stands there twice is drawn twice as often",
        TRAINING,
    )
    p.flag(
        "--report-to TRACKER",
        OneOf(TRACKERS, "tracker"),
        "also log to tensorboard, wandb or trackio (default: none)",
        TRAINING,
    )


def add_overrides(p: Parser, common: bool = True) -> None:
    """Single settings."""
    p.flag(
        "--set KEY=VALUE",
        Text() if common else picture_setting,
        "change one setting; repeatable. lr=1e-4 for all methods, ht.lr=3e-4 for one, ht.alpha=0.5 an option of a method, "
        "main.samples=2 the generation setting 'main', text.gen_length=128 how text is asked for; --set help lists all keys"
        if common
        else "change how pictures are made, e.g. main.steps=12 or main.samples=2; repeatable; --set help lists all keys",
        many=True,
    )


COMPARED = (
    "quick (default): one training seed, minutes. full: four seeds, six methods, two samplers, with and without "
    "guidance, at equal iterations, forwards and seconds; about an hour on two cores. study: eight seeds for claims about "
    "methods, in the same three views; some hours. paper: the HT-GRPO paper's "
    "experiment at full size, with --backbone mmada or lumina-dimoo (python -m bench.paper --command tells its settings)"
)
"""What the presets are to bench.compare."""


def add_preset(p: Parser, use: str = "") -> None:
    """Defaults of everything else. use: what of a preset the command takes; by default all of it."""
    p.flag(
        f"--preset {'|'.join(PRESETS)}",
        OneOf(PRESETS, "preset"),
        f"{use}: quick (default), full, study, or paper with --backbone mmada or lumina-dimoo" if use else COMPARED,
        default="quick",
    )


def add_scorers(p: Parser) -> None:
    """Where scorers are that are not on this machine."""
    p.flag(
        "--scorer-url NAME=URL",
        kinds.scorer_url,
        "a scorer on a server, for rewards and benchmarks: hpsv3=http://HOST:18100 (python -m bench.serve), "
        "geneval=pickle+http://HOST:18085 (a reward-server) or unifiedreward=openai+http://HOST:8080 (vLLM, SGLang); repeatable; "
        "also as $HTGRPO_SCORER_URLS, with spaces between; a token is read from $HTGRPO_SCORER_TOKEN",
        RUNNING,
        many=True,
    )


def add_one_scorer(p: Parser) -> None:
    """Which weights of one scorer are loaded, and where to."""
    p.flag("--weights", kinds.Folder(), "folder of the weights (default: the hub's cache)", RUNNING)
    p.flag("--device", kinds.Device(("cpu", "cuda"), numbered=True), "cpu, cuda, cuda:1 ...", RUNNING, default="cpu")
    p.flag("--dtype", DTYPE, "float32, bfloat16 or float16 (default: the official one)", RUNNING)


def add_running(p: Parser, jobs: bool = True) -> None:
    """How work is run; none of it changes which run it is."""
    p.flag(
        "--device auto|cpu|cuda",
        kinds.Device(),
        "where networks run (default auto: cuda where there is one)",
        RUNNING,
        default="auto",
    )
    if jobs:
        p.flag(
            "--jobs N",
            JOBS,
            "worker processes (default: CPU cores on a CPU, else 1; 0: none, all in this process)",
            RUNNING,
        )
    add_scorers(p)
    p.switch("--dry-run", "print the plan and the expected time, and write nothing", RUNNING)
    p.flag(
        "--gpu NAME",
        OneOf(lambda: gpus()["gpus"], "card"),
        "with --dry-run on a published backbone: the card whose time and memory are estimated, of "
        f"{', '.join(gpus()['gpus'])} (default: the one here, else {gpus()['default']})",
        RUNNING,
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
    p.flag("--out RUN", kinds.NewFolder(), f"folder of the run (default: {default})", OUTPUT)


def method_names() -> str:
    """All registered methods, for help texts."""
    return ", ".join(METHODS.names())
