"""What the change detector looks at: a policy and the methods at work on frozen prompts and seeds, in fp64 on one
thread."""

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.ask.machine import cpu_name
from bench.ask.selection import select
from bench.benchmarks.embedded_dpg import EmbeddedDPG
from bench.benchmarks.embedded_geneval import EmbeddedGenEval
from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl
from htgrpo.base.pictures import as_bytes, as_pictures
from htgrpo.base.prompts import Prompt, prompt_set_sha256
from htgrpo.base.registry import SAMPLERS
from htgrpo.interface import HIDDEN
from htgrpo.policies.policy import Policy, pack
from htgrpo.policies.storage import load_policy
from htgrpo.rollout import generate
from htgrpo.training.rewards import WeightedReward
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.trainer import METRICS, train
from htgrpo.world import detector
from htgrpo.world.prompts import split_prompts
from htgrpo.world.world import find

WORLD = {one.name: one() for one in (EmbeddedGenEval, EmbeddedDPG)}
"""The benchmarks whose scorer needs nothing but this package."""
PROMPTS, SAMPLER, STEPS = 32, "random", 6
FEW = 8
"""Prompts that the other samplers and the trained policies are asked for, and training prompts."""
TINY: dict[str, Any] = {
    "budget": "iterations:1", "group_size": 3, "prompts_per_iteration": 1, "sampler": SAMPLER, "steps": 3,
    "guidance": 0.0, "lr": 3e-3, "rollout_dtype": "float64", "weights_dtype": "float64", "resolution": "",
}  # fmt: skip
LOGGED = ("forwards", "reward_mean", "entropy", "loss", "kl", "clip_fraction", "grad_norm")
"""What is compared of a training's log; that a log says more than before is no change."""
OPTIONS = {"pretrain": {"batch": 4}}
"""Options of methods whose defaults are too large for a run of seconds."""
KERNELS = (
    "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES", "GLIBC_TUNABLES",
)  # fmt: skip
"""Environment variables that choose other kernels for the same processor."""


@dataclass(frozen=True)
class Facts:
    """policy_sha256, prompt_set_sha256: what all of it is about. prompts: ids by benchmark.

    codes: of the policy's own pictures by SAMPLER, [prompts][slots]. log_probs: of frozen codes, [prompts][2], by state
    of the policy ("base", or the method it was trained with): mean over the slots where nothing is shown, and over
    every other slot where the rest is. rewards: of the pictures of the frozen codes, by name. scores: hashes of those
    pictures and of what the scorers find in them. exact: hashes that only an equal platform repeats, of log_probs and
    rewards, too.
    """

    policy_sha256: str
    prompt_set_sha256: str
    prompts: dict[str, list[str]]
    codes: list[list[int]]
    log_probs: dict[str, list[list[float]]]
    rewards: dict[str, list[float | None]]
    scores: dict[str, str]
    exact: dict[str, str]


def fingerprint() -> dict[str, str]:
    """What must be equal for fp64 results to be equal bit for bit: libraries as they were built, and all by which they
    choose their kernels. torch's report of its own build names its MKL and oneDNN; a processor's name may not say its
    generation."""
    has = torch.cpu.get_capabilities()
    return {
        "system": platform.system(),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "instructions": _digest(sorted(name for name, there in has.items() if there is True)),
        "caches": " ".join(str(value) for name, value in sorted(has.items()) if name.endswith("cache_size")),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "build": _digest(torch.__config__.show()),
        "numpy": np.__version__,
        "environment": " ".join(f"{name}={os.environ[name]}" for name in KERNELS if name in os.environ),
    }


def chosen(count: int) -> list[tuple[str, Prompt]]:
    """(benchmark, prompt): `count` held-out prompts of the embedded world's benchmarks, drawn by the hash of their
    ids."""
    owners = {prompt.id: (name, prompt) for name, one in WORLD.items() for prompt in one.prompts("heldout")}
    prompts = [prompt for _, prompt in owners.values()]
    return [owners[prompt.id] for prompt in select("the embedded world", prompts, None, count)]


def named(ids: dict[str, list[str]]) -> list[tuple[str, Prompt]]:
    """(benchmark, prompt) of recorded ids. Raises UserError for one that is gone."""
    found = []
    for name, wanted in ids.items():
        prompts = {prompt.id: prompt for prompt in WORLD[name].prompts("heldout")}
        gone = [one for one in wanted if one not in prompts]
        if gone:
            raise UserError(
                f"the prompt {gone[0]!r} of the baseline is no longer in {name}: make a new baseline with --update"
            )
        found += [(name, prompts[one]) for one in wanted]
    return found


