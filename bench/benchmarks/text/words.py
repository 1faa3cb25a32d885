"""Text and ids: what a policy's tokenizer makes of prompts, answers and chats, and what its ids say in words."""

from dataclasses import dataclass
from functools import cached_property

from bench.benchmarks.text.settings import check_chats
from htgrpo.policies.policy import Policy
from htgrpo.policies.tokenizer import SPECIALS

BEGIN = "<|startoftext|>"
ENDS = ("<|endoftext|>", "<|eot_id|>")
"""Strings whose token ends an answer."""
HEADER = ("<|start_header_id|>", "<|end_header_id|>")
LAYOUT = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n"
)
"""That layout as a template, for the records; `Words.chat` is what makes it."""


@dataclass(frozen=True)
class Words:
    """The text side of `policy`. chat_contexts: contexts are chats, whose special strings are special tokens; in
    everything else they are ordinary text."""

    policy: Policy
    chat_contexts: bool = False

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return self.policy.tokenizer.library.get_vocab()

    @cached_property
    def begin(self) -> int | None:
        """The id that text begins with, where the tokenizer has one."""
        return self._vocabulary.get(BEGIN)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Ids that end an answer."""
        return frozenset(self._vocabulary[text] for text in ENDS if text in self._vocabulary)

    @cached_property
    def _silent(self) -> frozenset[int]:
        return frozenset(self._vocabulary[text] for text in SPECIALS if text in self._vocabulary)

    def token(self, text: str) -> int | None:
        """The id of the special string `text`; None for ordinary text."""
        return self._vocabulary.get(text) if text.startswith("<|") and text.endswith("|>") else None

    def context(self, text: str) -> tuple[int, ...]:
        """Ids of a context. An empty one is the id that text begins with."""
        ids = tuple(self.policy.tokenizer.encode(self._plain(text)))
        return ids or (() if self.begin is None else (self.begin,))

    def pair(self, context: str, answer: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of a context and of the answer that follows it, by lm-eval's rule: spaces that end the context belong to
        the answer (but not the line break that ends a chat's header), and both are tokenised together. An answer that
        this leaves nothing of (its letters became part of the context's last token) is tokenised by itself."""
        encode = self.policy.tokenizer.encode
        opened = self.chat_contexts and context.endswith(f"{HEADER[1]}\n")
        stripped = context if opened else context.rstrip()
        context, answer = stripped, context[len(stripped) :] + self.policy.tokenizer.plain(answer)
        if not context:
            return self.context(""), tuple(encode(answer))
        ids = self.context(context)
        whole = encode(self._plain(context + answer))
        return ids, tuple(whole[len(ids) :] or encode(answer))

    def text(self, ids: list[int]) -> str:
        """The words of `ids`: special tokens and image codes, which tokenizers do not know, are left out."""
        return self.policy.tokenizer.library.decode([i for i in ids if i not in self._silent], skip_special_tokens=True)

    def chat(self, messages: list[dict[str, str]], answer_follows: bool = True) -> str:
        """`messages` ({"role", "content"}) as one context: MMaDA's layout, up to where the assistant's answer begins,
        or with answer_follows=False to within the last message. Special strings in contents are ordinary text. Raises
        UserError for a backbone whose layout is not known, and for a tokenizer without its tokens."""
        missing = [text for text in (BEGIN, *HEADER, ENDS[-1]) if text not in self._vocabulary]
        check_chats(self.policy.backbone.name, f"its tokenizer lacks {', '.join(missing)}" if missing else "")
        plain = self.policy.tokenizer.plain
        parts = [f"{HEADER[0]}{plain(m['role'])}{HEADER[1]}\n{plain(m['content'].strip())}{ENDS[-1]}" for m in messages]
        text = BEGIN + "".join(parts)
        return f"{text}{HEADER[0]}assistant{HEADER[1]}\n" if answer_follows else text.removesuffix(ENDS[-1])

    def _plain(self, text: str) -> str:
        return text if self.chat_contexts else self.policy.tokenizer.plain(text)
