"""The processes of one `accelerate launch`, called ranks: they gather what each has found out, and they stop together.

Everything here happens on a group of its own on the CPU, beside the one that adds up gradients. Before ranks exchange
anything they meet: each says whether it is done, has work or has failed. So a rank that failed is heard of at the next
meeting, whatever the others have come for, and no rank waits for one that will never come.
"""

import functools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from accelerate import Accelerator, PartialState
from torch import Tensor

from htgrpo.base.errors import EXIT_INCOMPLETE, UserError
from htgrpo.policies.llada import Network, Packed

DONE, WORK, FAILED = 0, 1, 2
"""What a rank says when ranks meet; the greatest is heard."""
WAIT = timedelta(days=7)
"""How long ranks wait for each other: a rank may be at a slow reward, and one that died is noticed at once."""
BUCKET = 1 << 25
"""Numbers per message when gradients are added up."""


class Stopped(Exception):
    """Another rank has failed; the phase this rank is in tells why."""


class Broken(SystemExit):
    """Ranks cannot be brought together again: this process ends, and the launcher ends the others. Carries the exit
    code."""

    def __init__(self, sentence: str):
        super().__init__(EXIT_INCOMPLETE)
        print(f"error: {sentence}", file=sys.stderr, flush=True)


@functools.cache
def _group() -> dist.ProcessGroup:
    return cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=WAIT))  # every rank is a member


class Ranks:
    """The ranks as one of them sees them. index: its number. count: of all; with one, nothing here does or costs
    anything."""

    def __init__(self, state: Accelerator | PartialState | None = None):
        self.index: int = state.process_index if state else 0
        self.count: int = state.num_processes if state else 1
        self.device = state.device if state else torch.device("cpu")
        self.inside = False
        self._told: Exception | None = None
        if self.count > 1:
            _group()

    @property
    def is_main(self) -> bool:
        """Whether this rank writes the files that exist once."""
        return self.index == 0

    def share(self, items: list) -> list:
        """The items this rank does: every count-th."""
        return items[self.index :: self.count]

    def gather(self, value: Any) -> list:
        """What every rank passes, in rank order. value: anything JSON knows (NaN too). All ranks return together.

        Must happen within a phase, which tells of a rank that fails instead of coming here."""
        if self.count == 1:
            return [value]
        if self._meet(DONE) == FAILED:
            raise Stopped
        return [json.loads(text) for text in self._exchange(json.dumps(value))]

    def wait(self) -> None:
        """Until all ranks have come here. Must happen within a phase, as `gather`."""
        self.gather(None)

    def together(self, items: list) -> list:
        """All ranks' results, in the order of the list whose `share` they belong to."""
        parts = self.gather(items)
        return [parts[i % self.count][i // self.count] for i in range(sum(map(len, parts)))]

    @contextmanager
    def phase(self, net: "Network | None" = None, learning: bool = False) -> Iterator[None]:
        """Work that all ranks end together: when one raises, all do, every other one a UserError that quotes it.

        net: the network called within, each rank as often as it needs (see InStep). learning: calls are followed by a
        backward pass. Phases may lie within one another."""
        if self.count == 1:
            yield
            return
        failure = None
        try:
            yield
        except Exception as error:
            if error is self._told:
                raise
            if isinstance(net, InStep) and not isinstance(error, Stopped) and (learning or self.inside):
                sentence = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                raise Broken(f"process {self.index} failed while all shared a computation: {sentence}") from error
            failure = error
        state = FAILED if isinstance(failure, Stopped) else self._meet(FAILED if failure else DONE)
        while state == WORK:
            assert isinstance(net, InStep)  # only its calls are work for others
            net.idle(learning)
            state = self._meet(DONE)
        if state == FAILED:
            self._told = self._explain(failure)
            raise self._told

    def turn(self) -> None:
        """Tells that this rank has one more call of a sharded network to make."""
        if self._meet(WORK) == FAILED:
            raise Stopped

    def add(self, tensors: list[Tensor]) -> None:
        """Adds up tensors over ranks, in place, on the device they lie on. All ranks pass the same shapes and
        dtypes."""
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            dist.all_reduce(flat)
            for tensor, part in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def _explain(self, failure: Exception | None) -> Exception:
        """This rank's own failure, or a UserError that quotes the first one elsewhere."""
        own = None
        if failure is not None and not isinstance(failure, Stopped):
            own = [f"unexpected {type(failure).__name__}: {failure}", EXIT_INCOMPLETE]
            if isinstance(failure, UserError):
                own = [failure.message, failure.exit_code]
        told = [json.loads(text) for text in self._exchange(json.dumps(own))]
        if failure is not None and own is not None:
            return failure
        index, (message, exit_code) = next((i, each) for i, each in enumerate(told) if each is not None)
        return UserError(f"{message} (in process {index} of {self.count})", exit_code)

    def _meet(self, state: int) -> int:
        flag = torch.tensor(state)
        self._collective(dist.all_reduce, flag, dist.ReduceOp.MAX)
        return int(flag)

    def _exchange(self, text: str) -> list[str]:
        """Every rank's text, in rank order."""
        data = torch.frombuffer(bytearray(text.encode("utf-8")), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.long) for _ in range(self.count)]
        self._collective(dist.all_gather, sizes, torch.tensor([len(data)]))
        longest = max(int(size) for size in sizes)
        parts = [torch.zeros(longest, dtype=torch.uint8) for _ in sizes]
        self._collective(dist.all_gather, parts, torch.nn.functional.pad(data, (0, longest - len(data))))
        return [bytes(part[: int(size)].numpy()).decode("utf-8") for part, size in zip(parts, sizes, strict=True)]

    def _collective(self, operation, *arguments: Any) -> None:
        try:
            operation(*arguments, group=_group())
        except RuntimeError as error:
            raise Broken(
                "another process of this launch has ended: finished work is kept, run the same command again"
            ) from error


ALONE = Ranks()
"""One process."""


class InStep:
    """A sharded network, or a view of it. A call is work for every rank, since each holds a part of every weight: ranks
    call it together, and a rank with nothing left to compute computes nothing of use (`idle`) until all are done
    (Ranks.phase)."""

    def __init__(self, net: Network, ranks: Ranks):
        self.net, self.ranks = net, ranks

    def __call__(self, packed: Packed, at: Tensor | None = None, columns: slice = slice(None)) -> Tensor:
        """As LLaDA.forward."""
        self.ranks.turn()
        return self._call(torch.is_grad_enabled(), packed, at, columns)

    def idle(self, learning: bool) -> None:
        """A forward of one token, and with `learning` its backward pass, which adds nothing to any gradient."""
        logits = self._call(
            learning, Packed(torch.zeros(1, dtype=torch.long, device=self.ranks.device), (1,)), None, slice(0, 1)
        )
        if learning:
            (0.0 * logits.sum()).backward()

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """This rank's parts of the weights."""
        return self.net.parameters()

    def _call(self, learning: bool, *arguments: Any) -> Tensor:
        # Inference mode is left because weights gathered in it could not take part in a later backward pass.
        self.ranks.inside = True
        with torch.inference_mode(False), torch.set_grad_enabled(learning):
            logits = self.net(*arguments)
        self.ranks.inside = False
        return logits


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive tensors of one dtype, up to BUCKET numbers each."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or sum(t.numel() for t in bucket) + tensor.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
