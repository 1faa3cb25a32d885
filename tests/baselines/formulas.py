"""The formulas of sheet methods2 as lists of terms (see oracle.Term), one token at a time. Only what is random (which
slots are hidden) is taken from the method under test; everything else is worked out here, in plain Python."""

import math
import statistics

from htgrpo.interface import HIDDEN
from tests.htgrpo.oracle import Term, advantages


def z_scores(group, images):
    """{image: z-score} over the images that have a reward."""
    scores = advantages(group.reward.tolist())
    return {i: scores[i] for i in images}


def own_advantage(group, images, leave_one_out=False):
    """{image: reward - mean}, of the others with `leave_one_out`."""
    reward = {i: float(group.reward[i]) for i in images}
    if leave_one_out:
        return {i: reward[i] - statistics.fmean(reward[j] for j in images if j != i) for i in images}
    return {i: reward[i] - statistics.fmean(reward.values()) for i in images}


def given_advantage(method, group, images, leave_one_out=False):
    """The method's own advantages, or Nones for the z-scores that everybody has."""
    if method.advantage == "own":
        return own_advantage(group, images, leave_one_out)
    return dict.fromkeys(images)


def empty(group):
    """The context in which nothing is shown."""
    return (HIDDEN,) * group.codes.shape[1]


def hide(group, image, hidden):
    """An image's codes with the slots `hidden` hidden."""
    return tuple(HIDDEN if s in hidden else c for s, c in enumerate(group.codes[image].tolist()))


def hidden_rows(group, contexts):
    """The set of hidden slots of every context row."""
    return [{s for s, c in enumerate(row) if c == HIDDEN} for row in contexts.tolist()]


def d1_terms(method, group, images, updates):
    """Sheet 2.1: everything under the empty context, 1/(G N)."""
    slots, a = group.codes.shape[1], given_advantage(method, group, images)
    terms = [Term(i, s, empty(group), 1 / (len(images) * slots), advantage=a[i]) for i in images for s in range(slots)]
    return [terms] * method.updates_per_rollout


def wd1_terms(method, group, images, updates):
    """Sheet 2.3: omega+ - omega- times the log-likelihood."""
    slots = group.codes.shape[1]
    a = own_advantage(group, images) if method.advantage == "own" else z_scores(group, images)
    up = {i: math.exp(a[i] / method.tau) for i in images}
    down = {i: math.exp(-a[i] / method.tau) for i in images}
    pull = {i: up[i] / sum(up.values()) - down[i] / sum(down.values()) for i in images}
    if method.sides == "positive":
        pull = {i: up[i] / sum(up.values()) - 1 / len(images) for i in images}
    share = 1.0 if method.reduction == "sum" else 1 / slots
    terms = [
        Term(i, s, empty(group), share, 1.0, 1 / (len(images) * slots), advantage=pull[i], objective="likelihood")
        for i in images
        for s in range(slots)
    ]
    return [terms] * method.updates_per_rollout


def coupled_terms(method, group, images, updates):
    """Sheet 2.2: (l_empty + q l_half) / 2, q = 1/t in the half and 1/(1 - t) outside; t is read off the update."""
    slots, a, result = group.codes.shape[1], given_advantage(method, group, images, True), []
    share = 1 / (len(images) * slots)
    for u in updates:
        pair = method.views == "pair"
        halves = hidden_rows(group, u.contexts if pair else u.contexts[1:])
        terms = []
        for r, i in enumerate(images):
            half = halves[r]
            assert half | halves[r + len(images)] == set(range(slots)) and not half & halves[r + len(images)]
            for s in range(slots):
                hidden = half if s in half else halves[r + len(images)]
                context = hide(group, i, hidden)
                if pair:
                    terms.append(Term(i, s, context, share, advantage=a[i]))
                    continue
                t = rate_of(u, halves)
                q = 1 / t if s in half else 1 / (1 - t)
                terms.append(Term(i, s, empty(group), share / 2, unit=(i, s), coef=1 / 2, advantage=a[i]))
                terms.append(Term(i, s, context, share / 2, unit=(i, s), view=1, coef=q / 2, advantage=a[i]))
        result.append(terms)
    return result


def rate_of(update, halves):
    """The rate of a coupled update: of a coefficient 1/(2 t) in the first image's half, or 1/(2 (1 - t)) outside."""
    inside, coef = halves[0], update.coef[1, 0].tolist()
    return 1 / (2 * coef[min(inside)]) if inside else 1 - 1 / (2 * coef[0])


def halves_of(method, group, images, update):
    """(sample, image, hidden slots of the half and of the rest) of ESPO's and GDSD's updates."""
    rows, size = hidden_rows(group, update.contexts), len(images)
    for j in range(method.samples):
        for r, i in enumerate(images):
            yield j, i, rows[2 * size * j + r], rows[2 * size * j + size + r]


