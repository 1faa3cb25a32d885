"""UniPercept (arXiv 2512.21675): an InternVL model asked for a picture's aesthetics, quality, and structure and
texture, without a prompt. Each score is the expectation over 0..100 of the word it would answer with, as PyPI
unipercept-reward 1.0.3 computes it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from PIL import Image
from torch import Tensor

from bench.scorers.base import Expectation, Judged
from bench.scorers.drawings import quality
from bench.scorers.instructions import instruction
from bench.scorers.internvl import network_config, official
from bench.scorers.native import Native, dtype_of
from bench.scorers.pixels import IMAGENET_MEAN, IMAGENET_STD
from bench.scorers.weights import Repository, build, fill, locate, open_shards
from htgrpo.base.errors import UserError
from htgrpo.policies.model_files import read_json
from htgrpo.policies.weights import TensorFiles

ANSWERS = tuple(
    first + chr(ord("a") + number)
    for first, count in (("a", 26), ("c", 25), ("d", 25), ("e", 25))
    for number in range(count)
)

if TYPE_CHECKING:
    from transformers import InternVLForConditionalGeneration
"""The word for every score from 0 to 100: aa..az, ca..cy, da..dy, ea..ey."""
TEMPLATE = "internvl2_5"


class UniPercept(Native[Tensor]):
    """UniPercept. Evidence: "iaa" (aesthetics), "iqa" (quality) and "ista" (structure and texture), each 0..100.
    `score` is their mean, which is ours: the authors name no single number.

    The expectation is taken in the weights' dtype, which the identity calls the "official" last step: in bf16 scores
    above 64 move in steps of 0.5, above 32 of 0.25.
    """

    name, title, version = "unipercept", "UniPercept", "1"
    needs_prompt, published_range = False, "0..100"
    reward_scale = 0.01
    axes = ("iaa", "iqa", "ista")
    assets = ("scorer_prompts",)
    repositories = (
        Repository(
            "Thunderbolt215215/UniPercept",
            ("config.json", "vocab.json", "merges.txt", "tokenizer_config.json"),
            ("model.safetensors",),
            sharded=True,
            note="after accepting its terms on its page on the hub",
        ),
    )
    official_dtype = torch.bfloat16
    batch_size = 8

    def __init__(
        self,
        net: "InternVLForConditionalGeneration",
        tokenizer: Any,
        system: str | None,
        folders: list[Path],
        device: str,
        dtype: torch.dtype,
    ):
        from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize, ToTensor

        super().__init__(folders, device, dtype)
        self.net = net
        config: Any = net.config  # whose parts are typed as what they may be given as
        side = config.vision_config.image_size[0]
        self.pixels = Compose(
            [Resize((side, side), InterpolationMode.BICUBIC), ToTensor(), Normalize(IMAGENET_MEAN, IMAGENET_STD)]
        )
        self.answers = torch.tensor(answer_ids(tokenizer), device=device)
        system = instruction("unipercept.system_message_internvl2_5") if system is None else system
        seen = "<img>" + "<IMG_CONTEXT>" * net.config.image_seq_length + "</img>"
        chat, question, names = (instruction(f"unipercept.{key}") for key in ("chat_template", "question", "desc"))
        self.questions = []
        for axis in self.axes:
            text = chat.format(system_message=system, question=question.format(desc=names[axis])).replace(
                "<image>", seen, 1
            )
            self.questions.append(torch.tensor([tokenizer(text)["input_ids"]], device=device))

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """See Scorer.load."""
        from transformers import InternVLForConditionalGeneration, Qwen2Tokenizer

        dtype, (folder,) = dtype_of(dtype, cls.official_dtype), locate(cls.name, cls.repositories, weights)
        published = read_json(folder / "config.json")
        if published.get("template") != TEMPLATE:
            raise UserError(
                f"config.json in {str(folder)!r} asks for the conversation template {published.get('template')!r}, "
                f"but only {TEMPLATE} is known: use the published UniPercept"
            )
        tokenizer = Qwen2Tokenizer.from_pretrained(folder)
        config: Any = network_config(published, tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"))
        # as the published code computes it; in bf16 others differ by a step
        config.vision_config._attn_implementation = "eager"
        net = build(lambda: InternVLForConditionalGeneration(config))
        fill(net, TensorFiles(open_shards(folder, cls.repositories[0])), official, device, lambda key: dtype)
        return cls(net, tokenizer, published.get("system_message"), [folder], device, dtype)

    @classmethod
    def _identity_with(cls, revisions: list[str], dtype: torch.dtype) -> dict[str, Any]:
        return super()._identity_with(revisions, dtype) | {"last_step": "official"}

    def prepare(self, image: Image.Image, prompt: str) -> Tensor:
        """Pixels float32 [3, H, W]; the whole picture, whatever its proportions, made square."""
        return self.pixels(image.convert("RGB"))

    def judge(self, items: list[Tensor]) -> list[Judged]:
        seen = self.net.get_image_features(pixel_values=torch.stack(items).to(self.device, self.dtype))
        seen = seen if isinstance(seen, Tensor) else seen.pooler_output
        axes = [[expectation(row) for row in self.logits(seen, question)] for question in self.questions]
        return [Judged.of(sum(row) / len(row), dict(zip(self.axes, row))) for row in zip(*axes)]

    def logits(self, seen: Tensor, question: Tensor) -> Tensor:
        """The answers' logits [B, 101] for pictures whose features are [B, tokens, width] and one question's ids [1,
        L]."""
        ids = question.expand(len(seen), -1)
        embedded = self.net.get_input_embeddings()(ids)
        places = (ids == self.net.config.image_token_id).unsqueeze(-1).expand_as(embedded)
        embedded = embedded.masked_scatter(places, seen.to(embedded.dtype))
        last = self.net.model.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state[:, -1]
        return self.net.lm_head(last)[:, self.answers]

    def expectations(self) -> list[Expectation]:
        return quality()


def answer_ids(tokenizer: Any) -> list[int]:
    """The token of every answer. Raises UserError unless each is one entry of the vocabulary."""
    known = tokenizer.get_vocab()
    for word in ANSWERS:
        if word not in known:
            raise UserError(
                f"UniPercept answers with the token {word!r}, which its tokenizer does not know: use the published "
                "files"
            )
    return [known[word] for word in ANSWERS]


def expectation(logits: Tensor) -> float:
    """The expected score of one picture from the logits [101] of the answers; a picture at a time, since rounding may
    be coarse."""
    return (logits.softmax(-1) @ torch.arange(101, device=logits.device).to(logits.dtype)).item()
