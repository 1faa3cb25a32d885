"""UnifiedReward (arXiv 2503.05236; CodeGoat24/UnifiedReward @ ff6f520): a vision-language model that writes its
judgement, on a server."""

from typing import Any

from bench.scorers.base import Expectation, Judged
from bench.scorers.drawings import matching
from bench.scorers.openai_server import OpenAIServer
from bench.scorers.unifiedreward_answers import VARIANT, question, read


class UnifiedRewardServer(OpenAIServer):
    """UnifiedReward on a server; evidence as in unifiedreward_answers.read."""

    name, title, version = "unifiedreward", "UnifiedReward", "1"
    published_range, reward_scale = "1..5", 0.2
    served_as = "UnifiedReward"
    start = "vllm serve CodeGoat24/UnifiedReward-2.0-qwen3vl-8b --served-model-name UnifiedReward --port 8080"

    def identity(self) -> dict[str, Any]:
        """Beside the server's keys "variant" and "upstream", whether an answer without a score counts as 0, as in
        flow_grpo, instead of failing."""
        return super().identity() | {"variant": VARIANT, "upstream": False}

    def question(self, prompt: str) -> str:
        return question(prompt)

    def read(self, prompt: str, answer: str) -> Judged:
        return read(answer)

    def expectations(self) -> list[Expectation]:
        return matching()
