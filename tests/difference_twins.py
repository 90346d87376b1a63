"""Plain, slow float64 twins of the difference rules, and a whole BERT classifier passed through by hand.

Nothing here uses textlrp or autograd. Each twin takes what an operation reads in the run on the text and in the run on
the reference, and the multipliers of its result, and returns the multipliers of what it reads. Each is written from its
equation, by loops over numbers, and obeys ``sum(c_in d_in) = sum(c_out d_out)``, with ``d`` for the differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

#: Differences below the cube root of the type's epsilon are near-equal.
NEAR = 2.0 ** (-52 / 3)


def numbers(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# -- functions of each element ----------------------------------------------------------------------------------------


def secant(function: Callable[[float], float], slope: Callable[[float], float], x: Tensor, r: Tensor, c: Tensor):
    """``c (f(x) - f(r)) / (x - r)``, near-equal ``c f'((x + r) / 2)`` (Shrikumar et al. 2017, section 3.5.2)."""
    received = []
    for a, b, m in zip(x.flatten().tolist(), r.flatten().tolist(), c.flatten().tolist(), strict=True):
        near = abs(a - b) <= NEAR
        received.append(m * (slope((a + b) / 2) if near else (function(a) - function(b)) / (a - b)))
    return numbers(received).view(x.shape)


def gelu(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


def gelu_slope(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2))) + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def tanh_slope(x: float) -> float:
    return 1 - math.tanh(x) ** 2


# -- products and quotients -------------------------------------------------------------------------------------------


def product(a: Tensor, a_r: Tensor, b: Tensor, b_r: Tensor, c: Tensor):
    """``c_a = c (b + b_r) / 2`` and ``c_b = c (a + a_r) / 2``."""
    return c * (b + b_r) / 2, c * (a + a_r) / 2


def matmul(a: Tensor, a_r: Tensor, b: Tensor, b_r: Tensor, c: Tensor):
    """The same for each product of two entries in ``y_ik = sum_j a_ij b_jk``."""
    of_a, of_b = torch.zeros_like(a), torch.zeros_like(b)
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            for k in range(b.shape[1]):
                of_a[i, j] += c[i, k] * (b[j, k] + b_r[j, k]) / 2
                of_b[j, k] += c[i, k] * (a[i, j] + a_r[i, j]) / 2
    return of_a, of_b


def division(a: Tensor, a_r: Tensor, b: Tensor, b_r: Tensor, c: Tensor):
    """``c_a = c (1/b + 1/b_r) / 2`` and ``c_b = -c (a + a_r) / (2 b b_r)``.

    Where one denominator is more than eight times the other: ``c_a = 2 c / (b + b_r)`` and
    ``c_b = -c (y + y_r) / (b + b_r)``.
    """
    ratio = b / b_r
    apart = (ratio > 8) | ((ratio > 0) & (ratio < 1 / 8))
    c_a = torch.where(apart, 2 * c / (b + b_r), c * (1 / b + 1 / b_r) / 2)
    return c_a, torch.where(apart, -c * (a / b + a_r / b_r) / (b + b_r), -c * (a + a_r) / (2 * b * b_r))


def solve(a: Tensor, a_r: Tensor, b: Tensor, b_r: Tensor, c: Tensor):
    """``X = A^-1 B``, the mean of ``dX = A^-1 (dB - dA X_r)`` and ``dX = A_r^-1 (dB - dA X)``."""
    inverse, inverse_r = inverted(a), inverted(a_r)
    x, x_r = inverse @ b, inverse_r @ b_r
    of_a = -(inverse.T @ c @ x_r.T + inverse_r.T @ c @ x.T) / 2
    return of_a, (inverse.T @ c + inverse_r.T @ c) / 2


