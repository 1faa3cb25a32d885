"""The methods' formulas as lists of terms, one token at a time (see oracle.Term). Only the random subsets are taken
from the method under test; contexts, normalisations, weights and units are worked out here."""

import math
from collections.abc import Callable

from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update
from tests.htgrpo.oracle import Term
from tests.htgrpo.tiny import method_generator


def terms_of(method: Method, formula: Callable) -> Callable[[RolloutGroup], list[list[Term]]]:
    """`formula(method, group, images, updates)` for oracle.brute_force: images maps rows of the updates to images of
    the group."""

    def terms(group: RolloutGroup) -> list[list[Term]]:
        images = [g for g, reward in enumerate(group.reward.tolist()) if math.isfinite(reward)]
        updates = method.updates(group.kept(), method_generator(group))
        return formula(method, group, images, updates)

    return terms


def scripted_terms(method: Method, group: RolloutGroup, images: list[int], updates: list[Update]) -> list[list[Term]]:
    """An update read literally."""
    result = []
    for u in updates:
        terms = []
        share = u.share.reshape(-1, *u.share.shape[-2:])

        def read(values, v, r, slot, share=share):
            if values is None:
                return None
            return values.expand(share.shape if values.ndim <= share.ndim else values.shape)[v, r, slot].item()

        for v in range(len(share)):
            for r, image in enumerate(images):
                for slot in range(group.codes.shape[1]):
                    at = v, r, slot
                    unit = read(u.unit, *at)
                    terms.append(
                        Term(
                            image,
                            slot,
                            tuple(u.contexts[read(u.row, *at)].tolist()),
                            read(u.share, *at),
                            read(u.weight, *at),
                            read(u.share if u.kl_share is None else u.kl_share, *at),
                            unit,
                            v,
                            read(u.coef, *at),
                            read(u.power, *at) or 0.0,
                            read(u.advantage, *at),
                            u.objective,
                            u.clip,
                        )
                    )
        result.append([term for term in terms if term.share or term.kl_share])
    return result


def ht_terms(method: Method, group: RolloutGroup, images: list[int], updates: list[Update]) -> list[list[Term]]:
    """HT-GRPO: sheet section 3. w = lambda_s on ranks up to floor(alpha N), lambda_r beyond, in every stage; 1/G .
    1/|M_g|."""
    slots, result = group.codes.shape[1], []
    cut = math.floor(method.alpha * slots)
    ranks = group.rank.tolist()
    if method.ties == "raster":
        orders = [
            sorted(range(slots), key=lambda s, steps=steps: (steps[s], s)) for steps in group.reveal_step.tolist()
        ]
        ranks = [[order.index(s) + 1 for s in range(slots)] for order in orders]
    for u in updates:
        chosen = {image: [s for s in range(slots) if u.share[r, s] > 0] for r, image in enumerate(images)}
        total = sum(map(len, chosen.values()))
        terms = []
        for image, support in chosen.items():
            rank, codes = ranks[image], group.codes[image].tolist()
            for slot in support:
                structural = rank[slot] <= cut
                context = [HIDDEN] * slots
                if method.context == "structure_revealed" and not structural:
                    context = [c if r <= cut else HIDDEN for c, r in zip(codes, rank, strict=True)]
                share = 1 / total if method.loss_norm == "token_mean" else 1 / (len(images) * len(support))
                weight = 1.0 if method.credit == "none" else method.lambda_s if structural else method.lambda_r
                if method.credit == "stage_mean":
                    weights = [
                        method.lambda_s if ranks[i][s] <= cut else method.lambda_r for i in images for s in chosen[i]
                    ]
                    weight /= sum(weights) / len(weights)
                terms.append(Term(image, slot, tuple(context), share, weight))
        result.append(terms)
    return result


def mask_terms(method: Method, group: RolloutGroup, images: list[int], updates: list[Update]) -> list[list[Term]]:
    """MaskGRPO: sheet section 4. Context = kept codes; loss on the remasked tokens, w = 1; in the published code the
    loss mask is the K masks added up, over which it takes the token mean."""
    slots = group.codes.shape[1]
    masks = [
        {image: [int(u.contexts[u.row[r, s], s]) == HIDDEN for s in range(slots)] for r, image in enumerate(images)}
        for u in updates
    ]
    result = []
    for mask in masks:
        counts = {i: [int(m) for m in mask[i]] for i in images}
        if getattr(method, "mask_agg", "current") == "all_iterations":
            counts = {i: [sum(m[i][s] for m in masks) for s in range(slots)] for i in images}
        total = sum(map(sum, counts.values()))
        terms = []
        for i in images:
            context = tuple(HIDDEN if hidden else c for hidden, c in zip(mask[i], group.codes[i].tolist(), strict=True))
            scale = total if method.loss_norm == "token_mean" else len(images) * sum(counts[i])
            unit = i if getattr(method, "ratio", "token") == "sequence" else None
            terms += [Term(i, s, context, counts[i][s] / scale, unit=unit) for s in range(slots) if counts[i][s]]
        result.append(terms)
    return result


uni_terms = mask_terms
"""UniGRPO: sheet section 5. As MaskGRPO; the ratio may be one per image."""


def trace_map(steps: list[int], shrink: int) -> list[int]:
    """Sheet section 6: every `shrink` consecutive distinct step values are replaced by the largest of them."""
    distinct = sorted(set(steps))
    blocks = [distinct[i : i + shrink] for i in range(0, len(distinct), shrink)]
    return [next(max(b) for b in blocks if step in b) for step in steps]


def trace_terms(method: Method, group: RolloutGroup, images: list[int], updates: list[Update]) -> list[list[Term]]:
    """TraceGRPO: sheet section 6. Group q sees the codes of steps before q. token: every visited token counts equally;
    group: the mean over rows of each row's own mean. The published KL: a sum over tokens over the number of rows."""
    maps = {i: trace_map(group.reveal_step[i].tolist(), method.shrink) for i in images}
    result = []
    for u in updates:
        rows = {
            (i, q): [s for s, step in enumerate(maps[i]) if step == q] for i in images for q in sorted(set(maps[i]))
        }
        position = {image: r for r, image in enumerate(images)}
        visited = {key: members for key, members in rows.items() if u.share[position[key[0]], members[0]] > 0}
        tokens = sum(map(len, visited.values()))
        terms = []
        for (i, q), members in visited.items():
            context = tuple(c if step < q else HIDDEN for c, step in zip(group.codes[i].tolist(), maps[i], strict=True))
            share = 1 / tokens if method.norm == "token" else 1 / (len(visited) * len(members))
            kl_share = share if method.kl_norm == "share" else 1 / len(visited)
            terms += [Term(i, s, context, share, kl_share=kl_share) for s in members]
        result.append(terms)
    return result
