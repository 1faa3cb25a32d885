"""What each figure shows, in words: for whoever cannot see it, and as its caption."""

from reports.findings import sentences
from reports.findings.analysis import Result
from reports.findings.answer import in_every_view
from reports.findings.central import left_out
from reports.findings.hacking import Moves
from reports.findings.quality import Panel
from reports.findings.training import AXES, with_time
from reports.format import bounds, listed, number
from reports.run.load import Run


def shown(run: Run, results: list[Result], panels: list[Panel], moves: list[Moves]) -> dict[str, str]:
    """Name of a figure -> sentences."""
    first = in_every_view(results)
    mains = [result for result in results if result.block.is_main]
    others = [result for result in mains if result not in first]
    found = {
        "differences": f"Paired differences with 95 % intervals. {_resolved(run, first)}",
        "differences_others": f"Paired differences with 95 % intervals. {_resolved(run, others)}",
        "reward_and_rest": f"From the starting policy to the end of training. {_moves(run, moves)}",
        "entropy_by_rank": f"Rollout entropy of each eighth of the slots in the order they are revealed. {_entropy(run)}",
        "unmasking": "When each slot is revealed: mean rank over the pictures, and single pictures beside their order.",
    }
    for axis, title in AXES.items():
        found[f"quality_{axis}"] = f"Score against {title}. {_quality(run, panels, axis)}"
        found[f"curves_{axis}"] = f"Measures of training against {title}. {_rewards(run)}"
    return found


def category_names(mains: list[Result]) -> dict[str, Result]:
    """The figure of scores by category of every main comparison, by its name."""
    return {f"categories{f'_{safe(r.block.name)}' if i else ''}": r for i, r in enumerate(mains)}


def safe(name: str) -> str:
    """A benchmark's name as part of a file's."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def categories(run: Run, result: Result) -> str:
    """Of the bars by category: the best method of each."""
    if not result.columns:
        return f"Scores with 95 % intervals: {_scores(run, result)}."
    best = []
    for column in result.columns:
        cells = {name: score.columns[column].estimate for name, score in result.scores.items()}
        known = {name: value for name, value in cells.items() if value == value}
        if known:
            name = max(known, key=lambda name: result.sign * known[name])
            title = column.removeprefix("questions: ").replace("_", " ")
            best.append(f"{title} {run.called(name)} {number(known[name], result.block.scale)}")
    return f"Scores with 95 % intervals: {_scores(run, result)}. Highest in each category: {', '.join(best)}."


def _scores(run: Run, result: Result) -> str:
    scale = result.block.scale
    return ", ".join(f"{run.called(n)} {number(s.headline.estimate, scale)}" for n, s in result.scores.items())


def _resolved(run: Run, results: list[Result]) -> str:
    told = [left_out(result, names=run.names) for result in results[:1]]
    told += [
        f"{result.block.title}, {result.block.when}: {sentences.resolution(result, run.names)}."
        for result in results
        if result.pairs
    ]
    return " ".join(filter(None, told))


def _quality(run: Run, panels: list[Panel], axis: str) -> str:
    told = []
    for panel in panels:
        ends = {name: points[-1] for name in panel.methods if (points := panel.of(name, axis))}
        scale = panel.scale
        start = f" from {number(panel.base.estimate, scale)}" if panel.base else ""
        words = [
            f"{run.called(name)} to {number(end.score.estimate, scale)} {bounds(end.score, scale)} "
            f"after {getattr(end, axis):,.0f}"
            for name, end in ends.items()
        ]
        if words:
            told.append(f"{panel.title}:{start} {listed(words)}.")
    return " ".join(told)


def _rewards(run: Run) -> str:
    frame = with_time(run)
    if "reward_mean" not in frame:
        return ""
    words = []
    for name, own in frame.dropna(subset=["reward_mean"]).groupby("method", sort=False):
        first, last = (own.loc[own["iteration"] == end, "reward_mean"].mean() for end in _ends(own))
        words.append(f"{run.called(str(name))} from {first:.3g} to {last:.3g}")
    return f"Mean training reward of the first and the last iteration: {', '.join(words)}." if words else ""


def _ends(frame) -> tuple[int, int]:
    return int(frame["iteration"].min()), int(frame["iteration"].max())


def _entropy(run: Run) -> str:
    frame = run.metrics
    if "entropy_by_rank" not in frame:
        return ""
    frame = frame[frame["entropy_by_rank"].map(lambda value: isinstance(value, list) and len(value) > 1)]
    words = []
    for name, own in frame.groupby("method", sort=False):
        last = own[own["iteration"] == own["iteration"].max()]["entropy_by_rank"]
        first, end = (sum(value[place] for value in last) / len(last) for place in (0, -1))
        words.append(f"{run.called(str(name))} {first:.3g} and {end:.3g}")
    return f"First and last eighth at the end, in nats: {', '.join(words)}." if words else ""


def _moves(run: Run, moves: list[Moves]) -> str:
    told = []
    for one in moves:
        words = [f"{move.measure} {move.cells[0]} to {move.cells[1]} ({move.word})" for move in one.moves]
        told.append(f"{run.called(one.method)}: {', '.join(words)}.")
    return " ".join(told)
