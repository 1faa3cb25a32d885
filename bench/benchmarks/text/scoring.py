"""Documents of lm-eval's tasks as prompts, and lm-eval's results as a score per document."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lm_eval.api.metrics import mean
from lm_eval.utils import handle_non_serializable, hash_string

from bench.benchmarks.text.evaluation import Tasks, evaluate, write
from bench.benchmarks.text.model import PolicyLM
from bench.benchmarks.text.results import RESULTS
from bench.benchmarks.text.settings import TextSettings
from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl
from htgrpo.base.prompts import Prompt

if TYPE_CHECKING:
    from bench.benchmarks.evaluation import Evaluation
    from htgrpo.parallel.ranks import Ranks
    from htgrpo.policies.policy import Policy

SHOWN = 200
"""Characters of a document or an answer that records keep; lm-eval's own samples have all of it."""
WRITTEN = "generate_until"


@cache
def tasks_of(name: str) -> Tasks:
    """The tasks called `name`, loaded once in a process. Raises UserError as Tasks and metric_of do."""
    tasks = Tasks([name])
    for task in tasks.single:
        metric_of(tasks, task)
    return tasks


def metric_of(tasks: Tasks, name: str) -> str:
    """The first metric of a single task. Raises UserError unless it is the share of documents that are right."""
    task = tasks.single[name]
    metric = next(iter(task.aggregation()), None)
    right = metric == "exact_match" or "acc" in str(metric).split("_")
    if metric is None or not (right and task.aggregation()[metric] is mean and task.higher_is_better().get(metric)):
        raise UserError(
            f"the task {name!r} is measured by {metric}, but a benchmark takes tasks whose first metric is an accuracy "
            "or exact_match: leave it out, or ask it with python -m bench.text"
        )
    return metric


def check_options(tasks: Tasks, settings: TextSettings) -> None:
    """Raises UserError where a task asks for answers in a way that the decoder has no part for."""
    for task in tasks.single.values():
        if task.OUTPUT_TYPE == WRITTEN:
            settings.asked(task.config.generation_kwargs or {})


def documents(tasks: Tasks) -> list[Prompt]:
    """Every document, with its task as category; its place in the task, content and the task's version are its
    specification."""
    return [
        Prompt(
            f"{name}-{index}",
            _short(task.doc_to_text(document)),
            name,
            {"document": index, "sha256": _hash(document), "version": str(task.VERSION)},
        )
        for name, task in tasks.single.items()
        for index, document in enumerate(task.eval_docs)
    ]


def examine(
    policy: "Policy",
    tasks: Tasks,
    evaluation: "Evaluation",
    folder: Path,
    on_progress: Callable[[float], None],
    ranks: "Ranks",
) -> list[dict[str, Any]]:
    """{"score", "evidence"} of every prompt of `evaluation`; the first rank writes lm-eval's results into `folder`."""
    chosen: dict[str, list[int]] = {}
    for prompt in evaluation.prompts:
        chosen.setdefault(prompt.category, []).append(prompt.spec["document"])
    tasks = tasks.only(chosen)
    written = sum(len(chosen[name]) for name, task in tasks.single.items() if task.OUTPUT_TYPE == WRITTEN)
    share = {"writing": written / len(evaluation.prompts)}
    share["reading"] = 1.0 - share["writing"]
    begun: list[str] = []

    def tell(what: str, part: float) -> None:
        if what not in begun:
            begun.append(what)
        on_progress(sum(share[earlier] for earlier in begun[:-1]) + share[what] * part)

    policy.net.requires_grad_(False).eval()
    model = PolicyLM(policy, TextSettings.read(evaluation.values["text"]), ranks, tell)
    some = {
        name: sorted(indices) for name, indices in chosen.items() if len(indices) < len(tasks.single[name].eval_docs)
    }
    results = evaluate(model, tasks, samples=some or None)
    if ranks.is_main:
        results["config"]["identity"] = evaluation.generation_identity(policy.sha256)
        write(results, folder)
    return _verdicts(results["samples"], tasks, evaluation.prompts)


def kept(folder: Path, tasks: Tasks, prompts: Sequence[Prompt]) -> tuple[str, list[dict[str, Any]]]:
    """(sha256 of the weights, what `examine` gave for `prompts`) by what lies in `folder`. Raises UserError where it is
    damaged."""
    try:
        weights = json.loads((folder / RESULTS).read_text("utf-8"))["config"]["model_sha"]
        names = dict.fromkeys(prompt.category for prompt in prompts)
        samples = {name: read_jsonl(folder / f"samples_{name}.jsonl") for name in names}
        return weights, _verdicts(samples, tasks, prompts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{str(folder)!r} does not hold lm-eval's results for these documents ({type(error).__name__}: {error}): "
            "score this policy again"
        ) from error


def _verdicts(
    samples: Mapping[str, Sequence[dict[str, Any]]], tasks: Tasks, prompts: Sequence[Prompt]
) -> list[dict[str, Any]]:
    """What records say of `prompts`, by lm-eval's samples of each task."""
    # the first filter of several counts
    found = {
        (name, sample["doc_id"], sample["doc_hash"]): _verdict(sample, metric_of(tasks, name))
        for name, several in samples.items()
        for sample in reversed(several)
    }
    return [found[p.category, p.spec["document"], p.spec["sha256"]] for p in prompts]


def _verdict(sample: dict[str, Any], metric: str) -> dict[str, Any]:
    """What a record says of one document. Raises UserError for a score that is none."""
    score = float(sample[metric])
    if not 0.0 <= score <= 1.0:
        raise UserError(
            f"a document's {metric} is {score}, but an accuracy lies in 0..1: ask this task with python -m bench.text"
        )
    answers = [_short(_answer(one)) for one in sample["filtered_resps"]]
    evidence = {"target": _short(sample["target"]), "answers": answers, "metric": metric, "filter": sample["filter"]}
    return {"score": score, "evidence": evidence}


def _answer(value: Any) -> Any:
    """What was written, or of a likelihood its nats."""
    likelihood = isinstance(value, tuple | list) and len(value) == 2 and str(value[1]) in ("True", "False")
    return round(float(value[0]), 4) if likelihood else value


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _hash(document: Any) -> str:
    """A document's hash as lm-eval's samples have it."""
    return hash_string(json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False))
