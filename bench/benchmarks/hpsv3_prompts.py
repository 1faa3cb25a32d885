"""HPSv3's own prompts: one picture each, the mean of every category, the mean of those over all 12.

The whole set is an asset that nobody publishes a digest of, so a copy of the user's own is read; a sample of it, 100
prompts in each of five categories, is pinned as hpsv3_prompts_sample.
"""

from bench.sources.assets import asset
from bench.sources.training_prompts import read_prompts
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt

CATEGORIES = (
    "Characters",
    "Arts",
    "Design",
    "Architecture",
    "Animals",
    "Natural Scenery",
    "Transportation",
    "Products",
    "Others",
    "Plants",
    "Food",
    "Science",
)
WHOLE, SAMPLE = "hpsv3_prompts", "hpsv3_prompts_sample"


def hpsv3_prompts(name: str = WHOLE) -> list[Prompt]:
    """The prompts of an asset, WHOLE or SAMPLE, with their categories. Raises UserError where it is missing, names a
    category that is none, or, as the whole set, lacks one."""
    path = asset(name)
    prompts = read_prompts(path)
    for prompt in prompts:
        if prompt.category not in CATEGORIES:
            raise UserError(
                f"{str(path)!r} has the category {prompt.category!r}, but HPSv3 knows {', '.join(CATEGORIES)}"
            )
    missing = [category for category in CATEGORIES if category not in {prompt.category for prompt in prompts}]
    if name == WHOLE and missing:
        raise UserError(
            f"{str(path)!r} has no prompt of the category {missing[0]!r}: HPSv3's score is a mean over 12 categories, "
            "so use its whole set"
        )
    return prompts
