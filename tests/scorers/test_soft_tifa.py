"""Soft-TIFA and VQAScore on a tiny random Qwen3-VL: against transformers' own processor and `generate`, which is what
GenEval 2's evaluation calls, and against a restatement of its formulas."""

import importlib.util
import json
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image
from scipy.stats import gmean

import bench.scorers.workers.htgrpo_worker as htgrpo_worker
from bench.benchmarks.geneval2 import ATOMS, GenEval2, GenEval2Clean, geneval2_prompts
from bench.scorers import instructions, soft_tifa_rule
from bench.scorers.base import Unscorable
from bench.scorers.references import REFERENCES
from bench.scorers.soft_tifa import SoftTifa, SoftTifaClean, VQAScore
from bench.scorers.soft_tifa_rule import SPACE, TABLE, YES, read_spec, strings, tokens
from bench.sources import assets as sources
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from tests.scorers import tiny
from tests.scorers.ports import broken
from tests.scorers.tiny_qwen3vl import change, write_checkpoint

TEXTS = {"geneval2.question": "{} One word.", "geneval2.vqascore": 'Is "{}" seen? Say Yes or No.'}
CLOSE = 1e-6
WORKERS = Path(htgrpo_worker.__file__).parent


def line(*asked):
    """A prompt: questions with their answers and skills."""
    lists = [[question, answer] for question, answer, _ in asked]
    return json.dumps({"prompt": "p", "atom_count": 3, "vqa_list": lists, "skills": [skill for *_, skill in asked]})


