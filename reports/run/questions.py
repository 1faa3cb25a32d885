"""DPG-Bench's categories: which answers count in them, and how.

As published (github TencentQQGYLab/ELLA @ 3c228f1dc6c4, dpg_bench/compute_dpg_bench.py): only a prompt's last picture,
each answer before questions lose their point with their parents, and no prompt with a failed picture. The fixed mode
counts every picture, after that. A verdict's evidence names the mode it was judged in; the embedded world's has none
and is counted as fixed.
"""

from collections.abc import Iterable, Iterator

UPSTREAM = "upstream"


def asked_questions(evidence: object) -> list[dict]:
    """The questions of a question-graph benchmark in one record's evidence ({"id", "category", "answer", "score"});
    empty otherwise."""
    found = evidence.get("questions", []) if isinstance(evidence, dict) else evidence
    return (
        [q for q in found if isinstance(q, dict) and "category" in q and "score" in q]
        if isinstance(found, list)
        else []
    )


def mode_of(evidence: object) -> str:
    """The mode in which a picture was judged; empty where none is named."""
    return str(evidence.get("mode", "")) if isinstance(evidence, dict) else ""


def counted(records: Iterable[dict], mode: str) -> Iterator[tuple[str, dict, float]]:
    """(prompt id, question, value in 0..1) of every answer that counts in the categories of one policy, from its
    records of a verdict file ({"prompt_id", "sample", "score", "evidence"}; score None or NaN where a picture
    failed)."""
    by_prompt: dict[str, list[dict]] = {}
    for one in records:
        by_prompt.setdefault(one["prompt_id"], []).append(one)
    for prompt, pictures in by_prompt.items():
        judged = sorted(
            (one for one in pictures if one["score"] is not None and one["score"] == one["score"]), key=_sample
        )
        if mode == UPSTREAM:
            judged = judged[-1:] if len(judged) == len(pictures) else []
        for one in judged:
            for question in asked_questions(one["evidence"]):
                yield prompt, question, float(question["answer" if mode == UPSTREAM else "score"])


def _sample(record: dict) -> int:
    return int(record["sample"])


RULES = {
    UPSTREAM: "question categories as published: each prompt's last picture, before zeroing",
    "fixed": "question categories over all pictures, after zeroing",
}
"""What the categories of a mode are, in words."""
