"""Brute force: the network and the objective written out from the fact sheets' formulas, one sequence and one token at
a time.

Nothing here shares work between rollouts, contexts or updates, and nothing imports the engine.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention, silu

from htgrpo.interface import HIDDEN, RolloutGroup
from htgrpo.policies.llada import LLaDA
from htgrpo.policies.policy import Policy


def reference_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root-mean-square norm: in fp32 (fp64 stays), cast back, and only then times the weight."""
    wide = x if x.dtype == torch.float64 else x.to(torch.float32)
    return weight * (wide * torch.rsqrt((wide * wide).mean(-1, keepdim=True) + eps)).to(x.dtype)


def reference_rotate(x: Tensor, theta: float, dtype: torch.dtype) -> Tensor:
    """Half-split rotary embedding of one head [S, head_dim]: pair (j, j + half) turns by position x theta^(-2j /
    head_dim)."""
    half = x.shape[1] // 2
    inverse = torch.tensor([theta ** -(j / half) for j in range(half)], dtype=torch.float32)
    angle = (torch.arange(len(x), dtype=torch.float32)[:, None] * inverse).to(dtype)
    a, b = x.to(dtype)[:, :half], x.to(dtype)[:, half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], 1).to(x.dtype)


def reference_logits(
    net: LLaDA,
    ids: list[int],
    theta: float = 500_000.0,
    causal: bool = False,
    rope_dtype: torch.dtype | None = None,
    fused: bool = False,
    mask: list[bool] | None = None,
) -> Tensor:
    """Logits [S, V] of one sequence, with explicit attention, or the library's where its rounding in bf16 is wanted
    (`fused`). mask: upstream's pair mask, i attends to j where both are True. theta, causal and rope_dtype are there to
    be set wrong."""
    w = {name.removeprefix("model.transformer."): value for name, value in net.named_parameters()}
    size, h = net.size, w["wte.weight"][torch.tensor(ids)]
    wide = torch.float64 if h.dtype == torch.float64 else torch.float32
    head = size.d_model // size.n_heads
    for i in range(size.n_layers):
        at = f"blocks.{i}."
        n = reference_norm(h, w[at + "attn_norm.weight"], size.rms_norm_eps)
        q, k, v = (n @ w[f"{at}{name}_proj.weight"].T for name in "qkv")
        mixed = []
        for first in range(0, size.d_model, head):
            part = slice(first, first + head)
            qh, kh = (reference_rotate(x[:, part], theta, rope_dtype or wide) for x in (q, k))
            if fused:
                mixed.append(scaled_dot_product_attention(qh[None, None], kh[None, None], v[None, None, :, part])[0, 0])
                continue
            score = (qh.to(wide) @ kh.to(wide).T) / math.sqrt(head)
            if causal:
                score = score.masked_fill(torch.ones_like(score).triu(1).bool(), -math.inf)
            if mask is not None:
                seen = torch.tensor(mask)
                score = score.masked_fill(~(seen[:, None] & seen), torch.finfo(score.dtype).min)
            mixed.append((score.softmax(-1) @ v[:, part].to(wide)).to(h.dtype))
        h = h + torch.cat(mixed, 1) @ w[at + "attn_out.weight"].T
        n = reference_norm(h, w[at + "ff_norm.weight"], size.rms_norm_eps)
        h = h + (silu(n @ w[at + "ff_proj.weight"].T) * (n @ w[at + "up_proj.weight"].T)) @ w[at + "ff_out.weight"].T
    return reference_norm(h, w["ln_f.weight"], size.rms_norm_eps) @ w["ff_out.weight"].T


def sequence(
    policy: Policy, prompt: tuple[int, ...], codes: list[int], grid: tuple[int, int]
) -> tuple[list[int], list[int]]:
    """Ids of the whole sequence and the positions of the image slots, HIDDEN codes as the mask id."""
    b, (rows, columns) = policy.backbone, grid
    ids, slots = [*prompt, *b.image_open], []
    for row in range(rows):
        for code in codes[row * columns : (row + 1) * columns]:
            slots.append(len(ids))
            ids.append(b.mask if code == HIDDEN else b.image_offset + code)
        ids.extend(b.row_close)
    return [*ids, *b.image_close], slots


def log_table(policy: Policy, net: LLaDA, prompt: tuple[int, ...], codes: list[int], grid: tuple[int, int]) -> Tensor:
    """Log-probabilities [N, codebook] of all slots given the visible `codes`: a softmax over the image columns only."""
    ids, slots = sequence(policy, prompt, codes, grid)
    return reference_logits(net, ids)[slots][:, policy.backbone.image_columns].log_softmax(-1)


@dataclass(frozen=True)
class Term:
    """What the formulas say of one token under one context: its image and slot, the codes it is judged under, its parts
    of the policy term and of the KL term, its weight, and what it shares a ratio with (its own key: nothing). view:
    which of a token's contexts. coef: its factor in the unit's sum (default: the unit's mean). power, objective, clip:
    the unit's. advantage: the image's, where the method has its own."""

    image: int
    slot: int
    context: tuple[int, ...]
    share: float
    weight: float = 1.0
    kl_share: float | None = None
    unit: object = None
    view: int = 0
    coef: float | None = None
    power: float = 0.0
    advantage: float | None = None
    objective: str = "ratio"
    clip: tuple[float, float] | None = None


