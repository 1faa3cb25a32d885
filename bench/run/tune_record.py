"""What bench.tune keeps and tells: results of single runs, the scores the rule works on, the record and its table."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from bench.run.tries import Scores, Try, best, interior, next_tries
from htgrpo.base.errors import UserError
from htgrpo.base.records import Finite, read

if TYPE_CHECKING:
    from bench.run.tries import Tuning

RESULT = "result.json"


class Judged(TypedDict):
    """How a policy did on the validation split: the mean of GenEval's category means, those, and the mean reward."""

    geneval: Finite
    categories: dict[str, Finite]
    reward: Finite


class Result(TypedDict):
    """result.json of one run; beside this what Judged holds, or why it diverged. geneval: None where it did."""

    name: str
    method: str
    lr: Finite
    options: dict[str, Any]
    seed: int
    geneval: Finite | None


def result_file(out: Path, one: Try, seed: int) -> Path:
    """Where the result of one run lies."""
    return out / "tries" / one.name / f"seed{seed}" / RESULT


def read_results(tuning: "Tuning", method: str, out: Path) -> dict[Try, list[Result]]:
    """The results of the method's tries whose every seed is there, in the order in which the rule asked for them."""
    found: dict[Try, list[Result]] = {}
    while True:
        asked_for = next_tries(tuning.grid, method, mean_scores(found))
        paths = {one: [result_file(out, one, seed) for seed in tuning.grid.seeds] for one in asked_for}
        there = {one: files for one, files in paths.items() if all(path.is_file() for path in files)}
        found |= {one: [read(path, Result) for path in files] for one, files in there.items()}
        if not there or len(there) < len(asked_for):
            return found


def mean_scores(results: dict[Try, list[Result]]) -> Scores:
    """The mean over the seeds; minus infinity where one diverged."""
    scores = {one: [-math.inf if r["geneval"] is None else r["geneval"] for r in runs] for one, runs in results.items()}
    return {one: sum(values) / len(values) for one, values in scores.items()}


def missing_runs(tuning: "Tuning", method: str, out: Path) -> list[tuple[Try, int]]:
    """The runs that the rule asks for next."""
    tries = next_tries(tuning.grid, method, mean_scores(read_results(tuning, method, out)))
    return [(one, seed) for one in tries for seed in tuning.grid.seeds if not result_file(out, one, seed).is_file()]


def recorded(tuning: "Tuning", out: Path, base: dict[str, Any]) -> dict[str, Any]:
    """Everything that was tried, and what each method takes from it."""
    tries, chosen = [], {}
    for method in tuning.methods:
        results = read_results(tuning, method, out)
        scores = mean_scores(results)
        top = best(scores, method)
        if top is None:
            raise UserError(
                f"{method}: every learning rate of the ladder diverged: start from a smaller lr in presets/tune.json"
            )
        chosen[method] = {
            "settings": {"lr": top.lr, **dict(top.options)},
            "score": round(scores[top], 4),
            "tries": len(results),
            "interior": interior(tuning.grid, method, scores),
        }
        for one, runs in results.items():
            score = None if scores[one] == float("-inf") else round(scores[one], 4)
            each = {
                key: [run.get(key) for run in runs]
                for key in ("geneval", "reward", "iterations", "forwards", "seconds")
            }
            tries.append({"method": method, "lr": one.lr, "options": dict(one.options), "score": score, **each})
    return {**tuning.identity(), "base": base, "chosen": chosen, "tries": tries}


def render(record: dict[str, Any]) -> str:
    """Every try as Markdown, the best of each method marked."""
    lines = [
        f"Every try: {record['settings']['budget']}, training seeds {', '.join(map(str, record['seeds']))}, judged on the "
        f"{record['split']} prompts x {record['samples']} pictures (base: GenEval {record['base']['geneval']:.3f}, reward "
        f"{record['base']['reward']:.3f}). The score is the mean over the seeds; the best one is taken.",
        "",
        "| method | lr | own choice | score | each seed | reward | iterations | forwards | seconds | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in record["tries"]:
        chosen = record["chosen"][one["method"]]
        taken = chosen["settings"] == {"lr": one["lr"], **one["options"]}
        note = ("taken" if chosen["interior"] else "taken, at the end of the ladder") if taken else ""
        own = ", ".join(f"{key}={value}" for key, value in one["options"].items())
        score = "diverged" if one["score"] is None else f"{one['score']:.3f}"
        each = " ".join("diverged" if s is None else f"{s:.3f}" for s in one["geneval"])
        means = [
            _mean(one[key], digits)
            for key, digits in (("reward", 3), ("iterations", 0), ("forwards", 0), ("seconds", 0))
        ]
        lines.append(f"| {one['method']} | {one['lr']:g} | {own} | {score} | {each} | {' | '.join(means)} | {note} |")
    return "\n".join(lines) + "\n"


def _mean(values: list, digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.{digits}f}" if known else "-"