def inverted(a: Tensor) -> Tensor:
    """The inverse by Gauss and Jordan."""
    n = a.shape[0]
    rows = [[*a[i].tolist(), *(float(i == j) for j in range(n))] for i in range(n)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda row: abs(rows[row][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(n):
            if j != i:
                rows[j] = [value - rows[j][i] * other for value, other in zip(rows[j], rows[i], strict=True)]
    return numbers([row[n:] for row in rows])


# -- softmax ----------------------------------------------------------------------------------------------------------


def log_weights(scores: list[float]) -> list[float]:
    """The logarithms of the weights of a row; minus infinity where they are masked, and in rows of masked scores."""
    most = max(scores)
    if most == -math.inf:
        return scores
    total = math.fsum(math.exp(score - most) for score in scores)
    return [score - most - math.log(total) for score in scores]


def log_mean(log_p: float, log_r: float) -> float:
    """``(p - r) / (ln p - ln r)``, near-equal ``(p + r) / 2 (1 - z^2 / 3 - 4 z^4 / 45)``; 0 where one is masked."""
    p, r = math.exp(log_p), math.exp(log_r)
    if p + r == 0 or -math.inf in (log_p, log_r):
        return 0.0
    z = (p - r) / (p + r)
    if abs(z) < 1e-2:
        return (p + r) / 2 * (1 - z**2 / 3 - 4 * z**4 / 45)
    return (p - r) / (log_p - log_r)


def _log_means(scores: Tensor, scores_r: Tensor) -> list[float]:
    logarithms = zip(log_weights(scores.tolist()), log_weights(scores_r.tolist()), strict=True)
    return [log_mean(log_p, log_r) for log_p, log_r in logarithms]


def softmax(scores: Tensor, scores_r: Tensor, c: Tensor):
    """``c_s = L c - L sum(L c) / sum(L)``; 0 in a row that is masked altogether."""
    means = _log_means(scores, scores_r)
    total = math.fsum(means)
    if total == 0:
        return torch.zeros_like(scores)
    weighted = [mean * m for mean, m in zip(means, c.tolist(), strict=True)]
    share = math.fsum(weighted) / total
    return numbers([part - mean * share for part, mean in zip(weighted, means, strict=True)])


def log_softmax(scores: Tensor, scores_r: Tensor, c: Tensor):
    """``c_s = c - L / sum(L) sum(c)``."""
    means = _log_means(scores, scores_r)
    share = math.fsum(c.tolist()) / math.fsum(means)
    return numbers([m - mean * share for m, mean in zip(c.tolist(), means, strict=True)])


def logsumexp(scores: Tensor, scores_r: Tensor, c: float):
    """``c_s = c L / sum(L)``."""
    means = _log_means(scores, scores_r)
    return numbers([c * mean / math.fsum(means) for mean in means])


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float, c: Tensor):
    """One head: two products of matrices and the softmax between them.

    Args:
        q, k, v: the two runs of each, ``[2, time, width]``.
        bias: what is added to the scores, ``[queries, keys]``: minus infinity where a query must not look.
        scale: of the scores.
        c: multipliers of the result, ``[queries, width]``.
    """
    scores = [scale * (q[run] @ k[run].T) + bias for run in (0, 1)]
    weights = [numbers([[math.exp(w) for w in log_weights(row.tolist())] for row in s]) for s in scores]
    of_weights, of_v = matmul(weights[0], weights[1], v[0], v[1], c)
    of_scores = torch.stack([softmax(*rows) for rows in zip(*scores, of_weights, strict=True)])
    of_q, of_k = matmul(q[0], q[1], k[0].T, k[1].T, of_scores * scale)
    return of_q, of_k.T, of_v


# -- norms and statistics ---------------------------------------------------------------------------------------------


def layer_norm(x: Tensor, r: Tensor, weight: Tensor | None, eps: float, c: Tensor):
    """One row: ``c_u = c (1/s + 1/t) / 2 + k (u + v) sum((u + v) c) / (2 N)``, then ``c_x = c_u - mean(c_u)``.

    ``u`` and ``v`` are the centered rows, ``s`` and ``t`` the roots of their mean squares plus ``eps``, and
    ``k = -1 / (s t (s + t))``.
    """
    of_u = rms_norm(x - math.fsum(x.tolist()) / len(x), r - math.fsum(r.tolist()) / len(r), weight, eps, c)
    return of_u - math.fsum(of_u.tolist()) / len(of_u)


def rms_norm(u: Tensor, v: Tensor, weight: Tensor | None, eps: float, c: Tensor):
    """The same without centering."""
    return _divided_by_root(u, v, weight, eps, c, len(u))


def normalize(u: Tensor, v: Tensor, c: Tensor):
    """The same with the sum of squares for their mean, and no ``eps``."""
    return _divided_by_root(u, v, None, 0.0, c, 1)


def _divided_by_root(u: Tensor, v: Tensor, weight: Tensor | None, eps: float, c: Tensor, count: int):
    s, t = (math.sqrt(math.fsum(value * value for value in row.tolist()) / count + eps) for row in (u, v))
    k = -1 / (s * t * (s + t))
    m = c if weight is None else c * weight
    if max(s, t) > 8 * min(s, t):  # by the quotient's other rule
        along = math.fsum(((u / s + v / t) * m).tolist())
        return (2 * m - (u + v) * along / (count * (s + t))) / (s + t)
    along = math.fsum(((u + v) * m).tolist())
    return m * (1 / s + 1 / t) / 2 + k * (u + v) * along / (2 * count)


def norm(x: Tensor, r: Tensor, c: float):
    """``c_x = c (x + r) / (n + m)``, with the lengths ``n`` and ``m``."""
    lengths = [math.sqrt(math.fsum(value * value for value in row.tolist())) for row in (x, r)]
    return c * (x + r) / sum(lengths)


def variance(x: Tensor, r: Tensor, correction: int, c: float):
    """``c_x = c (u + v) / (N - correction)``, which is centered itself."""
    u, v = (row - math.fsum(row.tolist()) / len(row) for row in (x, r))
    return c * (u + v) / (len(x) - correction)


def deviation(x: Tensor, r: Tensor, correction: int, c: float):
    """``d_std = d_var / (std + std_r)``."""
    total = 0.0
    for row in (x, r):
        mean = math.fsum(row.tolist()) / len(row)
        total += math.sqrt(math.fsum((value - mean) ** 2 for value in row.tolist()) / (len(row) - correction))
    return variance(x, r, correction, c / total)


# -- a whole model ----------------------------------------------------------------------------------------------------


class Layers:
    """The layers of a BERT classifier, each as its value in both runs, ``[2, time, width]``, and its way back."""

    def __init__(self, state: dict[str, Tensor], config: Any) -> None:
        self.state = {name: value.double() for name, value in state.items()}
        self.heads, self.eps = config.num_attention_heads, config.layer_norm_eps

    def linear(self, name: str, x: Tensor):
        weight = self.state[f"{name}.weight"]
        return x @ weight.T + self.state[f"{name}.bias"], lambda c: c @ weight

    def norm(self, name: str, x: Tensor):
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        centered = x - x.mean(-1, keepdim=True)
        y = centered / (centered.square().mean(-1, keepdim=True) + self.eps).sqrt() * weight + bias

        def back(c):
            rows = zip(x[0], x[1], c, strict=True)
            return torch.stack([layer_norm(own, other, weight, self.eps, m) for own, other, m in rows])

        return y, back

    def elementwise(self, function: Callable[[float], float], slope: Callable[[float], float], x: Tensor):
        y = numbers([function(value) for value in x.flatten().tolist()]).view(x.shape)
        return y, lambda c: secant(function, slope, x[0], x[1], c)

    def attention(self, name: str, x: Tensor):
        runs, backs = zip(*(self.linear(f"{name}.{part}", x) for part in ("query", "key", "value")), strict=True)
        # [heads, run, time, width of a head]
        q, k, v = (part.unflatten(-1, (self.heads, -1)).permute(2, 0, 1, 3) for part in runs)
        scale = 1 / math.sqrt(q.shape[-1])
        y = ((q @ k.mT) * scale).softmax(-1) @ v
        bias = torch.zeros(q.shape[-2], q.shape[-2], dtype=torch.float64)

        def back(c):
            by_head = c.unflatten(-1, (self.heads, -1)).transpose(0, 1)
            parts = [attention(*one, bias, scale, m) for *one, m in zip(q, k, v, by_head, strict=True)]
            joined = (torch.stack(part, 1).flatten(1) for part in zip(*parts, strict=True))
            return sum(step(part) for step, part in zip(backs, joined, strict=True))

        return y.permute(1, 2, 0, 3).flatten(2), back

    def block(self, name: str, x: Tensor):
        attended, of_attended = self.attention(f"{name}.attention.self", x)
        joined, of_joined = self.linear(f"{name}.attention.output.dense", attended)
        middle, of_middle = self.norm(f"{name}.attention.output.LayerNorm", joined + x)
        wide, of_wide = self.linear(f"{name}.intermediate.dense", middle)
        active, of_active = self.elementwise(gelu, gelu_slope, wide)
        narrow, of_narrow = self.linear(f"{name}.output.dense", active)
        y, of_y = self.norm(f"{name}.output.LayerNorm", narrow + middle)

        def back(c):
            c = of_y(c)
            c = of_middle(c + of_wide(of_active(of_narrow(c))))
            return c + of_attended(of_joined(c))

        return y, back


def bert(state: dict[str, Tensor], config: Any, ids: Tensor, target: int):
    """Difference rules through BertForSequenceClassification: post-norm, GELU, a tanh pooler.

    Args:
        state, config: the model's.
        ids: those of the text and those of the reference, ``[2, time]``, without padding.
        target: the label.

    Returns:
        The multipliers of the word embeddings ``[time, width]``, these embeddings ``[2, time, width]``, and the logits
        ``[2, labels]``.
    """
    layers = Layers(state, config)
    words, positions, types = (
        layers.state[f"bert.embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")
    )
    tokens = words[ids]
    x, of_embeddings = layers.norm("bert.embeddings.LayerNorm", tokens + positions[: ids.shape[1]] + types[0])
    backs = []
    for index in range(config.num_hidden_layers):
        x, back = layers.block(f"bert.encoder.layer.{index}", x)
        backs.append(back)
    pooled, of_pooled = layers.linear("bert.pooler.dense", x[:, :1])
    active, of_active = layers.elementwise(math.tanh, tanh_slope, pooled)
    logits, of_logits = layers.linear("classifier", active)
    c = torch.zeros(ids.shape[1], x.shape[-1], dtype=torch.float64)
    c[:1] = of_pooled(of_active(of_logits(numbers([[float(label == target) for label in range(logits.shape[-1])]]))))
    for back in reversed(backs):
        c = back(c)
    return of_embeddings(c), tokens, logits[:, 0]
