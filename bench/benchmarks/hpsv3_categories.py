"""HPSv3's own benchmark: one picture a prompt, the mean of each of 12 categories, the mean of those.

Its prompts are an asset that nobody publishes a digest of, so a copy of the user's own is read.
"""

from bench.benchmarks.model_scores import OwnPrompts
from bench.sources.assets import asset
from bench.sources.training_prompts import read_prompts
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt

# fmt: off
CATEGORIES = (
    "Characters", "Arts", "Design", "Architecture", "Animals", "Natural Scenery",
    "Transportation", "Products", "Others", "Plants", "Food", "Science",
)
# fmt: on
ASSET = "hpsv3_prompts"


def hpsv3_prompts() -> list[Prompt]:
    """HPSv3's prompts with their categories. Raises UserError where they are missing, name a category that is none, or
    lack one."""
    path = asset(ASSET)
    prompts = read_prompts(path)
    for prompt in prompts:
        if prompt.category not in CATEGORIES:
            raise UserError(
                f"{str(path)!r} has the category {prompt.category!r}, but HPSv3 knows {', '.join(CATEGORIES)}"
            )
    missing = [category for category in CATEGORIES if category not in {prompt.category for prompt in prompts}]
    if missing:
        raise UserError(
            f"{str(path)!r} has no prompt of the category {missing[0]!r}: HPSv3's score is a mean over 12 categories, "
            "so use its whole set"
        )
    return prompts


class HPSv3Categories(OwnPrompts):
    """HPSv3 on HPSv3's own prompts, one picture each; the headline is the unweighted mean of the category means."""

    name, title, world = "hpsv3_categories", "HPSv3 (12 categories)", "natural"
    scorer = elsewhere = "hpsv3"
    categories, samples = CATEGORIES, 1
    aggregate = "category_mean"
    picture_set, noise, published, published_samples = name, name, 0, 1

    def prompts(self, split: str) -> list[Prompt]:
        from bench.benchmarks.geneval import only_split

        only_split(self.name, split)
        return hpsv3_prompts()
