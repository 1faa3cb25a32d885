"""Log-probabilities of image codes under contexts: rows are packed, the head runs on the slots and columns that are
asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from htgrpo.interface import RolloutGroup
from htgrpo.policies.llada import Network, Packed
from htgrpo.policies.policy import Policy, laid_out, sent


@dataclass(frozen=True)
class Tokens:
    """M tokens of one group, sorted by the context row that judges them.

    contexts: int64 [U, N]. row, slot, code: int64 [M]. start: tokens of row u are start[u]:start[u + 1].
    cuts: row indices between which a batch may be split (tokens that share a ratio stay together).
    """

    group: RolloutGroup
    contexts: Tensor
    row: Tensor
    slot: Tensor
    code: Tensor
    start: list[int]
    cuts: list[int]


def sort_tokens(
    group: RolloutGroup, contexts: Tensor, row: Tensor, slot: Tensor, code: Tensor, unit: Tensor | None = None
) -> tuple[Tokens, Tensor]:
    """Tokens in row order, and the order itself: int64 [M], sorted[j] = given[order[j]]. `unit` int64 [M] ties rows
    together."""
    cuts = list(range(len(contexts) + 1))
    if unit is not None:
        component = components(row, unit, len(contexts))
        rearranged = component.argsort(stable=True)
        contexts, row, component = contexts[rearranged], rearranged.argsort()[row], component[rearranged]
        cuts = [0, *(component.diff().nonzero()[:, 0] + 1).tolist(), len(contexts)]
    order = row.argsort(stable=True)
    start = torch.searchsorted(row[order], torch.arange(len(contexts) + 1)).tolist()
    return Tokens(group, contexts, row[order], slot[order], code[order], start, cuts), order


def components(row: Tensor, unit: Tensor, rows: int) -> Tensor:
    """int64 [rows]: rows that share a unit, directly or through others, get one number."""
    from scipy.sparse import coo_matrix  # which takes time that most methods need not spend
    from scipy.sparse.csgraph import connected_components

    size = rows + int(unit.max()) + 1
    edges = coo_matrix(([1] * len(row), (row.numpy(), (unit + rows).numpy())), shape=(size, size))
    labels = connected_components(edges, directed=False)[1][:rows]
    return torch.unique(torch.as_tensor(labels, dtype=torch.long), return_inverse=True)[1]


@dataclass(frozen=True)
class Piece:
    """Rows first:last of `tokens`, which come as number `index` of a list."""

    index: int
    tokens: Tokens
    first: int
    last: int

    @property
    def span(self) -> slice:
        """The tokens of these rows."""
        return slice(self.tokens.start[self.first], self.tokens.start[self.last])


def batches(policy: Policy, work: list[Tokens], tokens_per_forward: int) -> Iterator[list[Piece]]:
    """All rows of all groups in batches of at most `tokens_per_forward` packed tokens (one indivisible part may exceed
    it, and is then a batch of its own)."""
    batch: list[Piece] = []
    used = 0
    for index, tokens in enumerate(work):
        length = packed_length(policy, tokens.group)
        for first, last in zip(tokens.cuts, tokens.cuts[1:], strict=False):
            cost = (last - first) * length
            if batch and used + cost > tokens_per_forward:
                yield batch
                batch, used = [], 0
            if batch and batch[-1].index == index:
                batch[-1] = Piece(index, tokens, batch[-1].first, last)
            else:
                batch.append(Piece(index, tokens, first, last))
            used += cost
    if batch:
        yield batch


def packed_length(policy: Policy, group: RolloutGroup) -> int:
    """Tokens of one context with its prompt."""
    return len(group.prompt) + len(policy.backbone.image_block(group.grid))


@dataclass(frozen=True)
class LogProbs:
    """Tokens of a batch, judged. log_prob: [M] in fp32 or fp64. log_table: [P, C], log-probabilities over all codes at
    the distinct (row, slot) pairs. pair: the pair of every token, int64 [M], on the host."""

    log_prob: Tensor
    log_table: Tensor
    pair: Tensor

    def pairs_of(self, tokens: slice) -> tuple[slice, Tensor]:
        """The pairs of one piece's tokens, which lie next to each other, and each token's place among them."""
        own = self.pair[tokens].numpy()
        first, last = (int(own.min()), int(own.max()) + 1) if len(own) else (0, 0)
        return slice(first, last), self.pair[tokens] - first


def judge(policy: Policy, net: Network, batch: list[Piece]) -> LogProbs:
    """Log-probabilities of a batch's tokens over the image columns, from the log-sum-exp on in fp32 (fp64 stays
    fp64). What is to be done is worked out on the host, so that nothing waits for the device."""
    ids, at, offset = [], [], 0
    lengths: tuple[int, ...] = ()
    for piece in batch:
        tokens, span = piece.tokens, piece.span
        own, each, slots = laid_out(
            policy.backbone,
            [tokens.group.prompt] * (piece.last - piece.first),
            tokens.contexts[piece.first : piece.last],
            tokens.group.grid,
        )
        ids.append(own)
        lengths += each
        at.append(slots[tokens.row[span] - piece.first, tokens.slot[span]] + offset)
        offset += len(own)
    positions, pair = (torch.from_numpy(one) for one in np.unique(torch.cat(at).numpy(), return_inverse=True))
    packed = Packed(sent(torch.cat(ids), policy.device), lengths)
    logits = net(packed, sent(positions, policy.device), policy.backbone.image_columns)
    log_table = (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)
    code = torch.cat([piece.tokens.code[piece.span] for piece in batch])
    return LogProbs(log_table[sent(pair, policy.device), sent(code, policy.device)], log_table, pair)
