"""HPSv3's own benchmark: one picture a prompt, the mean of each of 12 categories, the mean of those."""

from bench.benchmarks.hpsv3_prompts import CATEGORIES, hpsv3_prompts
from bench.benchmarks.model_scores import ModelScore
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt


class HPSv3Categories(ModelScore):
    """HPSv3 on HPSv3's own prompts, one picture each; the headline is the unweighted mean of the category means."""

    name, title, world, scorer = "hpsv3_categories", "HPSv3 (12 categories)", "natural", "hpsv3"
    categories, aggregate, samples = CATEGORIES, "category_mean", 1
    picture_set, noise, published, published_samples = name, name, 0, 1

    def __init__(self, prompt_set=None):
        if prompt_set is not None:
            raise UserError(
                f"benchmark {self.name!r} has prompts of its own: for HPSv3 on others write hpsv3@{prompt_set.name}"
            )
        super().__init__()

    def prompts(self, split: str) -> list[Prompt]:
        from bench.benchmarks.geneval import only_split

        only_split(self.name, split)
        return hpsv3_prompts()