def espo_terms(method, group, images, updates):
    """Sheet 2.4: L = 1/2 [(N+1)/x sum_M l + (N+1)/(N-x) sum_rest l], averaged over samples; one ratio an image of L / N."""
    slots, a, result = group.codes.shape[1], given_advantage(method, group, images, True), []
    for u in updates:
        terms = []
        for j, i, half, rest in halves_of(method, group, images, u):
            for hidden in (half, rest):
                coef = (slots + 1) / (2 * method.samples * slots * max(1, len(hidden)))
                share = 1 / (len(images) * method.samples * slots)
                terms += [
                    Term(i, s, hide(group, i, hidden), share, unit=i, view=j, coef=coef, advantage=a[i]) for s in hidden
                ]
        result.append(terms)
    return result


def gdsd_terms(method, group, images, updates):
    """Sheet 2.6: (clamp(d, log(1 -+ eps)) / N - psi A)^2, d = half the summed log-ratios, summed over samples."""
    slots, a, result = group.codes.shape[1], given_advantage(method, group, images, True), []
    clip = ((1 - method.eps) ** (1 / slots), (1 + method.eps) ** (1 / slots))
    for u in updates:
        terms = []
        for j, i, half, rest in halves_of(method, group, images, u):
            for hidden in (half, rest):
                share = 1 / (len(images) * slots)
                terms += [
                    Term(
                        i, s, hide(group, i, hidden), share, method.psi, share / method.samples, (j, i), j,
                        1 / (2 * slots), advantage=a[i], objective="square", clip=clip,
                    )
                    for s in hidden
                ]  # fmt: skip
        result.append(terms)
    return result


def spg_terms(method, group, images, updates):
    """Sheet 2.5: A > 0 raises the mean over masks of the mean over hidden slots; A <= 0 lowers the mixture with
    mean over the union of (1/b) log (1/m) sum_j p_j^b / t_j."""
    slots, m, result = group.codes.shape[1], method.samples, []
    a = own_advantage(group, images) if method.advantage == "own" else z_scores(group, images)
    upper = {"mix": method.omega, "eubo": 1.0, "elbo": 0.0, "zero": 0.0}[method.negative]
    lower = 0.0 if method.negative == "zero" else 1 - upper
    for u in updates:
        rows, terms = hidden_rows(group, u.contexts), []
        for r, i in enumerate(images):
            masks = [rows[j * len(images) + r] for j in range(m)]
            union = set.union(*masks)
            for j, mask in enumerate(masks):
                for s in mask:
                    context, mean = hide(group, i, mask), 1 / (len(images) * m * len(mask))
                    part = 1.0 if a[i] > 0 else lower
                    terms.append(
                        Term(
                            i,
                            s,
                            context,
                            part * mean,
                            1.0,
                            mean,
                            view=j,
                            coef=1.0,
                            advantage=a[i],
                            objective="likelihood",
                        )
                    )
                    if a[i] <= 0 and upper:
                        views = sum(s in other for other in masks)
                        share = upper / (len(images) * len(union) * views)
                        coef = 1 / (m * len(mask) / slots)
                        terms.append(
                            Term(
                                i, s, context, share, 1.0, 0.0, ("upper", i, s), m + j, coef, method.power, a[i],
                                "likelihood",
                            )
                        )  # fmt: skip
        result.append(terms)
    return result


def step_terms(group, images, steps, level, clip, advantage):
    """Sheets 2.9 and 2.11: each image's tokens revealed at its step, under what was revealed before; one ratio."""
    terms = []
    for i in images:
        reveal = group.reveal_step[i].tolist()
        support = [s for s, step in enumerate(reveal) if step == steps[i]]
        context = hide(group, i, {s for s, step in enumerate(reveal) if step >= steps[i]})
        coef = 1.0 if level == "product" else 1 / len(support)
        share = 1 / (len(images) * len(support))
        terms += [Term(i, s, context, share, unit=i, coef=coef, clip=clip, advantage=advantage[i]) for s in support]
    return terms


def egspo_terms(method, group, images, updates):
    """The steps of highest mean entropy, ties by time, from the start again where they are fewer than K."""
    order = {}
    for i in images:
        reveal, entropy = group.reveal_step[i].tolist(), group.entropy[i].double().tolist()
        mean = {
            t: statistics.fmean(e for e, step in zip(entropy, reveal, strict=True) if step == t) for t in set(reveal)
        }
        order[i] = sorted(mean, key=lambda t, mean=mean: (-mean[t], t))
    a, clip = given_advantage(method, group, images), (1 - method.low, 1 + method.high)
    return [
        step_terms(group, images, {i: order[i][k % len(order[i])] for i in images}, method.level, clip, a)
        for k in range(method.updates_per_rollout)
    ]