def gather(
    source: str, owned: list[tuple[str, Prompt]], methods: list[str], frozen: list[list[int]] | None = None
) -> Facts:
    """Everything the detector compares, for the policy at `source`. frozen: codes [prompts][slots] of a baseline;
    without them the policy's own pictures are the ones that are judged. Raises UserError for a policy or a method that
    cannot work."""
    with _one_thread():
        policy, prompts = load_policy(source, dtype="float64"), [prompt for _, prompt in owned]
        own = _sample(policy, prompts, SAMPLER)
        judged = own if frozen is None else torch.tensor(frozen)
        others = [name for name in SAMPLERS.names() if name != SAMPLER]
        exact = {f"tokens of sampler {name}": _hash(_sample(policy, prompts[:FEW], name)) for name in others}
        log_probs = {"base": _log_probs(policy, prompts, judged)}
        for method in methods:
            trained, metrics = _trained(source, method)
            exact[f"weights after {method}"] = _hash(*trained.net.state_dict().values())
            exact[f"metrics of {method}"] = _digest(metrics)
            exact[f"tokens after {method}"] = _hash(_sample(trained, prompts[:FEW], SAMPLER))
            log_probs[method] = _log_probs(trained, prompts[:FEW], judged[:FEW])
        exact.update({f"log-probabilities after {state}": _digest(rows) for state, rows in log_probs.items()})
        pictures = as_bytes(policy.decode(judged))
        rewards = WeightedReward(TrainConfig().rewards).answers(prompts, pictures.float() / 255)
        exact.update({f"reward {name}": _digest(values) for name, values in rewards.items()})
        by_benchmark: dict[str, list[str]] = {}
        for name, prompt in owned:
            by_benchmark.setdefault(name, []).append(prompt.id)
        return Facts(
            policy.sha256,
            prompt_set_sha256(prompts),
            by_benchmark,
            own.tolist(),
            log_probs,
            rewards,
            _scores(owned, pictures),
            exact,
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _sample(policy: Policy, prompts: list[Prompt], sampler: str) -> Tensor:
    """int64 [prompts, slots]: one picture each, with noise keyed by the prompt alone."""
    ids = [policy.prompt(prompt.text) for prompt in prompts]
    # with 0 a draw lies 6e-8 from a boundary: rounding moves it
    keys = [("regress", 1, prompt.id) for prompt in prompts]
    return generate(policy, ids, keys, SAMPLERS.get(sampler)(steps=STEPS), 0.0).codes


@torch.no_grad()
def _log_probs(policy: Policy, prompts: list[Prompt], codes: Tensor) -> list[list[float]]:
    """Mean log-probability of each picture's codes in two contexts; see Facts."""
    ids, slots = [policy.prompt(prompt.text) for prompt in prompts], codes.shape[1]
    odd = torch.arange(slots) % 2 == 1
    means = []
    for hidden in (torch.ones(slots, dtype=torch.bool), odd):
        packed, places = pack(policy, ids, codes.masked_fill(hidden, HIDDEN), policy.backbone.grid)
        logits = policy.net(packed, places[:, hidden].flatten(), policy.backbone.image_columns).double()
        found = logits.log_softmax(-1).gather(1, codes[:, hidden].flatten()[:, None].to(logits.device))
        means.append(found.view(len(codes), -1).mean(1).cpu())
    return torch.stack(means, 1).tolist()


def _trained(source: str, method: str) -> tuple[Policy, list[dict[str, Any]]]:
    """The policy after one tiny iteration of `method`, and what LOGGED says of it."""
    policy = load_policy(source, dtype="float64")
    config = TrainConfig(method=method, method_options=OPTIONS.get(method, {}), **TINY)
    prompts = select("training", split_prompts(find(), "train"), None, FEW)
    with TemporaryDirectory(prefix="bench-regress-") as folder:
        train(policy, config, prompts, Path(folder))
        return policy, [{key: record.get(key) for key in LOGGED} for record in read_jsonl(Path(folder) / METRICS)]


def _scores(owned: list[tuple[str, Prompt]], pictures: Tensor) -> dict[str, str]:
    """Hashes of the pictures, of the detector's numbers at full precision, and of every benchmark's verdicts."""
    images = pictures.float() / 255
    fits = detector.measure(find(), images)
    found = [[asdict(one) for one in objects] for objects in detector.detect(find(), images)]
    scores = {
        "pictures": _hash(pictures),
        "detector": _hash(fits.iou, fits.area, fits.foreground),
        "objects": _digest(found),
    }
    for name in dict.fromkeys(name for name, _ in owned):
        mine = [i for i, (owner, _) in enumerate(owned) if owner == name]
        judged = WORLD[name].judge(as_pictures(images[mine]), [owned[i][1] for i in mine])
        for part, noun in (("score", "scores"), ("evidence", "evidence")):
            scores[f"{noun} of {name}"] = _digest([one[part] for one in judged])
    return scores


def _hash(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digest(value: Any) -> str:
    """Hash of JSON values; floats count to their last bit."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
