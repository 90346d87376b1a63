"""A rule of one's own: relevance shared out by the square roots of the contributions, and the law that it obeys.

Run it with `python examples/own_rule.py`.
"""

import torch
from torch import nn

from textlrp import Explainer, Rules
from textlrp.lrp.linear_rules import LinearMap

EPSILON = 1e-6


class SquareRoot:
    """``R_i = sum_j sqrt|x_i w_ij| / (sum_i sqrt|x_i w_ij| + sqrt|b_j| + eps) R_j``: large contributions count less."""

    def multiplier(self, linear_map: LinearMap, c, post):
        x, weight = linear_map.x, linear_map.weight.abs().sqrt()
        bias = torch.zeros(()) if linear_map.bias is None else linear_map.bias.abs().sqrt()
        root = x.abs().sqrt().requires_grad_()
        with torch.enable_grad():
            contributions = linear_map.apply(root, weight)
        share = linear_map.y * c / (contributions.detach() + bias + EPSILON)
        (back,) = torch.autograd.grad(contributions, root, share)
        post("biases", share * bias)
        post("stabilizer", share * EPSILON)
        # The relevance of an input is root * back; its multiplier is that divided by x.
        return back * torch.where(x == 0, 0.0, root.detach() / torch.where(x == 0, 1.0, x))


def test_relevance_is_neither_made_nor_lost():
    x, layer = torch.randn(3, 5).double(), nn.Linear(5, 4).double().requires_grad_(False)
    y, posted = layer(x), []
    c = torch.randn(3, 4).double()
    linear_map = LinearMap(x, y, layer.weight, layer.bias, nn.functional.linear)
    c_x = SquareRoot().multiplier(linear_map, c, lambda heading, values: posted.append(values.sum()))
    torch.testing.assert_close((x * c_x).sum() + sum(posted), (y * c).sum())


if __name__ == "__main__":
    test_relevance_is_neither_made_nor_lost()
    rules = Rules(overrides={"*classifier*": Rules(linear=SquareRoot())})
    explanation = Explainer.demo().explain("A dull but moving film.", rules=rules)
    print(explanation.ledger)
    print([(word.text, round(word.relevance, 2)) for word in explanation.words])
    # In JSON the rule is a name, and the reader hands over the object that it stands for.
    assert Rules.from_json(rules.to_json(), own={"SquareRoot": SquareRoot()}).to_json() == rules.to_json()
