"""GenEval's and DPG-Bench's whole decisions against independent restatements of the published programs, on random
cases."""

from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import pytest

from bench.benchmarks.dpg import never_scored, record
from bench.benchmarks.dpg_rule import MissingParent, load_items
from bench.scorers.geneval.rule import COLOURS, TASKS, judge
from reports.run.questions import counted
from tests.scorers.upstream_geneval import boxes_of, is_right

COLOUR = attrgetter("colour")
CLASSES, LEVELS = ("cup", "dog"), (0.29, 0.3, 0.31, 0.5, 0.5, 0.9, 0.95, 0.95)


@dataclass(frozen=True)
class Found:
    cls: str
    score: float
    box: tuple
    colour: str


# --- GenEval ---


def random_case(rng):
    """Up to 45 detections of two classes on a coarse grid with few different scores, and a specification."""
    found = []
    for _ in range(int(rng.integers(0, rng.choice([4, 12, 45]) + 1))):
        x, y, w, h = rng.integers(0, 5) * 20, rng.integers(0, 5) * 20, rng.integers(0, 4) * 10, rng.integers(0, 4) * 10
        box = tuple(float(value) for value in (x, y, x + w, y + h))
        found.append(Found(str(rng.choice(CLASSES)), float(rng.choice(LEVELS)), box, str(rng.choice(COLOURS[:2]))))
    include = []
    for index, cls in enumerate(rng.permutation(CLASSES)[: rng.integers(1, 3)]):
        req = {"class": str(cls), "count": int(rng.integers(1, 4))}
        if rng.random() < 0.4:
            req["color"] = str(rng.choice(COLOURS[:2]))
        if index and rng.random() < 0.6:
            req["position"] = [str(rng.choice(["left of", "right of", "above", "below"])), 0]
        include.append(req)
    exclude = [{"class": include[0]["class"], "count": include[0]["count"] + 1}] if rng.random() < 0.3 else []
    return found, {"tag": str(rng.choice(TASKS)), "include": include, "exclude": exclude}


def test_genevals_decision_is_upstreams_with_many_equal_scores():
    rng, right, tied = np.random.default_rng(1), 0, 0
    for _ in range(4000):
        found, spec = random_case(rng)
        verdict, wanted = judge(found, spec, COLOUR), boxes_of(found, spec["tag"])
        assert verdict.correct == is_right(found, spec, COLOUR), (found, spec)
        assert verdict.evidence["boxes"] == {cls: [[*one.box, one.score] for one in own] for cls, own in wanted.items()}
        right += verdict.correct
        # the order that keeps the earlier of equals, for how much it matters
        forward = sorted(found, key=lambda one: -one.score)
        tied += is_right(found, spec, COLOUR) != is_right(list(reversed(forward)), spec, COLOUR)
    assert right > 200 and tied > 20, "cases of both kinds, and cases that ties decide"


# --- DPG-Bench (dpg_bench/compute_dpg_bench.py) ---


def upstream_score(rows, answers):
    """(score, answers before zeroing by proposition) of one picture, from table rows (id, parents) of one item;
    KeyError where a parent is missing, as there."""
    questions = {number: parents for number, parents in rows}  # a repeated id stands in the first one's place
    scores = {number: float(answers[number]) for number in questions}
    before = dict(scores)
    for number, parents in questions.items():
        for parent in parents:
            if parent == 0:
                continue
            if scores[parent] == 0:
                scores[number] = 0.0
                break
    return sum(scores.values()) / len(scores), before


def random_graph(rng):
    """Rows (id, parents) in any order, with parents before and after their children, repeated ids, and now and then one
    missing."""
    numbers = [int(number) for number in rng.permutation(np.arange(1, rng.integers(2, 8)))]
    rows = []
    for number in numbers + [int(number) for number in rng.choice(numbers, rng.integers(0, 3))]:
        pool = numbers if rng.random() < 0.9 else [*numbers, 99]
        parents = sorted({int(p) for p in rng.choice(pool, rng.integers(0, 3))} - {number})
        rows.append((number, parents or [0]))
    return rows


def test_dpgs_score_and_categories_are_upstreams_on_random_graphs():
    rng, failed, unlike = np.random.default_rng(2), 0, 0
    for _ in range(2000):
        rows = random_graph(rng)
        kinds = {number: str(rng.choice(["entity - whole", "attribute - color", "global -"])) for number, _ in rows}
        table = [
            {
                "item_id": "0", "proposition_id": "1", "dependency": "0", "tuple": "lost",
                "question_natural_language": "?",
            },
        ]  # fmt: skip
        table += [
            {
                "item_id": "a", "proposition_id": str(number), "dependency": ",".join(map(str, parents)),
                "tuple": f"{kinds[number]} (x)", "question_natural_language": f"{number}?",
            }
            for number, parents in rows
        ]  # fmt: skip
        questions = load_items(table, "upstream")["a"]
        samples = [{number: int(rng.random() < 0.6) for number, _ in rows} for _ in range(4)]
        said = [["yes" if one[q.id] else "no" for q in questions] for one in samples]
        try:
            wanted = [upstream_score(rows, one) for one in samples]
        except KeyError:
            failed += 1
            with pytest.raises(MissingParent):
                for answers in said:
                    record(questions, answers, "upstream")
            continue
        assert not never_scored(questions)
        records = [
            {"prompt_id": "a", "sample": n, **record(questions, answers, "upstream")} for n, answers in enumerate(said)
        ]
        assert [one["score"] for one in records] == pytest.approx([score for score, _ in wanted])
        pooled = {q["id"]: value for _, q, value in counted(records, "upstream")}
        assert pooled == wanted[-1][1], "categories: the last picture, before zeroing"
        named = {q["id"]: q["category"] for _, q, _ in counted(records, "upstream")}
        assert named == {number: kinds[number].split("-")[0].strip() for number in pooled}
        unlike += any(sum(before.values()) / len(before) != score for score, before in wanted)
    assert failed > 50 and unlike > 500
