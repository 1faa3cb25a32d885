"""From config.json to a score: prompts, settings, weights, pictures and verdicts must name each other's hashes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bench.ask.request import Request
from bench.ask.selection import Selection, select_all
from bench.ask.weights import Weights, inspect
from bench.benchmarks.base import Benchmark, PictureBenchmark, TextBenchmark
from bench.benchmarks.evaluation import Evaluation, PictureSet
from bench.benchmarks.registry import make
from bench.checking.findings import Damaged, Findings, read_object
from bench.checking.scored import Key, Scored, check_given, check_pictures, check_records, compare_kept, judge_again
from bench.judge.judging import PARTS
from bench.record.pictures import META
from bench.record.rundir import GIVEN, RunDir
from bench.record.verdicts import score_identity
from bench.run.curve import curve_request, few, one_picture
from htgrpo.base.errors import UserError
from htgrpo.base.files import content_sha256
from htgrpo.base.records import BASE, CURVE, FINAL, NOT_AS_WRITTEN, Judged, PictureMeta, VerdictMeta

RULE = ("title", "aggregate", "scale", "higher_is_better", "categories")
OPTIONAL = ("axes", "note")
OPEN = ("auto", "")
"""Settings whose meaning depends on the machine or the weights; what they meant is recorded with the pictures only."""

Look = Callable[[Path], Weights]
"""What lies in a checkpoint's folder."""


@dataclass(frozen=True)
class Known:
    """A benchmark as it is installed here, and its prompts as config.json selects them; None where they are not
    here."""

    benchmark: "Benchmark"
    selection: Selection | None


def load_benchmarks(request: Request, config: dict[str, Any], findings: Findings) -> dict[str, Known]:
    """The benchmarks of the run that exist here, with those prompts that are still the run's."""
    found, whole = {}, {}
    for name in request.benchmarks:
        try:
            found[name] = make(name)
            found[name].prompts(request.split), found[name].drawn(request.split)
            whole[name] = found[name]
        except UserError as error:
            findings.not_checked(f"config.json: the prompts of {name} ({error.message})")
    try:
        selections = select_all(whole, request.split, request.limit, request.subset)
    except UserError as error:  # no command would have begun with such subsets
        findings.mismatches.append(f"config.json: {error.message}")
        selections = {}
    for name, selection in list(selections.items()):
        recorded = config.get("prompt_sets", {}).get(name)
        if not findings.same("config.json", f"prompt_sets.{name}", recorded, selection.sha256, "the prompt set"):
            del selections[name]
        if name in config.get("selections", {}):
            chosen = [prompt.id for prompt in selection.prompts]
            findings.same("config.json", f"selections.{name}", config["selections"][name], chosen, "the selection")
    return {name: Known(benchmark, selections.get(name)) for name, benchmark in found.items()}


def check_scores(
    run: RunDir,
    request: Request,
    config: dict[str, Any],
    known: dict[str, Known],
    findings: Findings,
    tell: Callable[[str], None] = lambda text: None,
) -> None:
    """Every verdict file with all that it stands on, told as it begins; then what lies there without belonging to
    one."""
    metas = sorted(run.root.glob("verdicts/*/*/*.meta.json"))
    given = config.get("kind") == GIVEN
    scored = [
        Scored(run, path.with_name(path.name.removesuffix(".meta.json") + ".jsonl"), findings, given) for path in metas
    ]
    look = cache(lambda folder: inspect(str(folder), request.backbone))  # weights are read and hashed once
    broken: dict[Path, set[Key]] = {}
    for one in scored:
        tell(f"{run.relative(one.path)} and its pictures")
        with findings.stopped(f"{run.relative(one.path)}: "):
            _check_scored(one, request, config, known, look, broken)
    for path in sorted({*run.root.glob("verdicts/*/*/*.jsonl")} - {one.path for one in scored}):
        findings.missing.append(f"{run.relative(path)}: has no meta file beside it, so that nothing says what it is")
    for path in sorted(run.root.glob(f"verdicts/*/*/*{PARTS}")):
        findings.missing.append(f"{run.relative(path)}: a scoring was interrupted; run its command again")
    judged = {one.folder for one in scored}
    for folder in sorted(path for path in run.root.glob("images/*/*/*") if path.is_dir() and path not in judged):
        findings.missing.append(f"{run.relative(folder)}: its pictures have no verdicts")
    for folder in sorted(path for path in run.root.glob("results/*/*/*") if path.is_dir() and path not in judged):
        findings.missing.append(f"{run.relative(folder)}: its results have no verdicts")
    if request.benchmarks and not scored:
        findings.missing.append("verdicts: nothing has been scored")