def advantages(rewards: list[float], ddof: int = 1, delta: float = 1e-5) -> list[float]:
    """Z-scores over the finite rewards; NaN stays NaN."""
    finite = [r for r in rewards if math.isfinite(r)]
    spread = statistics.stdev(finite) if ddof == 1 else statistics.pstdev(finite)
    return [(r - statistics.fmean(finite)) / (spread + delta) for r in rewards]


@dataclass
class Seen:
    """What a brute-force run met, to prove that a test is not idle."""

    loss: float = 0.0
    tokens: int = 0
    clipped: int = 0
    ratios: tuple[float, ...] = ()


def group_loss(
    policy: Policy,
    nets: tuple[LLaDA, LLaDA, LLaDA | None],
    group: RolloutGroup,
    terms: list[Term],
    seen: Seen,
    clip: float = 0.2,
    beta: float = 0.02,
    kl: str = "k3",
    ddof: int = 1,
) -> Tensor:
    """-J of one group: sum of -share min(r A, clip(r) A) + beta kl_share kl. nets: current, old, reference."""
    advantage = advantages(group.reward.tolist(), ddof)
    tables: dict[tuple[int, tuple[int, ...]], list[Tensor | None]] = {}
    units: dict[object, list[tuple[Term, Tensor, Tensor]]] = {}
    for t in terms:
        where = (t.image, t.context)
        if where not in tables:  # one forward of each network per (rollout, context)
            current = log_table(policy, nets[0], group.prompt, list(t.context), group.grid)
            with torch.no_grad():
                tables[where] = [
                    current,
                    *(n and log_table(policy, n, group.prompt, list(t.context), group.grid) for n in nets[1:]),
                ]
        code = int(group.codes[t.image, t.slot])
        if t.share > 0:
            new, old, _ = tables[where]
            units.setdefault(_key(t), []).append((t, new[t.slot, code], old[t.slot, code]))
    loss = torch.zeros((), dtype=torch.float64)
    for t in terms:
        new, _, ref = tables[t.image, t.context]
        code = int(group.codes[t.image, t.slot])
        if t.share > 0:
            a = (advantage[t.image] if t.advantage is None else t.advantage) * t.weight
            low, high = t.clip or (1 - clip, 1 + clip)
            loss = loss - t.share * _objective(t, a, units[_key(t)], low, high, seen)
        if beta:
            gap = ref[t.slot, code] - new[t.slot, code]
            penalty = gap.exp() - gap - 1
            if kl == "exact":
                penalty = sum(new[t.slot, c].exp() * (new[t.slot, c] - ref[t.slot, c]) for c in range(new.shape[1]))
            loss = loss + beta * (t.share if t.kl_share is None else t.kl_share) * penalty
    return loss


def _objective(t: Term, a: float, unit: list, low: float, high: float, seen: Seen) -> Tensor:
    """What the term's unit maximises, written out as sheet methods2 section 1 does."""
    coefs = [1 / len(unit) if one.coef is None else one.coef for one, _, _ in unit]
    now, before = ([pair[which] for pair in unit] for which in (1, 2))
    if t.power > 0:
        total, total_old = (
            torch.log(sum(c * torch.exp(t.power * x) for c, x in zip(coefs, xs, strict=True))) / t.power
            for xs in (now, before)
        )
    else:
        total, total_old = (sum(c * x for c, x in zip(coefs, xs, strict=True)) for xs in (now, before))
    seen.tokens += 1
    if t.objective == "likelihood":
        return a * total
    s = total - total_old
    seen.ratios += (math.exp(s.item()),)
    if t.objective == "square":
        bounded = min(max(s.item(), math.log(low) if low else -math.inf), math.log(high))
        seen.clipped += bounded != s.item()
        return -((s - a) ** 2) if bounded == s.item() else -((bounded - a) ** 2) + 0.0 * s
    ratio = s.exp()
    bounded = min(max(ratio.item(), low), high)
    binds = bounded * a < ratio.item() * a
    seen.clipped += binds
    return bounded * a + 0.0 * ratio if binds else ratio * a


def _key(term: Term) -> object:
    return (term.view, term.image, term.slot) if term.unit is None else ("unit", term.unit)


def brute_force(
    policy: Policy,
    groups: list[RolloutGroup],
    terms: Callable[[RolloutGroup], list[list[Term]]],
    reference: LLaDA | None = None,
    lr: float = 0.1,
    kl_ref: str = "ref",
    **config,
) -> tuple[list[Tensor], Seen]:
    """The gradient of every update, weights moving by plain descent in between; `terms(group)` gives one list per
    update, images numbered as in the whole group, failed ones never named."""

    def copy() -> LLaDA:
        net = LLaDA(policy.net.size).double()
        net.load_state_dict(policy.net.state_dict())
        return net

    net, old, seen, gradients = copy(), copy().requires_grad_(False), Seen(), []
    nets = (net, old, old if kl_ref == "old" else reference)
    for update in zip(*map(terms, groups), strict=True):
        net.zero_grad()
        loss = sum(group_loss(policy, nets, g, t, seen, **config) for g, t in zip(groups, update, strict=True)) / len(
            groups
        )
        loss.backward()
        seen.loss += loss.item()
        gradients.append(torch.cat([w.grad.flatten() for w in net.parameters()]))
        with torch.no_grad():
            for weight in net.parameters():
                weight -= lr * weight.grad
    return gradients, seen
