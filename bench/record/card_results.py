"""The results of one checkpoint as a model card has them: a table for people, an index for the hub."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from reports.findings.analysis import Result


def row(result: "Result", name: str) -> dict[str, str]:
    """A line of the card's table."""
    from reports.format import NONE
    from reports.tables.view import score_rows

    block, own = result.block, next(own for own in score_rows(result) if own.name == name)
    return {
        "benchmark": block.title,
        "setting": block.setting,
        "when": block.when,
        "prompts": block.size,
        "judged": own.judged,
        "score": str(own.score),
        "gain": str(own.gain or NONE),
    }


def protocol_of(result: "Result") -> str:
    """How a result was made, with the hash of its prompts."""
    from reports.tables.notes import protocol

    return (
        f"{result.block.title}, setting {result.block.setting}: {protocol(result)}; prompts sha256 "
        f"{result.block.meta['prompt_set_sha256']}."
    )


def eval_result(result: "Result", name: str, split: str) -> "EvalResult":
    """A result as the hub's model-index has it."""
    from huggingface_hub import EvalResult

    block, score = result.block, result.scores[name].headline
    digits = 4 if block.scale <= 1 else 2
    interval = [round(score.low, digits), round(score.high, digits)] if score.known else None
    return EvalResult(
        task_type="text-to-image",
        dataset_type=block.name,
        dataset_name=f"{block.title}, setting {block.setting}",
        dataset_config=block.setting,
        dataset_split=split,
        metric_type="score",
        metric_name=f"{block.title} ({block.when}; setting {block.setting})",
        metric_value=round(score.estimate, digits),
        metric_args={
            "interval_95": interval,
            "prompts": result.prompts_used,
            "size": block.size,
            "claim": "these weights, prompts sampled",
        },
    )