def _check_scored(
    scored: Scored,
    request: Request,
    config: dict[str, Any],
    known: dict[str, Known],
    look: Look,
    broken: dict[Path, set[Key]],
) -> None:
    """All of one verdict file. broken: of picture folders that were looked at. Raises Damaged for a file that cannot be
    read."""
    meta = read_object(scored.meta, VerdictMeta, scored.belonging(scored.meta))
    if scored.setting == CURVE and request.curve:
        request, config, known = _of_curve(request, config, known, meta)
    here = known.get(scored.benchmark)
    if scored.path.is_file() and content_sha256(scored.path) != meta["verdicts_sha256"]:
        scored.findings.mismatches.append(f"{scored.name(scored.path)}: {NOT_AS_WRITTEN}")
    _check_names(scored, meta)
    if here is not None and here.benchmark.version == meta["version"]:
        _check_rule(scored, meta, here.benchmark)
    if scored.of_policy:
        _check_examined(scored, meta, request, config, here, look)
        return
    pictures = read_object(scored.folder / META, PictureMeta, scored.belonging(scored.folder / META))
    scored.same(scored.origin, "pictures", pictures["pictures"], scored.pictures, "its folder")
    scored.same(scored.origin, "setting", pictures["setting"], dict(meta["setting"]), "the meta file of the verdicts")
    _check_settings(scored, meta, request, config, here)
    if scored.given:
        check_given(scored, meta["policy"], pictures["policy_sha256"], request)
    else:
        _check_weights(scored, meta["policy"], pictures["policy_sha256"], request, look)
    known_as = here.selection if here is not None else None
    selection = known_as if known_as is not None and known_as.sha256 == meta["prompt_set_sha256"] else None
    drawn = selection.drawn if selection else PictureSet(scored.pictures, "", (), pictures["prompt_set_sha256"])
    if selection:
        scored.same(scored.meta, "pictures", scored.pictures, drawn.name, "the benchmark")
        scored.same(
            scored.folder / META, "prompt_set_sha256", pictures["prompt_set_sha256"], drawn.sha256, "the prompt set"
        )
    prompts = selection.prompts if selection else ()
    evaluation = Evaluation(
        scored.benchmark, scored.setting, dict(meta["setting"]), prompts, meta["prompt_set_sha256"], drawn
    )
    chained = _check_identity(scored, meta, pictures, evaluation)
    if scored.folder not in broken:  # benchmarks may share pictures
        broken[scored.folder] = check_pictures(scored, evaluation, pictures["images"])
    check_records(scored, evaluation, meta["expected_images"])
    if selection and chained and here is not None and isinstance(here.benchmark, PictureBenchmark):
        judge_again(scored, meta, evaluation, here.benchmark, broken[scored.folder])


def _of_curve(
    request: Request, config: dict[str, Any], known: dict[str, Known], meta: VerdictMeta
) -> tuple[Request, dict[str, Any], dict[str, Known]]:
    """What `_check_scored` compares verdicts of the held-out curve with; their prompts are some of the run's."""
    request = curve_request(request)
    found, sha256 = {}, meta["prompt_set_sha256"]  # believed only where the prompts are not here
    for name in (name for name in request.benchmarks if name in known):
        whole = known[name].selection
        some = few(whole, request.curve) if whole else None
        found[name] = Known(one_picture(known[name].benchmark), some)
        sha256 = some.sha256 if some else sha256
    return request, {**config, "prompt_sets": dict.fromkeys(request.benchmarks, sha256)}, found


def _check_examined(
    scored: Scored, meta: VerdictMeta, request: Request, config: dict[str, Any], here: Known | None, look: Look
) -> None:
    """The same for a policy that was asked itself. Raises Damaged for what it has left behind."""
    if scored.benchmark not in request.benchmarks:
        _not_asked(scored)
        return
    one, benchmark = (here.selection, here.benchmark) if here else (None, None)
    as_it_was = one is not None and one.sha256 == meta["prompt_set_sha256"]
    if one is None or not as_it_was or not isinstance(benchmark, TextBenchmark):
        scored.findings.not_checked(f"verdicts/{scored.benchmark}: what was asked (it is not here as the run had it)")
        return
    asked, recorded = benchmark.settings(request).get(scored.setting), config["prompt_sets"].get(scored.benchmark)
    if asked is None:
        _not_asked(scored)
        return
    # that depends on the machine
    for key in [key for key in dict.fromkeys([*asked, *meta["setting"]]) if key != "dtype"]:
        scored.same(scored.meta, f"setting.{key}", meta["setting"].get(key), asked.get(key), "config.json")
    scored.same(scored.meta, "prompt_set_sha256", meta["prompt_set_sha256"], recorded, "config.json")
    evaluation = Evaluation(
        scored.benchmark, scored.setting, dict(meta["setting"]), one.prompts, one.sha256, one.drawn, of_policy=True
    )
    check_records(scored, evaluation, meta["expected_images"])
    try:
        sha256, verdicts = benchmark.kept(scored.folder, one.prompts)
    except UserError as error:
        raise Damaged(error.message) from error
    _check_weights(scored, meta["policy"], sha256, request, look)
    whole = _identity(meta, evaluation, sha256)
    scored.same(scored.meta, "identity", meta.get("identity"), whole, "the hash of what it stands for")
    compare_kept(scored, evaluation, verdicts)