def xing_terms(method, group, images, updates):
    """The first K steps, or K from the first to the last."""
    count, chosen = method.updates_per_rollout, {}
    for i in images:
        steps = sorted(set(group.reveal_step[i].tolist()))
        chosen[i] = [steps[k % len(steps)] for k in range(count)]
        if method.visit == "uniform" and 1 < count <= len(steps):
            chosen[i] = [steps[k * (len(steps) - 1) // (count - 1)] for k in range(count)]
    return [
        step_terms(group, images, {i: chosen[i][k] for i in images}, method.level, (0.9, 1.2), dict.fromkeys(images))
        for k in range(count)
    ]


def focus_terms(method, group, images, updates):
    """Sheet 2.7: as many slots hidden as after the k-th chosen step, mean over them, no clip."""
    reveal = {i: group.reveal_step[i].tolist() for i in images}
    steps, result = focus_steps(method, group, images), []
    for u, step in zip(updates, steps, strict=True):
        terms = []
        for i, hidden in zip(images, hidden_rows(group, u.contexts), strict=True):
            after = {s for s, t in enumerate(reveal[i]) if t > step}
            assert len(hidden) == len(after) and (method.mask == "random" or hidden == after)
            share = 1 / (len(images) * len(hidden))
            terms += [Term(i, s, hide(group, i, hidden), share, clip=(0.0, math.inf)) for s in hidden]
        result.append(terms)
    return result


def focus_steps(method, group, images):
    """The K steps of highest score, in time; ties to the earlier."""
    usable = min(max(group.reveal_step[i].tolist()) for i in images)
    if method.select == "agreement":
        usable = min(usable, group.predicted.shape[1] - 2)
        agree = [
            statistics.fmean(
                float(group.predicted[i, t, s] == group.codes[i, s])
                for i in images
                for s in range(group.codes.shape[1])
            )
            for t in range(usable + 1)
        ]
        score = [abs(agree[t + 1] - agree[t]) for t in range(usable)]
    elif method.select == "entropy":
        drawn = [
            [
                float(group.entropy[i, s])
                for i in images
                for s in range(group.codes.shape[1])
                if group.reveal_step[i, s] == t
            ]
            for t in range(usable)
        ]
        score = [statistics.fmean(values) if values else -1.0 for values in drawn]
    else:
        return [k * usable // method.updates_per_rollout for k in range(method.updates_per_rollout)]
    return sorted(sorted(range(usable), key=lambda t: (-round(score[t], 12), t))[: method.updates_per_rollout])


def strata_terms(method, group, images, updates):
    """Sheet 2.12: each token under the image with its own stratum hidden, 1/(G N)."""
    slots, result = group.codes.shape[1], []
    for u in updates:
        rows, terms = hidden_rows(group, u.contexts), []
        for r, i in enumerate(images):
            parts = rows[r * method.strata : (r + 1) * method.strata]
            assert sorted(s for part in parts for s in part) == list(range(slots))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
            terms += [
                Term(i, s, hide(group, i, part), 1 / (len(images) * slots), float(u.weight[r, s]))
                for part in parts
                for s in part
            ]
        result.append(terms)
    return result


def d2_terms(method, group, images, updates):
    """Sheet 2.8: segments cut at floor(j T / S); a token under what was revealed before its segment, 1/(G N)."""
    length = 1 + max(max(group.reveal_step[i].tolist()) for i in images)
    cuts = [0, *(j * length // method.segments for j in range(1, method.segments))]
    terms, a = [], given_advantage(method, group, images)
    for i in images:
        reveal = group.reveal_step[i].tolist()
        for s, step in enumerate(reveal):
            start = max(cut for cut in cuts if cut <= step)
            hidden = {other for other, t in enumerate(reveal) if t >= start}
            terms.append(Term(i, s, hide(group, i, hidden), 1 / (len(images) * len(reveal)), advantage=a[i]))
    return [terms] * method.updates_per_rollout


def cj_terms(method, group, images, updates):
    """Sheet 2.10: every step, (1/T) sum over steps of the mean over all images' tokens revealed at it."""
    everything = [step for i in images for step in group.reveal_step[i].tolist()]
    terms, a = [], given_advantage(method, group, images)
    for i in images:
        reveal = group.reveal_step[i].tolist()
        for s, step in enumerate(reveal):
            context = hide(group, i, {other for other, t in enumerate(reveal) if t >= step})
            terms.append(Term(i, s, context, 1 / (len(set(everything)) * everything.count(step)), advantage=a[i]))
    return [terms] * method.updates_per_rollout
