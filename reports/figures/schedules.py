"""The schedules of HT-GRPO's random subsets: the part of a stage's tokens that each update trains."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from reports.figures.looks import COLOURS, MARKERS
from reports.figures.style import style
from reports.format import table

Rates = list[tuple[str, float]]
"""(stage, gamma) of every update in order."""


def figure(schedules: dict[str, Rates]) -> Figure:
    """A line per schedule over the updates, broken where a stage ends."""
    with style():
        drawn, ax = plt.subplots(figsize=(6.4, 3.1), layout="constrained")
        rates = next(iter(schedules.values()))
        for i, (name, own) in enumerate(schedules.items()):
            for start, stop in stages(own):
                label = name if start == 0 else "_"
                values = [gamma for _, gamma in own[start:stop]]
                places = range(start + 1, stop + 1)
                ax.plot(places, values, color=COLOURS[i], marker=MARKERS[i], markersize=4, label=label)
        for start, stop in stages(rates):
            ax.text((start + stop + 1) / 2, 1.06, rates[start][0], ha="center", fontsize=8, color="#555555")
            if start:
                ax.axvline(start + 0.5, color="#BBBBBB", linewidth=0.8)
        ax.set(xlabel="update", ylabel="part of the stage's tokens", ylim=(0, 1.12), xticks=range(1, len(rates) + 1))
        ax.legend(loc="lower left", fontsize=7.5, ncols=3, frameon=False)
    return drawn


def stages(rates: Rates) -> list[tuple[int, int]]:
    """[start, stop) of the updates of each stage."""
    starts = [k for k in range(len(rates)) if k == 0 or rates[k][0] != rates[k - 1][0]]
    return list(zip(starts, [*starts[1:], len(rates)]))


def markdown(schedules: dict[str, Rates], formulas: dict[str, str]) -> str:
    """A row per schedule: its formula in p, the part of the stage that is over, and gamma of every update."""
    rates = next(iter(schedules.values()))
    heads = ["schedule", "gamma", *(f"{k + 1} {stage}" for k, (stage, _) in enumerate(rates))]
    rows = [[name, formulas[name], *(f"{gamma:.3g}" for _, gamma in own)] for name, own in schedules.items()]
    return table(heads, rows)
