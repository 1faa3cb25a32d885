"""Asks a policy itself, and writes what came of it as verdicts; bench/judge/judging.py does the same with its
pictures."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.benchmarks.evaluation import Evaluation
from bench.record.rundir import RunDir
from bench.record.verdicts import write
from bench.record.work import Target

if TYPE_CHECKING:
    from bench.benchmarks.base import TextBenchmark
    from htgrpo.parallel.ranks import Ranks
    from htgrpo.policies.policy import Policy


def examine(
    run: RunDir,
    target: Target,
    evaluation: Evaluation,
    examination: "TextBenchmark",
    policy: "Policy",
    on_progress: Callable[[float], None],
    ranks: "Ranks",
) -> None:
    """Examines `policy`, which is `target`, and writes the verdict file; on_progress gets the part done. Several
    `ranks` share the work, and the first one writes. Raises UserError for what cannot be asked of this policy."""
    folder = run.results(target.name, evaluation.benchmark, evaluation.setting)
    verdicts = examination.examine(policy, evaluation, folder, on_progress, ranks)
    if ranks.is_main:
        records = [
            {
                "prompt_id": prompt.id,
                "sample": sample,
                "category": prompt.category,
                "prompt": prompt.text,
                "status": "ok",
                **verdict,
                "image": "",
                "sha256": "",
            }
            for (prompt, sample), verdict in zip(evaluation.items, verdicts, strict=True)
        ]
        write(run, target, evaluation, examination, records)
    ranks.wait()  # nobody looks for the file before it is there
