"""Plain, slow float64 twins: every rule written from its paper, and two whole models passed through by hand.

Nothing here uses textlrp or autograd. The rules speak of relevance, as the papers do: a message ``R_(i<-j)`` from each
output to each input, by loops. The models speak of multipliers (``R = x * c``), layer by layer: each layer returns its
value and the function that carries a multiplier back. `Probe` is the smallest classifier around one operation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# -- the rules, in relevance ------------------------------------------------------------------------------------------


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, relevance: Tensor, epsilon: float = 0.0):
    """``R_(i<-j) = x_i w_ji / (z_j + eps sign z_j) R_j`` (Bach et al. 2015, eqs. 56 to 58).

    Returns the relevance of ``x`` ``[n]``, of the bias (a number) and what the stabilizer took (a number).
    """
    outputs, inputs = weight.shape
    received, of_bias, taken = torch.zeros(inputs, dtype=torch.float64), 0.0, 0.0
    for j in range(outputs):
        shift = 0.0 if bias is None else float(bias[j])
        z = sum(float(x[i] * weight[j, i]) for i in range(inputs)) + shift
        stabilized = z + epsilon * (1.0 if z >= 0 else -1.0)
        for i in range(inputs):
            received[i] += x[i] * weight[j, i] / stabilized * relevance[j]
        of_bias += shift / stabilized * float(relevance[j])
        taken += (stabilized - z) / stabilized * float(relevance[j])
    return received, of_bias, taken


def elementwise(function: Callable[[float], float], x: Tensor, relevance: Tensor):
    """All relevance to the one input (Achtibat et al. 2024, eq. 9), but for the share ``f(0) / f(x)`` of a constant."""
    at_zero = function(0.0)
    received, of_constant = torch.zeros_like(x), 0.0
    for i in range(x.numel()):
        y, r = function(float(x.view(-1)[i])), float(relevance.view(-1)[i])
        received.view(-1)[i] = (y - at_zero) / y * r
        of_constant += at_zero / y * r
    return received, of_constant


def product(a: Tensor, b: Tensor, relevance: Tensor):
    """Both factors get half (Achtibat et al. 2024, proposition 3.3), whatever their values."""
    return relevance / 2, relevance / 2


def matmul(a: Tensor, b: Tensor, relevance: Tensor):
    """``R_(ji<-jp) = a_ji b_ip / (2 o_jp) R_jp``, and the same to ``b`` (Achtibat et al. 2024, eq. 14)."""
    of_a, of_b = torch.zeros_like(a), torch.zeros_like(b)
    for j in range(a.shape[0]):
        for p in range(b.shape[1]):
            o = sum(float(a[j, i] * b[i, p]) for i in range(a.shape[1]))
            for i in range(a.shape[1]):
                message = a[j, i] * b[i, p] / (2 * o) * relevance[j, p]
                of_a[j, i] += message
                of_b[i, p] += message
    return of_a, of_b


def softmax(x: Tensor, relevance: Tensor):
    """``R_i = x_i (R_i - s_i sum_j R_j)`` over one row (Achtibat et al. 2024, eq. 13), and what that leaves over."""
    exponentials = [math.exp(float(value)) for value in x]
    received = torch.zeros_like(x)
    for i, exponential in enumerate(exponentials):
        received[i] = x[i] * (relevance[i] - exponential / sum(exponentials) * relevance.sum())
    return received, float(relevance.sum() - received.sum())


def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, relevance: Tensor):
    """``R_(i<-j) = x_i (delta_ij - 1/N) w_j / (sigma y_j) R_j`` (Ali et al. 2022, eq. 10), and the bias's share."""
    n = x.numel()
    mean = sum(float(value) for value in x) / n
    sigma = math.sqrt(sum((float(value) - mean) ** 2 for value in x) / n + eps)
    received, of_bias = torch.zeros_like(x), 0.0
    for j in range(n):
        scale = 1.0 if weight is None else float(weight[j])
        shift = 0.0 if bias is None else float(bias[j])
        y = (float(x[j]) - mean) / sigma * scale + shift
        for i in range(n):
            received[i] += x[i] * ((i == j) - 1 / n) * scale / sigma / y * relevance[j]
        of_bias += shift / y * float(relevance[j])
    return received, of_bias


