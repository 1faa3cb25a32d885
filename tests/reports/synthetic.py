"""Writes a made-up run directory with known effects, for the tests of the report (and for looking at its pictures)."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.sealing import rehash

SHA = "0" * 64
CATEGORIES = ["single_object", "two_object", "counting", "colors", "position", "color_attr"]
KINDS = ["entity", "attribute", "relation"]


def write_run(
    root: Path,
    effects: dict[str, float] | None = None,
    seeds: int = 2,
    prompts: int = 24,
    samples: int = 2,
    settings: tuple[str, ...] = ("main",),
    milestones: tuple[str, ...] = ("final",),
    categories: list[str] = CATEGORIES,
    dense: int = 0,
    fail: tuple[str, int] | None = None,
    iterations: int = 30,
    images: bool = True,
    seed_sd: float = 0.02,
    title: str = "embedded world",
) -> Path:
    """`effects`: method -> change of the success probability over base. `fail`: (policy, number of failed images)."""
    effects = {"alpha": 0.0, "beta_2": 0.2} if effects is None else effects
    rng = np.random.default_rng(7)
    benchmarks = ["geneval"] + (["dpg"] if dense else [])
    config = {
        "created": "2026-01-01T00:00:00Z", "preset": "quick", "methods": list(effects), "seeds": list(range(seeds)),
        "policy": "embedded", "policy_sha256": SHA,
        "budget": "forwards:6000,iterations:20" if "milestone" in milestones else "forwards:6000",
        "benchmarks": benchmarks,
        "settings": {
            s: {"sampler": "random", "steps": 8, "guidance": 2.0, "dtype": "bfloat16", "seed": 0, "samples": samples}
            for s in settings
        },
        "train": {m: {"method": m, "lr": 1e-4} for m in effects}, "versions": {"torch": "2.0"},
        "git_commit": "abc123", "prompt_sets": {b: SHA for b in benchmarks},
        "machine": {"cpu": "x", "cores": 2, "threads_per_job": 1, "jobs": 2}, "title": title,
    }  # fmt: skip
    _json(root / "config.json", config)
    for method in effects:
        for seed in range(seeds):
            _training(root / "train" / method / f"seed{seed}", effects[method], iterations, rng)
    policies = [("base", "base", None, 0, "final")]
    for m in effects:
        for s in range(seeds):
            policies.append((f"{m}-seed{s}", m, s, iterations, "final"))
            if "milestone" in milestones:
                policies.append((f"{m}-seed{s}@20", m, s, 20, "milestone"))
    shifts = {(m, s): rng.normal(0, seed_sd) for m in effects for s in range(seeds)}
    for setting in settings:
        for name, method, seed, iteration, milestone in policies:
            gain = effects.get(method, 0.0) * (0.5 if milestone != "final" else 1.0) + shifts.get((method, seed), 0.0)
            policy = dict(
                name=name,
                method=method,
                train_seed=seed,
                iteration=iteration,
                forwards=iteration * 200,
                checkpoint="",
                milestone=milestone,
            )
            broken = fail[1] if fail and fail[0] == name else 0
            _verdicts(root, "geneval", setting, policy, categories, prompts, samples, gain, broken, rng, images)
            if dense:
                _verdicts(root, "dpg", setting, policy, ["dense"], dense, samples, gain, 0, rng, images)
    return root


def _verdicts(root, benchmark, setting, policy, categories, prompts, samples, gain, broken, rng, images) -> None:
    lines = []
    for c, category in enumerate(categories):
        for p in range(prompts):
            level = 0.25 + 0.1 * ((c + p) % 5) + gain
            for sample in range(samples):
                answers = [float(rng.random() < min(max(level, 0.02), 0.98)) for _ in KINDS]
                score = answers[0] if benchmark == "geneval" else float(np.mean(answers))
                questions = [
                    {"id": i + 1, "category": k, "answer": int(a), "score": a}
                    for i, (k, a) in enumerate(zip(KINDS, answers, strict=True))
                ]
                bad = len(lines) < broken
                image = f"images/{policy['name']}/{benchmark}/{setting}/{category}-{p:03d}_{sample}.png"
                lines.append(
                    {
                        "prompt_id": f"{category}-{p:03d}", "sample": sample, "category": category,
                        "prompt": f"a photo of a striped thing {p} and a dotted thing, {category}",
                        "status": "failed" if bad else "ok", "score": None if bad else score,
                        "evidence": {"questions": questions} if benchmark == "dpg" else {}, "image": image,
                    }
                )  # fmt: skip
                if images and sample == 0:
                    picture(root / image, score, rng)
    meta = {
        "identity": SHA, "benchmark": benchmark, "version": "1",
        "title": {"geneval": "GenEval", "dpg": "DPG-Bench"}[benchmark] + " (embedded world)",
        "aggregate": "category_mean" if benchmark == "geneval" else "item_mean",
        "scale": 1 if benchmark == "geneval" else 100, "higher_is_better": True, "categories": categories,
        "setting": {"sampler": setting, "steps": 8},
        "scorer": {"name": "rule", "version": "1", "weights_revision": None}, "prompt_set_sha256": SHA,
        "expected_images": len(lines), "policy": policy, **({"top": 1.0} if benchmark == "dpg" else {}),
    }  # fmt: skip
    folder = root / "verdicts" / benchmark / setting
    _json(folder / f"{policy['name']}.meta.json", meta)
    (folder / f"{policy['name']}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rehash(folder / f"{policy['name']}.jsonl")


def picture(path: Path, score: float, rng: np.random.Generator) -> None:
    """A 64 x 64 PNG with one or two coloured squares."""
    pixels = np.full((64, 64, 3), 235, dtype=np.uint8)
    for _ in range(1 + int(score > 0.5)):
        x, y = rng.integers(0, 6, 2) * 8
        pixels[y : y + 16, x : x + 16] = rng.integers(0, 255, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _training(folder: Path, effect: float, iterations: int, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    metrics, timing = [], []
    cost = 200 if effect < 0.1 else 100
    for i in range(1, iterations + 1):
        done = i / iterations
        metrics.append(
            {
                "iteration": i, "forwards": cost, "forwards_total": cost * i,
                "reward_mean": 0.5 + effect * done + rng.normal(0, 0.02), "reward_std": 0.2,
                "clip_fraction": 0.2 * done, "kl": 0.1 * done * (1 + effect), "entropy": 2.0 - done,
                "entropy_by_rank": [2.0 - done] * 8, "loss": 0.1,
            }
        )  # fmt: skip
        timing.append(
            {"iteration": i, "seconds_total": cost * i / 80, "seconds": cost / 80, "peak_memory_mb": 900 + cost}
        )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in metrics))
    (folder / "timing.jsonl").write_text("".join(json.dumps(r) + "\n" for r in timing))


def _json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
