"""What --budget takes: the views of a run, the main one first. Imports no torch."""

from htgrpo.base.errors import UserError
from htgrpo.training.train_config import SECONDS, parse_budgets


def parse_views(text: str, name: str = "--budget") -> tuple[str, ...]:
    """The views that --budget names, in order: budgets, and `seconds` among them but not first. Raises UserError."""
    parts = [part.strip() for part in text.split(",")]
    if parts[0] == SECONDS or parts.count(SECONDS) > 1:
        raise UserError(
            f"{name} is {text!r}, but {SECONDS} is chosen from trainings that another part ends: name it once and "
            "not first, such as iterations:16,seconds"
        )
    budgets = iter(parse_budgets(",".join(part for part in parts if part != SECONDS), name))
    return tuple(part if part == SECONDS else next(budgets).text for part in parts)


def training_budget(views: tuple[str, ...] | list[str]) -> str:
    """What trainings are given of them."""
    return ",".join(view for view in views if view != SECONDS)