def rms_norm(x: Tensor, relevance: Tensor):
    """Each output rests on its own input alone when the root mean square is a constant: ``R_i = R_i``."""
    return relevance.clone()


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, relevance: Tensor):
    """One head, ``[time, width]`` each: the matmul, softmax and matmul rules one after the other; and the remainder."""
    of_q, of_k = torch.zeros_like(q), torch.zeros_like(k)
    scores = torch.zeros(len(q), len(k), dtype=torch.float64)
    for i in range(len(q)):
        for j in range(len(k)):
            scores[i, j] = scale * sum(float(q[i, d] * k[j, d]) for d in range(q.shape[1]))
    seen = torch.ones(len(q), len(k), dtype=torch.bool) if mask is None else mask
    weights = torch.zeros_like(scores)
    for i in range(len(q)):
        total = sum(math.exp(scores[i, j]) for j in range(len(k)) if seen[i, j])
        for j in range(len(k)):
            weights[i, j] = math.exp(scores[i, j]) / total if seen[i, j] else 0.0
    of_weights, of_v = matmul(weights, v, relevance)
    remainder = 0.0
    for i in range(len(q)):
        of_scores, left = softmax(scores[i][seen[i]], of_weights[i][seen[i]])
        remainder += left
        for j, r in zip(seen[i].nonzero().flatten().tolist(), of_scores.tolist(), strict=True):
            for d in range(q.shape[1]):
                message = scale * q[i, d] * k[j, d] / (2 * scores[i, j]) * r
                of_q[i, d] += message
                of_k[j, d] += message
    return of_q, of_k, of_v, remainder


def frozen_attention(weights: Tensor, v: Tensor, relevance: Tensor):
    """``R_(j<-i) = A_ij v_j / o_i R_i`` with constant ``A``, for each width (Ali et al. 2022, eq. 9)."""
    of_v = torch.zeros_like(v)
    for i in range(weights.shape[0]):
        for d in range(v.shape[1]):
            o = sum(float(weights[i, j] * v[j, d]) for j in range(len(v)))
            for j in range(len(v)):
                of_v[j, d] += weights[i, j] * v[j, d] / o * relevance[i, d]
    return of_v


def lookup(relevance: Tensor):
    """A token receives what its row of the table received, ``[time, width]`` to ``[time]``."""
    return torch.tensor([sum(float(value) for value in row) for row in relevance], dtype=torch.float64)


# -- whole models, in multipliers -------------------------------------------------------------------------------------


