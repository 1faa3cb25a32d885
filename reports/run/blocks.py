"""Arranges verdicts into blocks: one benchmark, one generation setting, one view, methods x seeds x prompts."""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from htgrpo.base.errors import UserError
from htgrpo.base.records import BASE, CURVE, FINAL
from htgrpo.training.train_config import SECONDS
from reports.format import MARGIN
from reports.run.load import Run, titled
from reports.run.questions import asked_questions, mode_of
from reports.run.scores import MethodScores, method_scores

MAIN_CLAIM, SECONDARY = "main claim, named before the run", "secondary"
BUDGETS = {"forwards": "at equal forwards", "iterations": "at equal iterations"}


def view_title(view: str, limit: float) -> str:
    """A view in words; limit: of equal seconds."""
    if view == SECONDS:
        return f"at equal training seconds (at most {limit:.0f})"
    kind, _, amount = view.partition(":")
    return f"{BUDGETS[kind]} ({amount})" if amount else "policies as they are"


@dataclass
class Block:
    """One comparison on equal terms.

    milestone: the view (see reports.run.views); main_view: whether it is the main one; claim: MAIN_CLAIM where this
    comparison was named before the run, SECONDARY where another was, "" where none was; elsewhere: trained methods that
    only other views show; limit: of equal seconds. prompts: ids [P]; category: int [P] into `categories`; binary: every
    score is 0 or `scale`; axis: key of the evidence whose values are the scores, where the benchmark has several axes;
    pictures: whether any record has one; given: see Run.given; mode: how answers count in question_categories, see
    questions.counted; share: of the scale, within which two policies count as equal.
    """

    benchmark: str
    setting: str
    milestone: str
    meta: dict
    prompts: list[str]
    category: np.ndarray
    categories: list[str]
    question_categories: list[str]
    methods: list[MethodScores]
    main_view: bool = False
    claim: str = ""
    elsewhere: list[str] = field(default_factory=list)
    limit: float = float("nan")
    binary: bool = False
    missing: list[str] = field(default_factory=list)
    axis: str = ""
    pictures: bool = False
    given: bool = False
    mode: str = ""
    share: float = MARGIN

    @property
    def name(self) -> str:
        """The benchmark, with its axis where it has several: "unipercept.iaa"."""
        return f"{self.benchmark}.{self.axis}" if self.axis else self.benchmark

    @property
    def file(self) -> str:
        """The name as files bear it: "unipercept_iaa"."""
        return self.name.replace(".", "_")

    @property
    def picture_set(self) -> str:
        """The name of the pictures that are judged, which several benchmarks may share."""
        return str(self.meta.get("pictures") or self.benchmark)

    @property
    def is_main(self) -> bool:
        """Whether this is what headlines show: the main setting in the main view."""
        return self.setting == "main" and self.main_view

    @property
    def leads(self) -> bool:
        """Whether this is what is meant by the benchmark's name alone: it has one axis, or this is its first."""
        return self.axis in ("", next(iter(self.meta.get("axes") or [""])))

    @property
    def shown(self) -> bool:
        """Whether pictures of this block are shown: once per benchmark, whatever its axes."""
        return self.is_main and self.pictures and self.leads

    @property
    def scale(self) -> float:
        """Displayed value of a perfect score."""
        return float(self.meta["scale"])

    @property
    def top(self) -> float | None:
        """The best score there can be, where scores are shares (of right pictures or questions) of 0..scale; otherwise
        None."""
        return self.scale if self.binary or (self.question_categories and self.meta.get("top")) else None

    @property
    def margin(self) -> float:
        """Within which two policies count as equal, in displayed units; NaN where scores have no scale to share."""
        return self.share * self.top if self.top is not None else math.nan

    @property
    def title(self) -> str:
        """The benchmark's title and axis, how much of it was measured where that is not all, and a word about random
        weights."""
        axis = f": {self.meta['axes'][self.axis]}" if self.axis else ""
        name = ", ".join(filter(None, [f"{self.meta['title']}{axis}", self.part]))
        return titled(name, (method.random_weights for method in self.methods))

    @property
    def samples(self) -> int:
        """Pictures per prompt."""
        return int(self.meta["expected_images"]) // max(1, len(self.prompts))

    @property
    def part(self) -> str:
        """How much of the published benchmark this is, "60 of 553 prompts, 1 of 4 pictures each"; empty where it is all
        of it."""
        return ", ".join(f"{count} of {of} {noun}" for count, of, noun in self._sizes() if count < of)

    @property
    def size(self) -> str:
        """Prompts and pictures per prompt, and how many the published benchmark has of each where that is more."""
        return ", ".join(
            f"{count} of {of} {noun}" if count < of else f"{count} {noun}" for count, of, noun in self._sizes()
        )

    def _sizes(self) -> list[tuple[int, int, str]]:
        """(here, in the published benchmark or 0, of what)."""
        whole = self.meta.get("published") or {}
        sizes = [(len(self.prompts), whole.get("prompts", 0), self.noun)]
        return [*sizes, (self.samples, whole.get("pictures", 0), "pictures each")] if self.pictures else sizes

    @property
    def noun(self) -> str:
        """What is judged one by one."""
        return "prompts" if self.pictures else "documents"

    @property
    def when(self) -> str:
        """The view in words, for example "at equal forwards (12000)"."""
        if self.given:
            return "pictures as given"
        return view_title(self.milestone, self.limit)

    @property
    def label(self) -> str:
        """Title, milestone and setting in words."""
        return f"{self.title}, {self.when}, setting {self.setting}"

    @property
    def key(self) -> str:
        """name/setting/milestone."""
        return f"{self.name}/{self.setting}/{self.milestone}"

    def usable(self, allow_incomplete: bool) -> list[MethodScores]:
        """Methods that may have a headline."""
        return [m for m in self.methods if m.judged and (m.complete or allow_incomplete)]