PROMPTS = [
    line(("How many cups are in the image?", "three", "count"), ("Are there any cups in the image?", YES, "object")),
    line(
        ("Is the cup red?", YES, "attribute"),
        ("How many dogs are there?", "seven", "count"),
        ("Is the dog to the left of the very large and quite unusual cup?", YES, "position"),
        ("Is the dog chasing the cup?", YES, "verb"),
    ),
    line(("How many cups are in the image?", "one", "count")),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The folder and the network that wrote it."""
    folder = tmp_path_factory.mktemp("qwen3vl")
    return folder, write_checkpoint(folder)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "texts.json"
    tiny.write_json(file, TEXTS)
    return file


@pytest.fixture(autouse=True)
def stand_ins(texts, monkeypatch):
    monkeypatch.setattr(instructions, "asset", lambda name: texts)


@pytest.fixture(scope="module")
def official(checkpoint):
    """(picture, text) -> fp32 probabilities of the first token by transformers' own processor and generate."""
    from transformers import AutoTokenizer, Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    folder, net = checkpoint
    template = (folder / "chat_template.jinja").read_text()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    images = Qwen2VLImageProcessor.from_pretrained(folder)
    processor = Qwen3VLProcessor(images, tokenizer, Qwen3VLVideoProcessor(), chat_template=template)

    def ask(image, text):
        turn = {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": text}]}
        chat = processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
        inputs = processor(text=[chat], images=[image], return_tensors="pt")
        written = net.generate(
            **inputs, max_new_tokens=1, do_sample=False, output_scores=True, return_dict_in_generate=True
        )
        return torch.softmax(written.scores[0], -1)[0], tokenizer

    return ask


def load(kind, checkpoint):
    return kind.load(checkpoint[0], dtype="float32")


def test_probabilities_are_those_of_generate(checkpoint, official):
    """The picture read once for all questions, each padded to the longest, gives what one full run for each does."""
    scorer = load(SoftTifa, checkpoint)
    images, _ = tiny.pairs()
    for image, prompt in zip(images, PROMPTS):
        item = scorer.prepare(image, prompt)
        with torch.inference_mode():
            found = scorer.first_words(item)
            alone = [scorer.first_words(_only(item, place))[0] for place in range(len(item.rest))]
        for place, asked in enumerate(read_spec(prompt)):
            wanted, _ = official(image, f"{asked.text} One word.")
            assert (found[place] - wanted).abs().max() <= CLOSE
            assert (alone[place] - wanted).abs().max() <= CLOSE
        assert found.sum(-1).sub(1).abs().max() <= 1e-5
    assert found.shape[1] == checkpoint[1].config.text_config.vocab_size


def _only(item, place):
    return type(item)(item.start, item.rest[place : place + 1], item.pixels, item.grid, item.questions)


def restated(official, image, prompt, clean=False):
    """GenEval 2's evaluation.py in other words: probabilities, and whether the likeliest token is right."""
    digits = dict(zip(("one", "two", "three", "four", "five", "six", "seven"), "1234567"))
    values, hard = [], []
    for question, answer in json.loads(prompt)["vqa_list"]:
        accepted = ["Yes", "yes", " yes", " Yes"]
        if question.startswith("How many"):
            accepted = [
                answer,
                answer.title(),
                " " + answer,
                " " + answer.title(),
                digits[answer],
                " " + digits[answer],
            ]
        found, tokenizer = official(image, question + " One word.")
        ids = [tokenizer.encode(text)[0] for text in accepted]
        values.append(sum(found[token].item() for token in (set(ids) - {220} if clean else ids)))
        hard.append(tokenizer.decode([found.argmax()]).lower() in accepted)
    return values, hard


@pytest.mark.parametrize("kind", [SoftTifa, SoftTifaClean])
def test_scores_are_upstreams_formulas(kind, checkpoint, official):
    images, _ = tiny.pairs()
    judged = load(kind, checkpoint).score(images, PROMPTS)
    for image, prompt, one in zip(images, PROMPTS, judged):
        values, hard = restated(official, image, prompt, kind.clean)
        seen = one.evidence
        assert [asked["score"] for asked in seen["questions"]] == pytest.approx(values, abs=CLOSE)
        assert one.score == seen["gm"] == pytest.approx(gmean(values), rel=1e-3, abs=CLOSE)
        assert seen["am"] == pytest.approx(sum(values) / len(values), abs=CLOSE)
        assert seen["hard"] == sum(hard) / len(hard) and seen["whole"] == float(seen["gm"] >= 0.05)
        assert [asked["category"] for asked in seen["questions"]] == json.loads(prompt)["skills"]
        json.dumps(seen, allow_nan=False)


def test_the_two_ways_of_counting_differ_by_the_bare_space(checkpoint):
    image = tiny.picture(1, 96, 64)
    (upstream,), (clean,) = (load(kind, checkpoint).score([image], [PROMPTS[0]]) for kind in (SoftTifa, SoftTifaClean))
    (number, _), (without, _) = upstream.evidence["questions"], clean.evidence["questions"]
    assert number["score"] == pytest.approx(without["score"] + number["space"], abs=1e-7) and number["space"] > 0
    assert upstream.evidence["questions"][1] == clean.evidence["questions"][1]
    assert upstream.evidence["space"] == number["space"]
    said = [load(kind, checkpoint).identity() for kind in (SoftTifa, SoftTifaClean)]
    assert {key for key in said[0] if said[0][key] != said[1][key]} == {"name", "counting"}
    assert (
        said[0]["counting"] == "upstream" and said[0]["path"] == "the picture once" and len(said[0]["question"]) == 16
    )
    assert tokens("two", False)[-1] == SPACE and SPACE not in tokens("two", True) and tokens(YES, True) == TABLE[YES]


def test_vqascore_is_the_probability_of_yes(checkpoint, official):
    images, prompts = tiny.pairs()
    judged = load(VQAScore, checkpoint).score(images, prompts)
    for image, prompt, one in zip(images, prompts, judged):
        found, tokenizer = official(image, f'Is "{prompt}" seen? Say Yes or No.')
        wanted = sum(found[tokenizer.encode(text)[0]].item() for text in ("Yes", "yes", " yes", " Yes"))
        assert one.score == pytest.approx(wanted, abs=CLOSE)


@pytest.mark.parametrize("kind, prompts", [(SoftTifa, PROMPTS), (VQAScore, tiny.PROMPTS)])
def test_batches_and_a_broken_neighbour_change_nothing(kind, prompts, checkpoint):
    scorer, (images, _) = load(kind, checkpoint), tiny.pairs()
    alone = [scorer.score([image], [prompt])[0].score for image, prompt in zip(images, prompts)]
    scorer.batch_size = 2
    assert [one.score for one in scorer.score(images, prompts)] == alone
    judged = scorer.score([images[2], broken(), images[0]], [prompts[2], prompts[1], prompts[0]])
    assert [judged[place].score for place in (0, 2)] == [alone[2], alone[0]] and "cannot be decoded" in judged[1].error


@pytest.mark.parametrize("name, prompt", [("soft_tifa", PROMPTS[1]), ("vqascore_qwen3vl", "a red square")])
def test_the_reference_worker_agrees(name, prompt, checkpoint, monkeypatch):
    """What verify_scorer starts in an environment of its own, run in this one."""
    monkeypatch.setitem(sys.modules, "htgrpo_worker", htgrpo_worker)
    script = WORKERS / REFERENCES[name].script
    module = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("reference", script))
    spec.loader.exec_module(module)
    folders = [checkpoint[0]]
    told = {"weights": str(folders[0]), "device": "cpu", "dtype": "float32"} | REFERENCES[name].arguments(folders)
    identity, score = module.load(Namespace(**told))
    ours = load({"soft_tifa": SoftTifa, "vqascore_qwen3vl": VQAScore}[name], checkpoint)
    image = tiny.picture(2, 64, 64)
    ((wanted, evidence),) = score([image], [prompt])
    (judged,) = ours.score([image], [prompt])
    assert judged.score == pytest.approx(wanted, abs=CLOSE)
    assert all(judged.evidence[key] == pytest.approx(value, abs=CLOSE) for key, value in evidence.items())


def test_pictures_of_the_usual_sizes_are_not_resampled(checkpoint):
    scorer = load(SoftTifa, checkpoint)
    assert [scorer.look(Image.new("RGB", (side, side)))[2] for side in (64, 256)] == [4, 64]
    (judged,) = scorer.score([Image.new("RGB", (2000, 4))], [PROMPTS[0]])
    assert "aspect ratio" in judged.error


@pytest.mark.parametrize(
    "prompt, said",
    [
        ("a red cup", "it has no questions, which Soft-TIFA needs"),
        ('{"tag": "colors", "include": []}', "it has no questions"),
        ('{"vqa_list": [], "skills": []}', "it asks nothing"),
        ('{"vqa_list": [["Is it?", "Yes"]], "skills": []}', "it has no questions"),
        (line(("How many cups?", "nine", "count")), "answered by 'nine', but Soft-TIFA knows one, two"),
        (line(("Is it?", "No", "object")), "answered by 'No', but Soft-TIFA knows Yes"),
        (line(("Is it?", "Yes", "style")), "skills are object"),
        (line(("Is it <|im_end|>?", "Yes", "object")), "token by which the model is controlled"),
    ],
)
def test_an_unknown_prompt_is_refused_and_never_judged_by_its_text(prompt, said, checkpoint):
    (judged,) = load(SoftTifa, checkpoint).score([tiny.picture(1, 64, 64)], [prompt])
    assert judged.score is None and said in judged.error
    if "controlled" not in said:
        with pytest.raises(Unscorable, match=said[:20]):
            SoftTifa.check_prompt(prompt)


def test_another_vocabulary_or_a_penalty_is_refused(checkpoint, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in checkpoint[0].iterdir():
        (copy / file.name).symlink_to(file) if file.suffix == ".safetensors" else (copy / file.name).write_bytes(
            file.read_bytes()
        )
    with monkeypatch.context() as patch:
        patch.setitem(soft_tifa_rule.TABLE, "two", (*TABLE["two"][:4], 18, SPACE))
        with pytest.raises(UserError, match="begins '2' with token 17, but Soft-TIFA reads 18"):
            SoftTifa.load(copy)
    change(copy / "generation_config.json", repetition_penalty=1.1)
    with pytest.raises(UserError, match="repetition penalty 1.1, but Soft-TIFA is read without one"):
        SoftTifa.load(copy)
    change(copy / "config.json", model_type="qwen2_5_vl")
    with pytest.raises(UserError, match="type 'qwen2_5_vl', but soft_tifa runs here as qwen3_vl"):
        SoftTifa.load(copy)


def test_the_self_test_can_be_failed(checkpoint):
    """Random weights have no reason to pass it, and all its drawings are judged."""
    for kind, pictures in ((SoftTifa, 8), (VQAScore, 12)):
        scorer = load(kind, checkpoint)
        failures = scorer.self_test()
        assert scorer.tested_on() == pictures and failures and not any("could not judge" in one for one in failures)


def test_the_plan_is_the_identity_of_what_is_loaded(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("HTGRPO_WEIGHTS", str(tmp_path))
    for kind in (SoftTifa, SoftTifaClean, VQAScore):
        (tmp_path / kind.name).symlink_to(checkpoint[0])
        assert kind.planned_identity() == kind.load().identity() and kind.load().identity()["dtype"] == "bfloat16"


def test_without_weights_it_says_which_commit_to_download(monkeypatch):
    monkeypatch.delenv("HTGRPO_WEIGHTS", raising=False)
    monkeypatch.setattr("bench.scorers.weights._snapshots", lambda repository: [])
    with pytest.raises(UserError, match="hf download Qwen/Qwen3-VL-8B-Instruct --revision 0c351dd01ed8"):
        SoftTifa.find()


def test_the_rule_knows_the_answers_of_the_table():
    assert [len(strings(answer)) for answer in TABLE] == [4] + [6] * 7
    assert all(len(set(row)) == len(row) for row in TABLE.values())
    assert soft_tifa_rule.gm([0.5, 0.0]) == 0.0 and soft_tifa_rule.gm([0.25, 1.0]) == pytest.approx(0.5)
    assert soft_tifa_rule.scores([0.04, 0.04]) == {"gm": pytest.approx(0.04), "am": 0.04, "whole": 0.0}


def published():
    """GenEval 2's prompts; the test is skipped where they are not on this machine."""
    if sources.find(sources.named("geneval2_data")) is None:
        pytest.skip("GenEval 2's prompts are not here: python -m bench.fetch geneval2_data (CC BY-NC 4.0)")
    return geneval2_prompts()


def test_the_published_prompts():
    prompts = published()
    assert len(prompts) == len({prompt.text for prompt in prompts}) == 800
    assert Counter(prompt.category for prompt in prompts) == dict.fromkeys(ATOMS.values(), 100)
    questions = [one for prompt in prompts for one in read_spec(json.dumps(prompt.spec))]
    assert len(questions) == 6012
    assert Counter(one.skill for one in questions) == {
        "object": 2025, "count": 2025, "attribute": 1214, "position": 662, "verb": 86,
    }  # fmt: skip
    assert Counter(one.answer for one in questions) == {
        "Yes": 3987, "one": 812, "two": 179, "three": 237, "four": 204, "five": 205, "six": 204, "seven": 184,
    }  # fmt: skip
    assert all(one.counts is (one.skill == "count") for one in questions)
    assert [prompt.id for prompt in prompts[::799]] == ["000", "799"]


def test_the_benchmark_hands_the_questions_to_its_scorer(checkpoint, monkeypatch):
    prompts = [Prompt(str(i), "p", ATOMS[3], json.loads(text)) for i, text in enumerate(PROMPTS)]
    images, benchmark = tiny.pairs()[0], GenEval2()
    benchmark._scorer = load(SoftTifa, checkpoint)
    records = benchmark.judge(images, prompts)
    wanted = benchmark._scorer.score(images, PROMPTS)
    assert [one["score"] for one in records] == [one.score for one in wanted]
    assert set(benchmark.axes) <= set(records[0]["evidence"]) and next(iter(benchmark.axes)) == "gm"
    assert (benchmark.picture_set, benchmark.scale, benchmark.published) == ("geneval2", 100.0, 800)
    assert "CC BY-NC 4.0" in benchmark.note and GenEval2Clean().picture_set == "geneval2"
    with pytest.raises(UserError, match="prompts of its own: for others write vqascore_qwen3vl@geneval2"):
        GenEval2.on("geneval2")
    with pytest.raises(UserError, match="no 'train' prompts"):
        benchmark.prompts("train")
