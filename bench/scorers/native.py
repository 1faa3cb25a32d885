"""What the scorers in this process share: pictures are prepared one by one, so that a broken one costs only itself,
then judged in batches."""

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bench.scorers.base import Judged, Scorer, Unscorable
from bench.scorers.weights import locate, revision
from bench.scorers.wire import plain
from htgrpo.base.errors import UserError
from htgrpo.base.versions import libraries

Item = TypeVar("Item")
NETWORK = ("torch", "torchvision", "transformers", "tokenizers", "pillow")
"""What a network that runs here is made of, and what prepares its input."""


class Native(Scorer, Generic[Item]):
    """A scorer whose network runs here. A subclass says how one picture is prepared and how a batch of prepared ones is
    judged."""

    official_dtype: ClassVar[torch.dtype]
    libraries: ClassVar[tuple[str, ...]] = NETWORK
    batch_size: int = 16  # pictures pushed through the network at once

    def __init__(self, folders: Sequence[Path], device: str | torch.device, dtype: torch.dtype):
        self._folders, self.device, self.dtype = tuple(folders), torch.device(device), dtype

    @cached_property
    def _revisions(self) -> list[str]:
        return [revision(folder, repository) for folder, repository in zip(self._folders, self.repositories)]

    def identity(self) -> dict[str, Any]:
        """Beside the common keys "base_revisions": the commits of the other repositories that were read. A folder's
        revision is a sha256 over its files, computed when it is first asked for."""
        return self._identity_with(self._revisions, self.dtype)

    @classmethod
    def planned_identity(cls) -> dict[str, Any]:
        folders = locate(cls.name, cls.repositories, None)
        revisions = [revision(folder, repository) for folder, repository in zip(folders, cls.repositories)]
        return cls._identity_with(revisions, cls.official_dtype)

    @classmethod
    def _identity_with(cls, revisions: list[str], dtype: torch.dtype) -> dict[str, Any]:
        own, *others = revisions
        bases = {"base_revisions": dict(zip((one.id for one in cls.repositories[1:]), others))} if others else {}
        return {
            "name": cls.name,
            "version": cls.version,
            "weights_revision": own,
            "dtype": str(dtype).removeprefix("torch."),
            "libraries": libraries(cls.libraries),
        } | bases

    @abstractmethod
    def prepare(self, image: Image.Image, prompt: str) -> Item:
        """One picture of 8 bits a channel and its prompt -> what `judge` takes, on the CPU. Raises Unscorable."""

    @abstractmethod
    def judge(self, items: list[Item]) -> list[Judged]:
        """The judgements of at most `batch_size` prepared pictures, in order. Gradients are off."""

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Judged]:
        self.check_pairs(images, prompts)
        parts = [slice(start, start + self.batch_size) for start in range(0, len(images), self.batch_size)]
        judged: list[Judged] = []
        # one thread, since tokenizers are not safe with more: it makes the next batch ready while the network is at this one
        with ThreadPoolExecutor(1) as beside:
            coming: Future | None = None
            for part in [*parts, None]:
                now, coming = coming, beside.submit(self._prepare_batch, images[part], prompts[part]) if part else None
                judged += self._judge_batch(*now.result()) if now else []
        return judged

    def _prepare_batch(
        self, images: Sequence[Image.Image], prompts: Sequence[str]
    ) -> tuple[dict[int, Item], dict[int, Judged]]:
        """What can be judged of a batch, and the judgements of what cannot, by place."""
        ready: dict[int, Item] = {}
        failed: dict[int, Judged] = {}
        for index, (image, prompt) in enumerate(zip(images, prompts)):
            try:
                ready[index] = self._prepare(image, prompt)
            except Unscorable as error:
                failed[index] = Judged.failed(str(error))
        return ready, failed

    def _judge_batch(self, ready: dict[int, Item], failed: dict[int, Judged]) -> list[Judged]:
        judged = dict(failed)
        if ready:
            with torch.inference_mode():
                judged |= zip(ready, self.judge(list(ready.values())), strict=True)
        return [judged[index] for index in sorted(judged)]

    def _prepare(self, image: Image.Image, prompt: str) -> Item:
        if not isinstance(image, Image.Image):
            raise Unscorable(f"not a picture but {type(image).__name__}")
        if self.needs_prompt and not isinstance(prompt, str):
            raise Unscorable(f"{self.name} needs a prompt, got {type(prompt).__name__}")
        return self.prepare(plain(image), prompt)


def padded(rows: Sequence[list[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token rows of unlike lengths -> ids, filled up with `pad` on the right, and mask, both int64 [B, longest]."""
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=pad)
    mask = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True)
    return ids.to(device), mask.to(device)


def dtype_of(dtype: Any, official: torch.dtype) -> torch.dtype:
    """`dtype` (a torch.dtype or its name) or the official one. Raises UserError for what is no floating-point dtype."""
    if dtype is None:
        return official
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise UserError(f"unknown dtype {str(dtype)!r}: give float32, bfloat16 or float16")
    return found
