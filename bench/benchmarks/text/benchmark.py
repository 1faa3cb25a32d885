"""Text retention as a benchmark: lm-eval's tasks on the policy itself, one score per document. `text` asks our own
small tasks, which need no network; `text@TASK` a task, group or tag of lm-eval's whose documents are right or wrong,
such as text@gsm8k.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.benchmarks.base import TextBenchmark
from bench.benchmarks.text.results import LIBRARIES
from bench.benchmarks.text.settings import TextSettings, check_chats
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from htgrpo.base.registry import BACKBONES
from htgrpo.base.versions import libraries

if TYPE_CHECKING:
    from bench.ask.request import Request
    from bench.benchmarks.evaluation import Evaluation
    from bench.benchmarks.text.evaluation import Tasks
    from htgrpo.parallel.ranks import Ranks
    from htgrpo.policies.policy import Policy

OURS = "embedded_text"


class Text(TextBenchmark):
    """A task, group or tag `task` of lm-eval, or ours. A document's score is 1 where it is right; the headline is the
    mean over single tasks of their means."""

    version, aggregate = "1", "category_mean"
    name = "text"

    def __init__(self, task: str | None = None):
        self.task = task or OURS
        if task:
            self.name = f"{type(self).name}@{task}"

    @classmethod
    def check_on(cls, other: str) -> None:
        """Any task may be: which ones there are takes a while to read, and prompts() tells."""
        if not other or "@" in other:
            raise UserError(
                f"benchmark '{cls.name}@{other}' is not understood: write {cls.name}@TASK, such as {cls.name}@gsm8k"
            )

    @classmethod
    def on(cls, other: str) -> "Text":
        return cls(other)

    @property
    def title(self) -> str:
        """Tables call it by its task."""
        return f"Text ({self.task})"

    @property
    def world(self) -> str:
        """Our tasks are of the embedded world."""
        return "embedded" if set(self._tasks().single) <= set(self._tasks().ours) else "natural"

    @property
    def note(self) -> str:
        """What our tasks are worth."""
        return (
            (
                "these small tasks prove the path and say nothing about language: policies of the embedded world were never taught "
                "to write, and natural ones never saw such captions"
            )
            if self.world == "embedded"
            else ""
        )

    @property
    def categories(self) -> tuple[str, ...]:
        """The single tasks."""
        return tuple(self._tasks().single)

    def prompts(self, split: str) -> list[Prompt]:
        """Every document. Tasks have one set of them, which serves any split. Raises UserError for tasks that there are
        not, whose data cannot be had, or whose documents are not right or wrong."""
        from bench.benchmarks.text.scoring import documents

        return documents(self._tasks())

    def settings(self, request: "Request") -> dict[str, dict[str, Any]]:
        """How text is asked for, and in which dtype of the network. Raises UserError for settings that do not fit the
        backbone or the tasks."""
        from bench.benchmarks.text.scoring import check_options
        from htgrpo.base.cpu import sampling_dtype

        if request.text["chat"]:
            check_chats(request.backbone)
        check_options(self._tasks(), TextSettings.read(request.text))
        dtype = sampling_dtype("auto" if request.backbone in BACKBONES.names() else "float32", self.device or "cpu")
        return {self.main_of(request): {"text": request.text, "dtype": str(dtype).removeprefix("torch.")}}

    def scorer_identity(self) -> dict[str, Any]:
        return {
            "name": "lm-eval",
            "version": version("lm_eval"),
            "weights_revision": None,
            "libraries": libraries(LIBRARIES),
        }

    def examine(
        self,
        policy: "Policy",
        evaluation: "Evaluation",
        folder: Path,
        on_progress: Callable[[float], None],
        ranks: "Ranks",
    ) -> list[dict]:
        """Asks, and leaves lm-eval's own results in `folder`: results.json and samples_TASK.jsonl."""
        from bench.benchmarks.text.scoring import examine

        return examine(policy, self._tasks(), evaluation, folder, on_progress, ranks)

    def kept(self, folder: Path, prompts: Sequence[Prompt]) -> tuple[str, list[dict]]:
        from bench.benchmarks.text.scoring import kept

        return kept(folder, self._tasks(), prompts)

    def _tasks(self) -> "Tasks":
        from bench.benchmarks.text.scoring import tasks_of

        return tasks_of(self.task)