def make_blocks(run: Run) -> list[Block]:
    """All blocks: benchmarks in config order, then settings ("main" first), views (the main one first) and axes."""
    metas = run.metas[run.metas["setting"] != CURVE]
    order = list(dict.fromkeys([*run.config.get("benchmarks", []), *metas["benchmark"]]))
    blocks = []
    for benchmark in order:
        of_benchmark = metas[metas["benchmark"] == benchmark]
        settings = list(dict.fromkeys(["main", *run.config.get("settings", {}), *of_benchmark["setting"]]))
        for setting in settings:
            group = of_benchmark[of_benchmark["setting"] == setting]
            for view in run.views:
                chosen = _in_view(run, group, view)
                if len(chosen):
                    axes = chosen["meta"].iloc[0].get("axes") or [""]
                    blocks += [_make_block(run, chosen, view, axis) for axis in axes]
    return blocks


def records_of(run: Run, benchmark: str, setting: str, axis: str = "") -> pd.DataFrame:
    """The records of a benchmark under a setting, `score` being that of `axis` where one is named. Raises UserError for
    a verdict without it."""
    records = run.records
    records = records[(records["benchmark"] == benchmark) & (records["setting"] == setting)]
    if not axis:
        return records
    ok = records["status"] == "ok"
    values = [e.get(axis) if isinstance(e, dict) else None for e in records.loc[ok, "evidence"]]
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        raise UserError(
            f"verdicts of {benchmark} lack a number for the axis {axis!r}: score it again with python -m bench.score"
        )
    scores = pd.Series(values, index=records.index[ok], dtype=float)
    return records.assign(score=records["score"].mask(ok, scores))


def _in_view(run: Run, group: pd.DataFrame, view: str) -> pd.DataFrame:
    """The policies that a view shows. Those of the main one are marked; others are found by their iteration, beside the
    starting policy, which belongs to all views; none where nothing trained is shown."""
    if view == run.main_view:
        return group[group["milestone"] == FINAL]
    shown = run.shown(view)
    rows = zip(group["method"], group["seed"], group["iteration"], strict=True)
    own = [shown.get((method, seed)) == iteration for method, seed, iteration in rows]
    return group[pd.Series(own, index=group.index, dtype=bool) | (group["method"] == BASE)] if any(own) else group[:0]


def _make_block(run: Run, chosen: pd.DataFrame, milestone: str, axis: str) -> Block:
    meta, setting = chosen["meta"].iloc[0], chosen["setting"].iloc[0]
    records = records_of(run, meta["benchmark"], setting, axis)
    records = records[records["policy"].isin(chosen["policy"])]
    table = records.drop_duplicates("prompt_id").set_index("prompt_id")["category"]
    categories = [c for c in meta["categories"] if c in set(table)]
    categories += sorted(set(table) - set(categories))
    prompts = sorted(table.index, key=lambda prompt: (categories.index(table[prompt]), str(prompt)))
    questions = list(dict.fromkeys(q["category"] for e in records["evidence"] for q in asked_questions(e)))
    block = Block(
        meta["benchmark"],
        setting,
        milestone,
        meta,
        prompts,
        np.array([categories.index(table[p]) for p in prompts], dtype=int),
        categories,
        sorted(questions),
        [],
        main_view=milestone == run.main_view,
        claim=_claim(run, {"benchmark": meta["benchmark"], "setting": setting, "milestone": milestone}, meta, axis),
        limit=run.seconds if milestone == SECONDS else float("nan"),
        axis=axis,
        pictures=bool((records["image"] != "").any()),
        given=run.given,
        share=run.config.get("margin") or MARGIN,
        mode=mode_of(next((e for e in records["evidence"] if asked_questions(e)), None)),
    )
    for method in run.methods:
        part = chosen[chosen["method"] == method]
        if len(part):
            unscored = _unscored_seeds(run, part, milestone)
            block.methods.append(
                method_scores(
                    part,
                    records,
                    prompts,
                    block.question_categories,
                    block.scale,
                    block.mode,
                    unscored,
                    run.untrained(method),
                )
            )
        elif not run.takes_part(method, milestone):
            block.elsewhere.append(method)
        elif block.main_view and (method == BASE or method in run.config.get("methods", [])):
            block.missing.append(method)
    values = records["score"].dropna()
    block.binary = bool(len(values)) and bool(values.isin([0.0, 1.0]).all())
    return block


def _claim(run: Run, comparison: dict, meta: dict, axis: str) -> str:
    """Block.claim of a comparison; of several axes the first is meant."""
    if not (named := run.config.get("claim")):
        return ""
    return MAIN_CLAIM if comparison == named and axis in ("", next(iter(meta.get("axes") or [""]))) else SECONDARY


def _unscored_seeds(run: Run, part: pd.DataFrame, view: str) -> int:
    """How many trained seeds of a method have no verdicts in a view that should show them. At equal seconds a training
    without a checkpoint is shown by none."""
    trained = run.metrics if len(run.metrics) else pd.DataFrame(columns=["method", "seed"])
    seeds = trained.loc[trained["method"] == part["method"].iloc[0], "seed"]
    if view == SECONDS:
        seeds = [seed for method, seed in run.shown(view) if method == part["method"].iloc[0]]
    if part["seed"].isna().any():
        return 0
    scored = {str(int(seed)) if isinstance(seed, float) else str(seed) for seed in part["seed"]}
    return len({str(seed) for seed in seeds} - scored)
