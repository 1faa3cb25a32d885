"""DeQA-Score: technical quality of a picture, without a prompt. It needs an old transformers, hence an environment of
its own."""

import json

from bench.scorers.base import Expectation
from bench.scorers.drawings import quality
from bench.scorers.instructions import instruction
from bench.scorers.weights import Repository
from bench.scorers.worker import WorkerScorer


class DeQA(WorkerScorer):
    """DeQA-Score (Mix3). Evidence: "levels", the shares of excellent, good, fair, poor and bad. Official dtype:
    float16, in which scores above 4 move in steps of 0.004; on a CPU give float32."""

    name, title, version = "deqa", "DeQA", "1"
    needs_prompt, published_range, reward_scale = False, "1..5", 0.2
    script = "deqa.py"
    assets = ("scorer_prompts",)
    repositories = (
        Repository(
            "zhiyuanyou/DeQA-Score-Mix3",
            ("config.json", "tokenizer.model", "preprocessor_config.json"),
            ("model.safetensors", "pytorch_model.bin"),
            sharded=True,
        ),
    )
    batch_size = 8

    @classmethod
    def arguments(cls, folders):
        return {"prompt": instruction("deqa.prompt"), "levels": json.dumps(instruction("deqa.levels"))}

    def expectations(self) -> list[Expectation]:
        return quality()
