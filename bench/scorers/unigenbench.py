"""UniGenBench++'s judge (github CodeGoat24/UniGenBench @ 49d0bcebb0b9, eval/src/eval_common.py; arXiv 2510.18701): a
vision-language model on an OpenAI-compatible server, which writes for every testpoint of a prompt whether it holds.

Upstream's client sets no temperature, so that its judge may sample, and asks again up to a hundred times where an
answer cannot be read; here the temperature is 0 and a picture is asked about once. Upstream leaves out pictures whose
answer cannot be read; here they are failures, and said to be.
"""

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.scorers.base import Expectation, Judged, Unscorable
from bench.scorers.drawings import SHAPES, drawing
from bench.scorers.instructions import instruction
from bench.scorers.openai_server import TEMPERATURE, OpenAIServer
from bench.scorers.servers import MODEL

ASSET = "unigenbench_strings"


@dataclass(frozen=True)
class Asked:
    """A prompt, its testpoints, and what each means for this prompt."""

    prompt: str
    testpoints: list[str]
    descriptions: list[str]


def read_spec(text: str) -> Asked:
    """The testpoints of a prompt given as JSON. Raises Unscorable where it has none, or unknown ones."""
    try:
        spec = json.loads(text)
        asked = Asked(spec["prompt"], list(map(str, spec["testpoints"])), list(map(str, spec["descriptions"])))
    except (ValueError, KeyError, TypeError) as error:
        raise Unscorable('it has no testpoints {"prompt", "testpoints", "descriptions"}') from error
    if not asked.testpoints or len(asked.testpoints) != len(asked.descriptions):
        raise Unscorable(f"it has {len(asked.testpoints)} testpoints and {len(asked.descriptions)} descriptions")
    return asked


def question(asked: Asked) -> str:
    """The whole instruction. Raises Unscorable for a testpoint without a definition, UserError without the asset."""
    known = instruction("unigenbench.definitions", ASSET)
    if unknown := [name for name in asked.testpoints if name not in known]:
        raise Unscorable(f"it has the testpoint {unknown[0]!r}, but UniGenBench knows {', '.join(known)}")
    return instruction("unigenbench.instruction", ASSET).format(
        prompt=asked.prompt,
        testpoint=asked.testpoints,
        explanation=_listed("definitions_head", zip(asked.testpoints, map(known.get, asked.testpoints))),
        test_explanation=_listed("descriptions_head", zip(asked.testpoints, asked.descriptions)),
    )


def _listed(head: str, pairs: Any) -> str:
    lines = "".join(f"\n{name}: {text}" for name, text in pairs)
    return f"{instruction(f'unigenbench.{head}', ASSET)}:\u300c{lines}\n\u300d"


def read(answer: str, count: int) -> tuple[list[str], list[bool]]:
    """What is said of each of `count` testpoints, and whether it holds: only the number 1 says so. Raises Unscorable for
    an answer that cannot be read."""
    said, scores = (_list(answer, name) for name in ("analysis", "score"))
    if not len(said) == len(scores) == count:
        raise Unscorable(f"the answer analyses {len(said)} and scores {len(scores)} of {count} testpoints")
    return [str(one) for one in said], [one == 1 for one in scores]


def _list(answer: str, name: str) -> Sequence[Any]:
    found = re.search(f"<{name}>(.*?)</{name}>", answer, re.DOTALL)
    if found is None:
        raise Unscorable(f"the answer has no <{name}>: {' '.join(answer.split())[-200:]!r}")
    try:
        value = ast.literal_eval(found[1].strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise Unscorable(f"the answer's <{name}> is no list ({' '.join(str(error).split())[:100]})") from error
    if not isinstance(value, list | tuple):
        raise Unscorable(f"the answer's <{name}> is no list but {type(value).__name__}")
    return value


class UniGenBenchServer(OpenAIServer):
    """The part of a prompt's testpoints that hold. Its prompts are JSON (read_spec). Evidence: "testpoints", of each
    "name", "holds" and "analysis"; `unparsed` in an error says that the answer could not be read."""

    name, title, version = "unigenbench", "UniGenBench++'s judge", "1"
    reads_spec = True
    published_range = "0..1"
    assets = (ASSET,)
    served_as = MODEL
    start = f"vllm serve CodeGoat24/UniGenBench-EvalModel-qwen3vl-32b-v1 --served-model-name {MODEL} --port 8080"

    def identity(self) -> dict[str, Any]:
        """Beside the server's keys "temperature"."""
        return super().identity() | {"temperature": TEMPERATURE}

    @classmethod
    def check_prompt(cls, prompt: str) -> None:
        read_spec(prompt)

    def question(self, prompt: str) -> str:
        return question(read_spec(prompt))

    def read(self, prompt: str, answer: str) -> Judged:
        asked = read_spec(prompt)
        try:
            said, holds = read(answer, len(asked.testpoints))
        except Unscorable as error:
            return Judged.failed(f"unparsed: {error}")
        told = [
            {"name": name, "holds": hold, "analysis": text} for name, hold, text in zip(asked.testpoints, holds, said)
        ]
        return Judged.of(sum(holds) / len(holds), {"testpoints": told})

    def expectations(self) -> list[Expectation]:
        """A drawing holds its own colour and shape, and not another one's."""
        captions = list(SHAPES)
        return [
            Expectation(
                f"the drawing of {one} shows that rather than {other}",
                (drawing(one), _about(one)),
                (drawing(other), _about(one)),
            )
            for one, other in zip(captions, captions[1:] + captions[:1])
        ]


def _about(caption: str) -> str:
    _, colour, shape = caption.split()
    names, told = ["Attribute - Color", "Attribute - Shape"], [f"the colour is {colour}", f"the shape is a {shape}"]
    return json.dumps({"prompt": caption, "testpoints": names, "descriptions": told})
