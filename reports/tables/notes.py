"""What stands beside the tables in words: how scores were made, what marks and intervals mean, which order was found."""

from collections.abc import Mapping

from reports.findings import sentences
from reports.findings.analysis import Result
from reports.format import CHECKPOINTS_ONLY
from reports.run.questions import RULES
from reports.statistics.stats import LEVEL, MIN_PROMPTS, MIN_SEEDS
from reports.tables.view import TIED, column_title

NO_METHOD_CLAIM = f"Fewer than {MIN_SEEDS} training seeds: {CHECKPOINTS_ONLY}."
METHOD_NOTE = (
    f"Square brackets hold {LEVEL:.0%} intervals. *These checkpoints*: the trained weights as they are, prompts sampled within "
    "their category (Wilson's interval for shares, Student's t widened for skewness elsewhere). *These methods*: training seeds "
    "and prompts both vary (crossed variance, Satterthwaite's degrees of freedom). p: the larger of t's and that of flipping the "
    "signs of the prompts' differences; adjusted: Holm over all pairs of one benchmark's headline; could see: the smallest true "
    "difference that is told apart four times in five, at the level of Holm's strictest step. Only the main claim was named "
    "before the run; every other family of tests has 5 % of its own and gives leads, not findings. A category with fewer than "
    f"{MIN_PROMPTS} prompts has no interval."
)


def capital(text: str) -> str:
    """`text` as a sentence begins."""
    return text[:1].upper() + text[1:]


def protocol(result: Result) -> str:
    """How a block was scored: claim, size, rule, settings of generation, scorer."""
    block = result.block
    scorer, setting = block.meta["scorer"], block.meta["setting"]
    named = (
        "sampler", "steps", "guidance", "resolution", "pads", "cache", "cache_ratio", "warmup_ratio",
        "refresh_interval",
    )  # fmt: skip
    settings = ", ".join(f"{k} {v}" for k, v in setting.items() if k in named)
    rule = "mean of category means" if block.meta["aggregate"] == "category_mean" else "mean over prompts"
    note = "".join(f"; {text}" for text in (block.meta.get("note"), RULES.get(block.mode)) if text)
    parts = [block.claim, block.size, rule, settings, f"scorer {scorer.get('name')} {scorer.get('version')}"]
    return "; ".join(filter(None, parts)) + note


def elsewhere(name: str) -> str:
    """Why a trained method is not shown in a view."""
    return f"{name} samples no rollouts, so its iterations are no measure: it stands at equal forwards."


def coverage(result: Result) -> list[str]:
    """Methods that are not shown, or not whole, and why."""
    return [f"**Coverage:** {name}: {reason}." for name, reason in result.withheld.items()] + [
        elsewhere(name) for name in result.block.elsewhere
    ]


def score_note(result: Result) -> str:
    """What the marks and the intervals of a table of scores mean, and which prompts and columns have none."""
    notes = [f"{TIED}: not told apart from the best ({sentences.claim_label(result)})."]
    notes.append("Intervals in this table: these checkpoints (prompts sampled, mean over the training seeds).")
    if result.block.question_categories:
        notes.append(f"Of questions, not of prompts: {', '.join(result.block.question_categories)}.")
    lacking = [c for c in result.columns if any(not s.columns[c].known for s in result.scores.values())]
    if lacking:
        named = ", ".join(map(column_title, lacking))
        notes.append(f"No interval (fewer than {MIN_PROMPTS} prompts, or all equal): {named}.")
    if result.prompts_used < len(result.block.prompts):
        notes.append(
            f"Only the {result.prompts_used} of {len(result.block.prompts)} prompts that every method has are used."
        )
    return " ".join(notes)


def order_lines(result: Result, names: Mapping[str, str] | None = None) -> list[str]:
    """The order in a block, and what of it is resolved."""
    if not result.scores:
        return [f"{result.block.label}: no headline (coverage)."]
    line = f"{result.block.label}: {sentences.order(result, names)} ({sentences.claim_label(result)})."
    return [f"{line} {capital(sentences.resolution(result, names))}."] if result.pairs else [line]