class Layers:
    """The layers of a transformer, one document at a time, each with its way back; and what they post on it."""

    def __init__(self, state: dict[str, Tensor], rules: str) -> None:
        self.state = {name: value.double() for name, value in state.items()}
        self.frozen, self.frozen_gates = rules in ("cp-lrp", "cp-lrp-gates"), rules == "cp-lrp-gates"
        self.posted: Counter[str] = Counter()

    def post(self, heading: str, values: Tensor) -> None:
        self.posted[heading] += float(values.sum())

    def linear(self, name: str, x: Tensor):
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        y = torch.einsum("ti,oi->to", x, weight)

        def back(c):
            if bias is not None:
                self.post("biases", c * bias)
            return torch.einsum("to,oi->ti", c, weight)

        return y if bias is None else y + bias, back

    def layer_norm(self, name: str, x: Tensor, eps: float):
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        n = x.shape[-1]
        centering = torch.eye(n, dtype=torch.float64) - torch.full((n, n), 1 / n, dtype=torch.float64)
        centered = torch.einsum("ij,tj->ti", centering, x)
        sigma = (centered.pow(2).mean(-1, keepdim=True) + eps).sqrt()

        def back(c):
            self.post("norms", c * bias)
            return torch.einsum("ij,ti->tj", centering, c * weight / sigma)

        return centered / sigma * weight + bias, back

    def rms_norm(self, name: str, x: Tensor, eps: float):
        scale = self.state[f"{name}.weight"] / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
        return x * scale, lambda c: c * scale

    def attention(self, q: Tensor, k: Tensor, v: Tensor, causal: bool):
        """Queries ``[heads, time, width]``; fewer keys and values serve several heads each."""
        groups = q.shape[0] // k.shape[0]
        serving = [head // groups for head in range(q.shape[0])]
        k_each, v_each = k[serving], v[serving]
        scale = q.shape[-1] ** -0.5
        scores = torch.einsum("hid,hjd->hij", q, k_each) * scale
        if causal:
            time = torch.arange(q.shape[1])
            scores = torch.where(time[:, None] >= time, scores, -torch.inf)
        exponentials = (scores - scores.amax(-1, keepdim=True)).exp()
        weights = exponentials / exponentials.sum(-1, keepdim=True)

        def gather(c_each):
            return torch.stack([c_each[[h for h, s in enumerate(serving) if s == own]].sum(0) for own in range(len(k))])

        def back(c):
            if self.frozen:
                return torch.zeros_like(q), torch.zeros_like(k), gather(torch.einsum("hij,hid->hjd", weights, c))
            c_weights = torch.einsum("hid,hjd->hij", c, v_each) / 2
            c_v = torch.einsum("hij,hid->hjd", weights, c) / 2
            c_scores = weights * (c_weights - (weights * c_weights).sum(-1, keepdim=True))
            finite = scores.isfinite()
            self.post("softmax", (weights * c_weights)[finite] - (scores * c_scores)[finite])
            c_q = torch.einsum("hij,hjd->hid", c_scores, k_each) * scale / 2
            c_k = torch.einsum("hij,hid->hjd", c_scores, q) * scale / 2
            return c_q, gather(c_k), gather(c_v)

        return torch.einsum("hij,hjd->hid", weights, v_each), back


def _apart(x: Tensor, heads: int) -> Tensor:
    return x.view(x.shape[0], heads, -1).transpose(0, 1)


def _together(x: Tensor) -> Tensor:
    return x.transpose(0, 1).flatten(1)


def bert(state: dict[str, Tensor], config: Any, ids: Tensor, target: int, rules: str):
    """AttnLRP (or CP-LRP) through BertForSequenceClassification for one document ``[time]`` without padding.

    Returns the relevance of each token, the logits, and what each heading was posted.
    """
    layers = Layers(state, rules)
    heads, eps = config.num_attention_heads, config.layer_norm_eps
    words, positions, types = (
        layers.state[f"bert.embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")
    )
    token, place, kind = words[ids], positions[: len(ids)], types[0].expand(len(ids), -1)
    x, embeddings_back = layers.layer_norm("bert.embeddings.LayerNorm", token + place + kind, eps)
    backs = []
    for index in range(config.num_hidden_layers):
        name = f"bert.encoder.layer.{index}"
        x, back = _bert_layer(layers, name, x, heads, eps)
        backs.append(back)
    pooled, pooler_back = layers.linear("bert.pooler.dense", x[:1])
    logits, classifier_back = layers.linear("classifier", pooled.tanh())
    c = classifier_back(torch.eye(logits.shape[1], dtype=torch.float64)[target][None])
    c = pooler_back(c * pooled.tanh() / pooled)
    c = torch.cat([c, torch.zeros(len(ids) - 1, c.shape[1], dtype=torch.float64)])
    for back in reversed(backs):
        c = back(c)
    c = embeddings_back(c)
    layers.post("positions", place * c)
    layers.post("token types", kind * c)
    return (token * c).sum(-1), logits[0], dict(layers.posted)


def _bert_layer(layers: Layers, name: str, x: Tensor, heads: int, eps: float):
    q, q_back = layers.linear(f"{name}.attention.self.query", x)
    k, k_back = layers.linear(f"{name}.attention.self.key", x)
    v, v_back = layers.linear(f"{name}.attention.self.value", x)
    mixed, attention_back = layers.attention(_apart(q, heads), _apart(k, heads), _apart(v, heads), causal=False)
    joined, dense_back = layers.linear(f"{name}.attention.output.dense", _together(mixed))
    middle, middle_back = layers.layer_norm(f"{name}.attention.output.LayerNorm", joined + x, eps)
    wide, wide_back = layers.linear(f"{name}.intermediate.dense", middle)
    gelu = wide * 0.5 * (1 + torch.erf(wide / math.sqrt(2)))
    narrow, narrow_back = layers.linear(f"{name}.output.dense", gelu)
    y, y_back = layers.layer_norm(f"{name}.output.LayerNorm", narrow + middle, eps)

    def back(c):
        c = y_back(c)
        c = c + wide_back(narrow_back(c) * gelu / wide)
        c = middle_back(c)
        c_q, c_k, c_v = attention_back(_apart(dense_back(c), heads))
        return c + q_back(_together(c_q)) + k_back(_together(c_k)) + v_back(_together(c_v))

    return y, back


def llama(state: dict[str, Tensor], config: Any, ids: Tensor, target: int, rules: str):
    """AttnLRP as its authors define it, in gradient form, through LlamaForSequenceClassification.

    Queries and keys 1/4, values 1/2; ``silu(x) / x``; the gated product a half each; constant root mean squares.
    Returns as :func:`bert` does.
    """
    layers = Layers(state, rules)
    token = layers.state["model.embed_tokens.weight"][ids]
    angles = _rotary_angles(config, len(ids))
    x, backs = token, []
    for index in range(config.num_hidden_layers):
        x, back = _llama_layer(layers, f"model.layers.{index}", x, config, angles)
        backs.append(back)
    y, norm_back = layers.rms_norm("model.norm", x, config.rms_norm_eps)
    logits, score_back = layers.linear("score", y)
    c = torch.zeros_like(logits)
    c[-1, target] = 1.0
    c = norm_back(score_back(c))
    for back in reversed(backs):
        c = back(c)
    return (token * c).sum(-1), logits[-1], dict(layers.posted)


def _rotary_angles(config: Any, length: int) -> Tensor:
    # The frequencies are float32 in every Llama, whatever the model's dtype.
    base = config.rope_parameters["rope_theta"] if hasattr(config, "rope_parameters") else config.rope_theta
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    frequencies = (1.0 / base**exponents).tolist()
    return torch.tensor([[time * f for f in frequencies] for time in range(length)], dtype=torch.float64)


def _rotate(x: Tensor, angles: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


def _llama_layer(layers: Layers, name: str, x: Tensor, config: Any, angles: Tensor):
    heads, groups, eps = config.num_attention_heads, config.num_key_value_heads, config.rms_norm_eps
    normed, normed_back = layers.rms_norm(f"{name}.input_layernorm", x, eps)
    q, q_back = layers.linear(f"{name}.self_attn.q_proj", normed)
    k, k_back = layers.linear(f"{name}.self_attn.k_proj", normed)
    v, v_back = layers.linear(f"{name}.self_attn.v_proj", normed)
    turned = (_rotate(_apart(q, heads), angles), _rotate(_apart(k, groups), angles), _apart(v, groups))
    mixed, attention_back = layers.attention(*turned, causal=True)
    joined, joined_back = layers.linear(f"{name}.self_attn.o_proj", _together(mixed))
    middle = x + joined
    inner, inner_back = layers.rms_norm(f"{name}.post_attention_layernorm", middle, eps)
    gate, gate_back = layers.linear(f"{name}.mlp.gate_proj", inner)
    up, up_back = layers.linear(f"{name}.mlp.up_proj", inner)
    silu = gate / (1 + (-gate).exp())
    down, down_back = layers.linear(f"{name}.mlp.down_proj", silu * up)

    def back(c):
        c_product = down_back(c)
        c_gate, c_up = c_product * up / 2 * silu / gate, c_product * silu / 2
        if layers.frozen_gates:
            c_gate, c_up = torch.zeros_like(gate), c_product * silu
        c = c + inner_back(gate_back(c_gate) + up_back(c_up))
        c_q, c_k, c_v = attention_back(_apart(joined_back(c), heads))
        c_q, c_k = _rotate(c_q, -angles), _rotate(c_k, -angles)  # the transpose of a rotation
        return c + normed_back(q_back(_together(c_q)) + k_back(_together(c_k)) + v_back(_together(c_v)))

    return middle + down, back


# -- the smallest classifier around one operation ---------------------------------------------------------------------


class Probe(nn.Module):
    """``ids -> table -> operation -> head``: what reaches a token through ``operation(probe, x)`` and nothing else.

    Attributes:
        row, other: positive constants of the width of ``x``; square: a matrix; mask: some of the times.
    """

    def __init__(self, operation: Any, *, time: int = 4, width: int = 4, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        self.table = nn.Embedding(12, width, dtype=dtype)
        self.table.weight = nn.Parameter(random(12, width))
        self.register_buffer("row", random(width).abs() + 0.5)
        self.register_buffer("other", random(width).abs() + 0.5)
        self.register_buffer("square", random(width, width))
        self.register_buffer("mask", torch.arange(time) % 2 == 0)
        self.operation = operation
        with torch.no_grad():
            out = operation(self, self.table(torch.arange(2 * time).view(2, time))).shape
        self.head = nn.Linear(out[1:].numel(), 3, bias=False, dtype=dtype)
        self.head.weight = nn.Parameter(random(3, out[1:].numel()))

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(self.operation(self, self.table(input_ids)).flatten(1))


IDS = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
