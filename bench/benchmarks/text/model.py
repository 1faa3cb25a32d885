"""What lm-eval calls: a policy that reads and writes text."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from bench.benchmarks.text.generation import are_greedy, generate
from bench.benchmarks.text.likelihood import Masks, Pair, log_likelihoods, masks_for
from bench.benchmarks.text.reader import Reader
from bench.benchmarks.text.settings import Decoding, TextSettings
from bench.benchmarks.text.words import LAYOUT, Words
from htgrpo.base.errors import UserError
from htgrpo.base.rng import Key, generator
from htgrpo.parallel.ranks import ALONE, Ranks
from htgrpo.policies.policy import Policy

EMBEDDED = (
    "embedded world: this policy knows the words of its own prompts and was never taught to write; its numbers here prove "
    "the path and say nothing about language"
)
RANDOM = "random weights: these numbers prove the path and say nothing about language"


class PolicyLM(LM):
    """`policy` as lm-eval knows a model. ranks: processes that share the requests; each gets all answers, and lm-eval
    is told of one process only. on_progress: gets "reading" or "writing" and the part of it that is done, in place of
    bars on a terminal. Raises UserError for settings that the policy has no part for.

    What is random is keyed by the request: masks by (seed, context, length of the answer), so that the choices of one
    question are judged under equal masks, and tokens by (seed, context, repeat). Batch size, order, limits and other
    tasks change no result.
    """

    def __init__(
        self,
        policy: Policy,
        settings: TextSettings | None = None,
        ranks: Ranks = ALONE,
        on_progress: Callable[[str, float], None] | None = None,
    ):
        super().__init__()
        self.policy, self.settings, self.ranks, self.on_progress = (
            policy,
            settings or TextSettings(),
            ranks,
            on_progress,
        )
        self.words = Words(policy, self.settings.chat)
        if self.settings.chat:
            self.words.chat([])  # raises where no chat can be made, before anything is computed
        columns = slice(None) if self.settings.head == "full" else slice(0, policy.backbone.image_offset)
        self.reader = Reader(
            policy.net, policy.backbone.mask, columns, policy.device, self.settings.batch, self.settings.cfg_scale
        )
        self.truncated = 0

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(log-likelihood in nats, whether it is the greedy answer) of every (context, continuation)."""
        pairs = [self._fitted(*self.words.pair(*request.args)) for request in requests]
        mine = self.ranks.share(pairs)
        asked = [pair for pair in mine if pair[1]]
        likelihoods = iter(log_likelihoods(self.reader, self._masked(asked)))
        greedy = iter(are_greedy(self.reader, asked))
        found = [(next(likelihoods), next(greedy)) if answer else (0.0, True) for _, answer in mine]
        return [(value, verdict) for value, verdict in self.ranks.together(found)]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Log-likelihood of every whole text, in windows of max_length of which the first follows the id that text
        begins with."""
        tokenizer, begin = self.policy.tokenizer, self.words.begin
        found = []
        for request in self.ranks.share(requests):
            ids = tokenizer.encode(tokenizer.plain(request.args[0]))
            windows = map(make_disjoint_window, get_rolling_token_windows(ids, begin, self.settings.max_length - 1, 1))
            pairs = [(tuple(i for i in context if i is not None), tuple(text)) for context, text in windows]
            found.append(sum(log_likelihoods(self.reader, self._masked(pairs, quiet=True))))
        return self.ranks.together(found)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The answer to every context, up to the first of its request's `until` strings or end of text."""
        repeats: Counter[int] = Counter()
        tasks = []
        for request in requests:
            tasks.append(self._task(request.args[0], dict(request.args[1]), repeats[id(request)]))
            repeats[id(request)] += 1
        mine = self.ranks.share(tasks)
        texts: dict[int, str] = {}
        progress = self._bar("writing", len(mine))
        for decoding in dict.fromkeys(task.decoding for task in mine):
            rows = [row for row, task in enumerate(mine) if task.decoding == decoding]
            for first in range(0, len(rows), self.reader.batch):
                part = rows[first : first + self.reader.batch]
                group = [mine[row] for row in part]

                def ended(row: int, answer: list[int], group: list[_Task] = group) -> bool:
                    return group[row].finish(answer, self.words)[1]

                answers = generate(
                    self.reader,
                    [task.prompt for task in group],
                    [generator(*task.key) for task in group],
                    decoding,
                    ended,
                )
                texts |= {
                    row: task.finish(answer, self.words)[0]
                    for row, task, answer in zip(part, group, answers, strict=True)
                }
                progress.update(len(part))
        progress.close()
        return self.ranks.together([texts[row] for row in range(len(mine))])

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The messages as one context in MMaDA's layout. Raises UserError unless the settings say that contexts are
        chats."""
        if not self.settings.chat:
            raise UserError(
                "contexts of this model are plain text: make it with chat=True (--chat) to apply a chat template"
            )
        return self.words.chat(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The layout as a template, for the records."""
        return LAYOUT if chat_template else None

    @property
    def tokenizer_name(self) -> str:
        """What names the tokenizer and layout of contexts."""
        return f"{self.policy.backbone.name}-{self.policy.sha256[:12]}"

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval's results record about the model: its own fields, and whether the numbers can mean anything."""
        weights = list(self.policy.net.parameters())
        embedded = self.policy.source.config is None
        return {
            "model_num_parameters": sum(weight.numel() for weight in weights),
            "model_dtype": str(weights[0].dtype),
            "model_revision": self.policy.source.revision,
            "model_sha": self.policy.sha256,
            "backbone": self.policy.backbone.name,
            "world": "embedded" if embedded else "natural",
            "random_weights": self.policy.random_weights,
            "not_claimed": EMBEDDED if embedded else RANDOM if self.policy.random_weights else None,
            "contexts_cut": self.truncated,
        }

    def _bar(self, what: str, total: int) -> "_Bar | tqdm":
        return (
            tqdm(total=total, desc=what, disable=None)
            if self.on_progress is None
            else _Bar(what, total, self.on_progress)
        )

    def _masked(self, pairs: list[Pair], quiet: bool = False) -> Iterator[tuple[Pair, Masks]]:
        progress = tqdm(disable=True) if quiet else self._bar("reading", len(pairs))
        for prompt, answer in pairs:
            key = ("text", "masks", self.settings.seed, prompt, len(answer))
            yield (prompt, answer), masks_for(len(answer), self.settings.samples, generator(*key))
            progress.update(1)
        progress.close()

    def _fitted(self, prompt: tuple[int, ...], answer: tuple[int, ...]) -> Pair:
        if len(answer) >= self.settings.max_length:
            raise UserError(
                f"an answer has {len(answer)} tokens, but context and answer have room for {self.settings.max_length}: "
                "raise max_length"
            )
        return self._last(prompt, self.settings.max_length - len(answer)), answer

    def _last(self, prompt: tuple[int, ...], room: int) -> tuple[int, ...]:
        self.truncated += len(prompt) > room
        return prompt[-room:]

    def _task(self, context: str, options: dict[str, Any], repeat: int) -> "_Task":
        """A request with its options read. Raises UserError for options that this decoder has no part for."""
        until, most, decoding = self.settings.asked(options)
        prompt = self._last(self.words.context(context), self.settings.max_length - decoding.gen_length)
        stops = self.words.ends | {token for text in until if (token := self.words.token(text)) is not None}
        return _Task(prompt, decoding, until, stops, most, ("text", "generate", self.settings.seed, prompt, repeat))


@dataclass
class _Bar:
    """What is done of `total`, told to `tell`; called like a tqdm."""

    what: str
    total: int
    tell: Callable[[str, float], None]
    done: int = field(default=0, init=False)

    def update(self, count: int) -> None:
        self.done += count
        self.tell(self.what, self.done / self.total)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class _Task:
    """A request to write: prompt, decoding, strings and ids that end the answer, its most tokens, the key of its
    generator."""

    prompt: tuple[int, ...]
    decoding: Decoding
    until: tuple[str, ...]
    stops: frozenset[int]
    most: int
    key: tuple[Key, ...]

    def finish(self, answer: list[int], words: Words) -> tuple[str, bool]:
        """The text of `answer` (whole blocks of it) up to where it ends, and whether it ends there."""
        end = next((slot for slot, token in enumerate(answer) if token in self.stops), len(answer))
        text = words.text(answer[: min(end, self.most)])
        cut = min((text.find(string) for string in self.until if string in text), default=len(text))
        return text[:cut], end < len(answer) or cut < len(text)
