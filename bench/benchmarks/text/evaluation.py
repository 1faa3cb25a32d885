"""What calls lm-eval: its tasks and ours, run on a policy, and the results written in lm-eval's own schema."""

import copy
import json
import logging
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import numpy
import torch
from lm_eval import simple_evaluate
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager
from lm_eval.utils import handle_non_serializable, hash_string, sanitize_list

from bench.benchmarks.text.documents import FOLDER
from bench.benchmarks.text.model import PolicyLM
from bench.benchmarks.text.results import RESULTS
from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_write_text


class Tasks(TaskManager):
    """The tasks `names` (tasks, groups, tags or patterns of them) with their data: ours, and lm-eval's where one of
    them is not ours (reading their 14,000 settings takes a quarter of a minute).

    Raises UserError for a name that is nowhere, data that cannot be had, tasks about pictures or sound, and, unless
    `unsafe_code`, tasks that run code that the model wrote.
    """

    def __init__(self, names: list[str], unsafe_code: bool = False):
        super().__init__(include_path=FOLDER, include_defaults=False)
        self.ours = ours = tuple(self.all_tasks)
        if not all(self.match_tasks([name]) for name in names):
            super().__init__(include_path=FOLDER)
        for name in names:
            if not self.match_tasks([name]):
                near = get_close_matches(name, self.all_tasks, n=3, cutoff=0.5)
                hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
                raise UserError(
                    f"unknown task {name!r}: {hint}`lm-eval ls tasks` lists lm-eval's; ours are {', '.join(ours)}"
                )
        self.chosen = self.match_tasks(names)
        try:
            with _quiet(), _seeded():
                self._loaded = super().load(self.chosen)
        except (OSError, ImportError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"the data of {', '.join(names)} cannot be loaded ({reason}): run once with a connection and without "
                "HF_HUB_OFFLINE and HF_DATASETS_OFFLINE, or install what is said to be missing"
            ) from error
        for name, task in self._loaded["tasks"].items():
            if getattr(task, "MULTIMODAL", False):
                raise UserError(
                    f"the task {name!r} shows pictures or sound, but this model reads text only: leave it out"
                )
            if getattr(task, "UNSAFE_CODE", False) and not unsafe_code:
                raise UserError(
                    f"the task {name!r} runs code that the model wrote: where that is safe, give python -m bench.text "
                    "--confirm-run-unsafe-code"
                )

    @property
    def single(self) -> dict[str, Any]:
        """lm-eval's tasks by name, without groups and tags of them."""
        return dict(self._loaded["tasks"])

    def only(self, names: Collection[str]) -> Self:
        """Those of `names` alone; without groups where that leaves any task out."""
        if set(names) >= set(self.single):
            return self
        less = copy.copy(self)
        less._loaded = {
            "tasks": {name: task for name, task in self.single.items() if name in names},
            "groups": {},
            "group_map": {},
        }
        return less

    def load(self, task_list: Any) -> Any:
        """The tasks, loaded once: lm-eval asks for what is `chosen`."""
        return self._loaded


def evaluate(
    model: PolicyLM,
    tasks: Tasks,
    limit: int | None = None,
    num_fewshot: int | None = None,
    samples: dict[str, list[int]] | None = None,
) -> dict[str, Any]:
    """lm-eval's results of `model` on `tasks`, as its own command line has them, samples included. limit: documents per
    task, or samples: which documents of a task, ascending. num_fewshot: examples before each question (default: the
    task's). Global generators, which lm-eval seeds, are left as they were."""
    tracker = EvaluationTracker()
    settings = asdict(model.settings)
    arguments = {"pretrained": model.policy.source.name or "in memory", **settings.pop("decoding"), **settings}
    with _seeded(), patch("lm_eval.api.task.tqdm", lambda documents, **_: documents):  # the model's own bars say more
        results = simple_evaluate(
            model,
            model_args=arguments,
            tasks=tasks.chosen,
            task_manager=tasks,
            limit=limit,
            num_fewshot=num_fewshot,
            samples=samples,
            batch_size=model.settings.batch,
            device=str(model.policy.device),
            apply_chat_template=model.settings.chat,
            evaluation_tracker=tracker,
            confirm_run_unsafe_code=True,
        )
    tracker.general_config_tracker.log_end_time()
    hashes = {
        task: hash_string("".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in samples))
        for task, samples in results["samples"].items()
    }
    return {**results, "task_hashes": hashes, **asdict(tracker.general_config_tracker)}


def write(results: dict[str, Any], folder: Path) -> list[Path]:
    """Writes results.json and samples_TASK.jsonl, as lm-eval's tracker words them, into `folder`; results.json comes
    last."""
    paths = []
    for task, samples in results["samples"].items():
        paths.append(folder / f"samples_{task}.jsonl")
        atomic_write_text(paths[-1], "".join(_dump(_worded(sample)) + "\n" for sample in samples))
    paths.append(folder / RESULTS)
    without = {key: value for key, value in results.items() if key != "samples"}
    atomic_write_text(paths[-1], _dump(without, indent=2) + "\n")
    return paths


def _dump(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, default=handle_non_serializable, ensure_ascii=False, indent=indent)


def _worded(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample as lm-eval's tracker writes it."""
    arguments = {
        f"gen_args_{i}": {f"arg_{j}": part for j, part in enumerate(parts)}
        for i, parts in enumerate(sample["arguments"])
    }
    return {
        **sample,
        "arguments": arguments,
        "resps": sanitize_list(sample["resps"]),
        "target": str(sample["target"]),
        "filtered_resps": sanitize_list(sample["filtered_resps"]),
    }


@contextmanager
def _seeded() -> Iterator[None]:
    """lm-eval's tasks may draw from the global generators when they load and when they run: seeds them as lm-eval does,
    and puts them back to where they were afterwards."""
    python, numbers, tensors = random.getstate(), numpy.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        random.seed(DEFAULT_RANDOM_SEED)
        numpy.random.seed(DEFAULT_OTHER_SEED)  # noqa: NPY002
        torch.manual_seed(DEFAULT_OTHER_SEED)
        yield
    finally:
        random.setstate(python)
        numpy.random.set_state(numbers)  # noqa: NPY002
        torch.set_rng_state(tensors)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drops lm-eval's warning that our own tasks could be given options, which they have none of."""

    def asked_for(record: logging.LogRecord) -> bool:
        return "Custom kwargs can be passed" not in record.getMessage()

    logger = logging.getLogger("lm_eval.api.task")
    logger.addFilter(asked_for)
    try:
        yield
    finally:
        logger.removeFilter(asked_for)
