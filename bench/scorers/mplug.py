"""mPLUG's visual question answering, DPG-Bench's judge: the prompt is a question, the score 1 for the answer "yes",
else 0."""

import os
from pathlib import Path

from bench.scorers.base import Expectation
from bench.scorers.drawings import SHAPES, drawing
from bench.scorers.weights import Repository, locate
from bench.scorers.worker import WorkerScorer
from htgrpo.base.errors import UserError

MODEL = "damo/mplug_visual-question-answering_coco_large_en"


class MplugVQA(WorkerScorer):
    """mPLUG large. Evidence: "answer". Questions are cut at 25 word pieces, as upstream."""

    name, title, version = "mplug_vqa", "mPLUG VQA", "1"
    needs_prompt, published_range = True, "0 or 1"
    script = "mplug_vqa.py"
    repositories = (Repository(MODEL, ("config.yaml", "config_bert.json", "vocab.txt"), ("pytorch_model.bin",)),)
    batch_size = 32

    @classmethod
    def folders(cls, weights: Path | None = None) -> list[Path]:
        """See WorkerScorer.folders; the model is ModelScope's, so it is looked for in that hub's cache."""
        cached = [folder for folder in _cached() if not cls.repositories[0].missing(folder)]
        try:
            return locate(cls.name, cls.repositories, weights or next(iter(cached), None))
        except UserError as error:
            if weights:
                raise
            raise UserError(
                f"weights not found: run `uvx modelscope download --model {MODEL}`, since {cls.name} needs them and "
                f"they are not in ModelScope's cache; or give a folder that holds its files, also as "
                f"$HTGRPO_WEIGHTS/{cls.name}"
            ) from error

    def expectations(self) -> list[Expectation]:
        pairs = [("red", "blue"), ("blue", "red")]
        pictures = {caption.split()[1]: drawing(caption) for caption in SHAPES}
        return [
            Expectation(
                f"the drawn shape is {right} and not {wrong}",
                (pictures[right], f"is the shape {right}?"),
                (pictures[right], f"is the shape {wrong}?"),
            )
            for right, wrong in pairs
        ]


def _cached() -> list[Path]:
    root = Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope" / "hub")
    owner, name = MODEL.split("/")
    return [root / "models" / owner / name, root / owner / name, root / "hub" / "models" / owner / name]
