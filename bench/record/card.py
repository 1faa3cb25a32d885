"""What a model card says: facts about a checkpoint's folder, about its training, and about its scores in a run."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask.request import Request
from bench.ask.weights import Weights, inspect
from bench.record import citing
from bench.record.card_results import eval_result, protocol_of, row
from bench.record.complete import begin
from bench.record.rundir import RunDir
from htgrpo.base.errors import UserError
from htgrpo.base.records import BASE, log_lines
from htgrpo.policies.model_files import ADAPTER, HUB_ID, open_model
from htgrpo.training.train_config import make_method
from htgrpo.world.world import by_policy

if TYPE_CHECKING:
    import pandas as pd
    from huggingface_hub import EvalResult

    from reports.findings.analysis import Result
    from reports.run.blocks import Block
    from reports.run.load import Run

LIBRARY = "htgrpo-bench"
TAGS = ("text-to-image", "masked-diffusion", "discrete-diffusion", "reinforcement-learning", LIBRARY)
NO_RUN = "This card was made without the run that the checkpoint belongs to, so it has no results."


@dataclass
class Facts:
    """metadata: of the front matter; results: for its model-index; texts: for the template; told: what was found, in
    words; picture: a file of one that these weights made."""

    metadata: dict[str, Any]
    texts: dict[str, Any]
    told: str
    results: "list[EvalResult]" = field(default_factory=list)
    picture: Path | None = None


@dataclass(frozen=True)
class Place:
    """Where a checkpoint stands in a run: its request and config, the method or label, and the training seed."""

    run: RunDir
    request: Request
    config: dict[str, Any]
    method: str
    seed: int | None


def collect(checkpoint: str, root: Path | None, licence: str = "") -> Facts:
    """Everything for the card. licence: of the weights, as the hub calls it; by default known only of weights that began
    from random ones here. Raises UserError where the folder is no checkpoint, or where the run does not know its
    weights."""
    if not Path(checkpoint).is_dir():
        raise UserError(
            f"{checkpoint!r} is not a folder: give a checkpoint such as "
            "runs/NAME/train/METHOD/seed0/checkpoints/step_000040"
        )
    model = open_model(checkpoint, download=False)
    weights = inspect(checkpoint, model.backbone or None)
    root = root or run_around(Path(checkpoint).resolve())
    if root:
        begin(RunDir(root))
    place, weights = _place(RunDir(root), Path(checkpoint), weights) if root else (None, weights)
    scored = _scored(root, place, weights) if root and place else []
    method = place.method if place else ""
    step = f"step{weights.iteration}" if weights.iteration else ""
    name = "-".join(filter(None, [method, weights.backbone, step])) or "policy"
    settings = place.request.train.get(method) if place else None
    metadata = {
        "model_name": name,
        "library_name": LIBRARY,
        "pipeline_tag": "text-to-image",
        "tags": list(dict.fromkeys(filter(None, [*TAGS, method, weights.backbone]))),
        "base_model": (base := _base_model(model, place)),
        "language": citing.LANGUAGE,
        "license": licence or ("" if base or not _from_embedded(weights, place) else citing.OURS),
    }
    picture = citing.sample(place.run, _policies(place, scored)) if place else None
    texts = {
        "title": name,
        "labels": _labels(weights, place, scored),
        "summary": _summary(weights, place),
        "load_extra": "" if model.backbone or by_policy(weights.backbone) else f', backbone="{weights.backbone}"',
        "method": method,
        "kind": model.kind,
        "training": _training(weights, place),
        "warnings": _warnings(weights, place),
        "settings": json.dumps(settings, indent=2) if settings else "",
        "rows": [row(result, name) for name, result in scored],
        "protocols": list(dict.fromkeys(protocol_of(result) for _, result in scored)),
        "called": citing.called(method) if method else "",
        "paper": citing.paper(method) if method else "",
        "bibtex": citing.bibtex(method),
        "prompt": picture[1] if picture else "",
        "setting": next(iter(place.request.settings.values())) if place and place.request.settings else {},
        "no_results": f"The run {place.run.root.name!r} holds no verdicts of these weights." if place else NO_RUN,
    }
    told = f"{len(scored)} results" if scored else "no results"
    results = [eval_result(result, name, place.request.split) for name, result in scored] if place else []
    return Facts({k: v for k, v in metadata.items() if v}, texts, told, results, picture[0] if picture else None)


def _from_embedded(weights: Weights, place: Place | None) -> bool:
    """Whether training began from a policy that this project made from random weights."""
    return bool(by_policy(place.request.policy if place else weights.backbone))


def _policies(place: Place, scored: "list[tuple[str, Result]]") -> list[str]:
    """The names under which the run has pictures of these very weights."""
    own = (m.policies[0] for _, result in scored for m in result.block.methods if m.name == place.method)
    return list(dict.fromkeys(own))


def _warnings(weights: Weights, place: "Place | None") -> list[str]:
    """What must be known of the training up to these weights: failed rewards, nothing learnt, instability."""
    import pandas as pd

    from reports.findings.health import of_training

    if place is None or place.seed is None:
        return []
    lines = pd.DataFrame(log_lines(place.run.train(place.method, place.seed) / "metrics.jsonl"))
    if "groups" not in lines:
        return []
    lines = lines[lines["iteration"] <= (weights.iteration or 0)].assign(seed=place.seed)
    return of_training(place.method, lines).warnings if len(lines) else []


def run_around(folder: Path) -> Path | None:
    """The run whose training wrote this folder: RUN/train/METHOD/seedS/checkpoints/step_N."""
    parents = folder.parents
    inside = len(parents) > 4 and parents[0].name == "checkpoints" and parents[3].name == "train"
    return parents[4] if inside and (parents[4] / "config.json").is_file() else None


def _place(run: RunDir, checkpoint: Path, weights: Weights) -> tuple[Place, Weights]:
    """The place of these weights, or of an equal copy in the run. Raises UserError when the run neither trained nor was
    given them."""
    from htgrpo.training.checkpoints import saved

    request, config, folder = run.request(), run.config() or {}, checkpoint.resolve()
    trained = [
        (Place(run, request, config, method, seed), run.train(method, seed))
        for method in request.methods
        for seed in request.seeds
    ]
    for place, train in trained:
        if train.resolve() in folder.parents:
            return place, weights
    for label, items in request.checkpoints.items():
        for item in items:
            if item["sha256"] == weights.sha256:
                known = replace(weights, iteration=item["iteration"], forwards=item["forwards"])
                return Place(run, request, config, label, item["seed"]), known
    for place, train in trained:
        for twin in (inspect(str(path)) for path in saved(train)):
            if twin.sha256 == weights.sha256:
                return place, twin
    raise UserError(
        f"the run {str(run.root)!r} neither trained nor scored the weights in {str(checkpoint)!r}: give the run they "
        "belong to with --run, or leave --run out"
    )


def _scored(root: Path, place: Place, weights: Weights) -> "list[tuple[str, Result]]":
    """(name of the method, result over this one checkpoint and the starting policy) for every block that holds it
    complete."""
    from reports.findings.analysis import analyse
    from reports.run.blocks import make_blocks
    from reports.run.load import load_run

    if not list((root / "verdicts").glob("*/*/*.meta.json")):
        return []
    run = load_run(root)
    alone = [_alone(run, block, place, weights) for block in make_blocks(run)]
    results = [analyse(block) for block in alone if block is not None]
    return [(place.method, result) for result in results if place.method in result.scores]


def _alone(run: "Run", block: "Block", place: Place, weights: Weights) -> "Block | None":
    """`block` with nothing but the starting policy and this checkpoint; None where it was not scored there."""
    method = next((m for m in block.methods if m.name == place.method and place.seed in m.seeds), None)
    if method is None:
        return None
    one = method.at([method.seeds.index(place.seed)])
    if weights.iteration is not None and one.iterations != [weights.iteration]:
        return None

    def own(frame: "pd.DataFrame") -> "pd.DataFrame":
        """What `frame` holds of this checkpoint in this block."""
        here = (frame["benchmark"] == block.benchmark) & (frame["setting"] == block.setting)
        return frame[here & (frame["policy"] == one.policies[0])]

    judged = int((own(run.records)["status"] == "ok").sum())
    one = replace(one, judged=judged, expected=int(own(run.metas)["expected"].iloc[0]))
    return replace(block, methods=[m for m in block.methods if m.name == BASE] + [one], missing=[])


def _base_model(model, place: Place | None) -> str:
    """The hub id of the weights that training began from; "" where they are not on the hub."""
    source = model.base["source"] if model.kind == ADAPTER else place.request.policy if place else ""
    return source if HUB_ID.fullmatch(source) and not Path(source).exists() else ""


def _labels(weights: Weights, place: Place | None, scored: "list[tuple[str, Result]]") -> list[str]:
    """What must be read before any number."""
    lines = []
    worlds = str(place.config.get("title", "")) if place else ""
    if by_policy(weights.backbone) or "embedded world" in worlds:
        lines.append(
            "Embedded world: a small network that draws 48 x 48 px shapes, made to compare training methods. Its scores "
            "are not scores of the published benchmarks."
        )
    if weights.random_weights or any(m.random_weights for _, result in scored for m in result.block.methods):
        lines.append("Training began from random weights: the scores say nothing about the method on a trained model.")
    if scored:
        lines.append("Results are of these weights, not of the method: other training seeds give others.")
    return lines


def _summary(weights: Weights, place: Place | None) -> str:
    if place is None:
        return f"A policy of the backbone {weights.backbone}, sha256 of its weights {weights.sha256}."
    how = f"trained with {place.method}" if place.method in place.request.methods else f"compared as {place.method}"
    return f"A text-to-image policy of the backbone {weights.backbone}, {how}."


def _training(weights: Weights, place: Place | None) -> list[tuple[str, str]]:
    """Rows of the table: method, reward, data, seeds, budget, commit."""
    rows = [("weights", f"sha256 `{weights.sha256}`"), ("backbone", weights.backbone)]
    if place is None:
        return rows
    start = place.request.policy
    start = start if HUB_ID.fullmatch(start) or by_policy(start) else "a local folder"
    revision = f" at `{place.request.revision}`" if place.request.revision else ""
    rows.append(("starting policy", f"{start}{revision}, sha256 `{place.request.policy_sha256}`"))
    settings = place.request.train.get(place.method)
    if not settings:
        return [*rows, ("training", "not part of this run")]
    options = vars(make_method(place.request.config(place.method, place.seed or 0)))
    seeds, done = ", ".join(map(str, place.request.seeds)), (weights.iteration, weights.forwards)
    return [
        *rows,
        ("method", f"{place.method} ({', '.join(f'{key} {value}' for key, value in options.items()) or 'no options'})"),
        ("reward", settings["rewards"]),
        ("training prompts", _prompts(place.request.train_prompts)),
        ("training seed", f"{place.seed} (of {len(place.request.seeds)} in the run: {seeds})"),
        ("iterations, forwards", ", ".join("unknown" if n is None else f"{n:,}" for n in done)),
        ("budget", settings["budget"]),
        (
            "rollouts",
            f"{settings['prompts_per_iteration']} prompts x {settings['group_size']} pictures, sampler "
            f"{settings['sampler']}, {settings['steps']} steps, guidance {settings['guidance']}",
        ),
        ("commit", f"`{place.config.get('git_commit') or 'unknown'}`"),
        ("software", ", ".join(f"{k} {v}" for k, v in place.config.get("versions", {}).items())),
    ]


def _prompts(wanted: dict[str, str]) -> str:
    """The prompt set of the training by name and hash; a file's folder is nobody's business."""
    world = by_policy(wanted["source"])
    named = f"the {world.title}'s split `train`" if world else f"`{Path(wanted['source']).name}`"
    return f"{named}, sha256 `{wanted['sha256']}`"