def _check_rule(scored: Scored, meta: VerdictMeta, benchmark: "Benchmark") -> None:
    for key in (*RULE, *OPTIONAL):
        value = getattr(benchmark, key)
        value = list(value) if isinstance(value, tuple) else value
        scored.same(scored.meta, key, meta.get(key, type(value)()), value, "the benchmark")


def _check_identity(scored: Scored, meta: VerdictMeta, pictures: PictureMeta, evaluation: Evaluation) -> bool:
    """Whether both identities are the hashes of what they stand for."""
    generation = evaluation.generation_identity(pictures["policy_sha256"])
    whole = _identity(meta, evaluation, pictures["policy_sha256"])
    own = scored.same(
        scored.folder / META, "identity", pictures["identity"], generation, "the hash of what it stands for"
    )
    return scored.same(scored.meta, "identity", meta.get("identity"), whole, "the hash of what it stands for") and own


def _identity(meta: VerdictMeta, evaluation: Evaluation, policy_sha256: str) -> str:
    """The identity of a score by the scorer and the version that a meta file names."""
    recorded = SimpleNamespace(scorer_identity=lambda: meta["scorer"], version=meta["version"])
    return score_identity(cast(Benchmark, recorded), evaluation, policy_sha256)


def _check_names(scored: Scored, meta: VerdictMeta) -> None:
    policy = meta["policy"]
    unseeded = policy["method"] == BASE or scored.given
    name = policy["method"] if unseeded else f"{policy['method']}-seed{policy['train_seed']}"
    along = "." if policy["milestone"] == CURVE else "@"
    name += f"{along}{policy['iteration']}" if policy["milestone"] != FINAL and policy["method"] != BASE else ""
    scored.same(scored.path, "its name", scored.policy, name, "its meta file")
    scored.same(scored.meta, "policy.name", policy["name"], scored.policy, "its file name")
    scored.same(scored.meta, "benchmark", meta["benchmark"], scored.benchmark, "its folder")


def _check_settings(
    scored: Scored, meta: VerdictMeta, request: Request, config: dict[str, Any], here: Known | None
) -> None:
    asked, name = request.settings.get(scored.setting), f"config.json's settings.{scored.setting}"
    if asked is None or scored.benchmark not in request.benchmarks:
        _not_asked(scored)
        return
    if here is not None and isinstance(here.benchmark, PictureBenchmark) and here.benchmark.samples is not None:
        asked = {**asked, "samples": here.benchmark.samples}
    if scored.given:  # each folder has as many pictures of a prompt as it has
        asked = {**asked, "samples": ""}
    for key in dict.fromkeys([*asked, *meta["setting"]]):
        if asked.get(key) not in OPEN:
            scored.same(scored.meta, f"setting.{key}", meta["setting"].get(key), asked.get(key), name)
    prompts = config["prompt_sets"].get(scored.benchmark)
    scored.same(scored.meta, "prompt_set_sha256", meta["prompt_set_sha256"], prompts, "config.json")


def _not_asked(scored: Scored) -> None:
    scored.findings.mismatches.append(
        f"{scored.name(scored.meta)}: config.json asks for no {scored.benchmark} under {scored.setting!r}"
    )


def _check_weights(scored: Scored, policy: Judged, sha256: str, request: Request, look: Look) -> None:
    """The weights that the pictures name against those of config.json, or of the checkpoint that training has left."""
    where, method, seed = scored.origin, policy["method"], policy["train_seed"]
    given = [item["sha256"] for item in request.checkpoints.get(method, []) if item["seed"] == seed]
    if method == BASE or given:
        scored.same(where, "policy_sha256", sha256, given[0] if given else request.policy_sha256, "config.json")
        return
    if method not in request.methods or seed not in request.seeds:
        scored.findings.mismatches.append(
            f"{scored.name(scored.meta)}: config.json knows no method {method!r} with seed {seed}"
        )
        return
    checkpoint = scored.run.train(method, seed) / "checkpoints" / f"step_{policy['iteration']:06d}"
    name = scored.name(checkpoint)
    scored.same(scored.meta, "policy.checkpoint", policy.get("checkpoint"), name, "its iteration")
    if not checkpoint.is_dir():
        what = "answers" if scored.of_policy else "pictures"
        scored.findings.missing.append(
            f"{name}: is gone, so that nothing shows whose {what} those of {scored.policy} are"
        )
        return
    try:
        weights = look(checkpoint)
    except UserError as error:
        scored.findings.mismatches.append(f"{name}: {error.message}")
        return
    scored.same(where, "policy_sha256", sha256, weights.sha256, f"the weights in {name}")
    for key in ("iteration", "forwards", "random_weights"):
        scored.same(scored.meta, f"policy.{key}", policy[key], getattr(weights, key), "its checkpoint")
