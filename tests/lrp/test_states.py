"""Between the layers: the relevances equal those by the multipliers, however a model computes."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_models
import torch
from torch import nn

import textlrp
from textlrp.errors import UnbalancedLedgerError
from textlrp.lrp.hidden.states import HiddenStates
from textlrp.results.ledger import OTHER_PATHS


@pytest.fixture(scope="module")
def models() -> Any:
    built: dict[Any, Any] = {}

    def get(name: str, **options: Any) -> Any:
        key = (name, *options.items())
        if key not in built:
            model = tiny_models.build(name, dtype=torch.float64, **options)
            built[key] = (model, tiny_models.inputs(model, name))
        return built[key]

    return get


@pytest.mark.parametrize(("name", "block"), [("bert", "bert.encoder.layer"), ("gpt2", "transformer.h"), ("xlnet", "")])
@pytest.mark.parametrize("rules", ["attnlrp", "cp-lrp"])
def test_a_layer_has_the_relevance_of_its_blocks_output(models: Any, name: str, block: str, rules: str) -> None:
    model, inputs = models(name)
    block = block or "transformer.layer"
    seen = textlrp.propagate(model, 1, rules, layers=True, **inputs)
    assert [layer.name for layer in seen.layers] == ["embeddings", f"{block}.0", f"{block}.1"]
    latent = textlrp.propagate(model, 1, rules, capture=[f"{block}.0", f"{block}.1"], **inputs).captured
    for layer in seen.layers[1:]:
        (captured,) = latent[layer.name]
        expected = captured.relevance.sum(-1)
        expected = expected.mT if expected.shape != inputs["input_ids"].shape else expected  # time first
        torch.testing.assert_close(layer.relevance, expected, rtol=1e-10, atol=1e-12)


def test_observing_layers_changes_nothing(models: Any) -> None:
    model, inputs = models("bert")
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    plain = textlrp.propagate(model, 0, **inputs)
    seen = textlrp.propagate(model, 0, layers=True, **inputs)
    assert plain.layers == ()
    assert torch.equal(seen.relevance, plain.relevance)
    assert seen.ledgers == plain.ledgers
    assert {name: dict(vars(module)) for name, module in model.named_modules()} == before


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_head_has_the_relevance_of_its_part_of_the_attentions_result(models: Any, attention: str) -> None:
    model, inputs = models("bert", attention=attention)
    path = "bert.encoder.layer.0.attention.self"
    seen = textlrp.propagate(model, 1, layers=True, **inputs)
    (captured,) = textlrp.propagate(model, 1, capture=[path], **inputs).captured[path]
    heads = seen.layers[1].heads
    assert list(heads) == [path]
    expected = captured.relevance.unflatten(-1, (model.config.num_attention_heads, -1)).sum((1, 3))
    torch.testing.assert_close(heads[path], expected)


def test_heads_of_einsums_and_of_merged_batches(models: Any) -> None:
    for name in ("xlnet", "bloom", "gpt_oss", "deberta-v2", "t5", "mpt"):
        model, inputs = models(name)
        seen = textlrp.propagate(model, 1, layers=True, **inputs)
        with_heads = [heads for layer in seen.layers for heads in layer.heads.values()]
        assert len(with_heads) >= 2, name
        assert all(heads.shape == (3, 4) and bool((heads != 0).all()) for heads in with_heads), name


def test_paths_of_norms_in_front_are_the_branches_under_the_multiplier_of_the_output(models: Any) -> None:
    model, inputs = models("gpt2")
    blocks = [f"transformer.h.{i}" for i in range(2)]
    at = [f"{block}{part}" for block in blocks for part in ("", ".attn", ".mlp")]
    latent = textlrp.propagate(model, 1, capture=at, **inputs).captured
    layers = textlrp.propagate(model, 1, layers=True, **inputs).layers
    for block, layer in zip(blocks, layers[1:], strict=True):
        c = latent[block][0].multiplier
        attention, network = (latent[f"{block}.{part}"][0].activation for part in ("attn", "mlp"))
        stream = latent[block][0].activation - attention - network
        expected = {"attention": attention, "feed-forward": network, "residual": stream}
        for path, value in expected.items():
            torch.testing.assert_close(layer.paths[path], (value * c).sum((1, 2)))
        torch.testing.assert_close(layer.paths["other"], torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_paths_of_norms_behind_pass_the_norms(models: Any) -> None:
    model, inputs = models("bert")
    block = "bert.encoder.layer.1"
    norms = {part: model.get_submodule(f"{block}.{part}.LayerNorm") for part in ("attention.output", "output")}
    at = ["bert.encoder.layer.0", block, *(f"{block}.{part}.dense" for part in norms)]
    latent = {path: runs[0] for path, runs in textlrp.propagate(model, 1, capture=at, **inputs).captured.items()}
    layer = textlrp.propagate(model, 1, layers=True, **inputs).layers[2]
    x = latent["bert.encoder.layer.0"].activation
    attended, network = (latent[f"{block}.{part}.dense"].activation for part in norms)
    first, second = norms.values()
    between = first(x + attended)
    c = latent[block].multiplier

    def down(norm: nn.LayerNorm, taken: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """The norm of a part of its input, with its spread held constant."""
        spread = (taken.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
        return (part - part.mean(-1, keepdim=True)) / spread * norm.weight

    for path, part in {"residual": x, "attention": attended}.items():
        through = down(second, between + network, down(first, x + attended, part))
        torch.testing.assert_close(layer.paths[path], (through * c).sum((1, 2)))
    through = down(second, between + network, network)
    torch.testing.assert_close(layer.paths["feed-forward"], (through * c).sum((1, 2)))
    shifts = down(second, between + network, first.bias.expand_as(x)) + second.bias
    torch.testing.assert_close(layer.paths["other"], (shifts * c).sum((1, 2)))


def test_relevance_that_goes_around_a_layer_is_measured(models: Any) -> None:
    model, inputs = models("bart")
    layers = {layer.name: layer for layer in textlrp.propagate(model, 1, layers=True, **inputs).layers}
    assert list(layers)[3] == "model.decoder.layers"
    # While the encoder is passed, the decoder's own embeddings have arrived at their ids.
    assert all(ledger[OTHER_PATHS] != 0 for ledger in layers["model.encoder.layers.0"].ledgers)
    # Between the decoder's layers the encoder's states go around; above the last of them nothing does.
    assert all(ledger[OTHER_PATHS] != 0 for ledger in layers["model.decoder.layers.0"].ledgers)
    assert all(ledger[OTHER_PATHS] == 0 for ledger in layers["model.decoder.layers.1"].ledgers)
    for layer in layers.values():
        assert max(ledger.imbalance for ledger in layer.ledgers) < 1e-12


class Skipping(nn.Module):
    """Blocks in a ``Sequential``, run by ``block.forward``, and an embedding that skips all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3)))
        self.head = nn.Linear(4, 2)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        start = x = self.table(input_ids)
        for block in self.blocks:
            x = x + block.forward(x)
        return self.head((x + start).mean(1))


def test_a_model_of_ones_own(models: Any) -> None:
    torch.manual_seed(0)
    model = Skipping().double()
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    propagation = textlrp.propagate(model, 0, layers=True, input_ids=ids)
    # The blocks output only their branches: the stream goes around, and is measured there.
    assert [layer.name for layer in propagation.layers] == ["embeddings", "blocks.0", "blocks.1", "blocks.2"]
    for layer in propagation.layers:
        assert max(ledger.imbalance for ledger in layer.ledgers) < 1e-12
    start = model.table(ids).detach()
    direct = (start * model.head.weight[0].detach() / 3).sum((1, 2))
    x = start
    for block in model.blocks[:2]:
        x = x + block(x).detach()
    last = propagation.layers[3]
    around = (x * model.head.weight[0].detach() / 3).sum((1, 2)) + direct
    expected = [ledger[OTHER_PATHS] for ledger in last.ledgers]
    torch.testing.assert_close(torch.tensor(expected, dtype=torch.float64), around.detach())


def test_a_model_without_blocks_has_no_layers() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 2))

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.inner(input_ids)
            return y

    propagation = textlrp.propagate(Flat(), 0, layers=True, input_ids=torch.tensor([[1, 2, 3]]))
    assert propagation.layers == ()


def test_a_ledger_that_does_not_balance_at_a_layer_is_an_error(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = models("bert")

    def blind(self: Any, written: Any, x: Any) -> Any:
        return x

    monkeypatch.setattr(HiddenStates, "_around", blind)
    textlrp.propagate(model, 0, layers=True, **inputs)  # nothing goes around a BERT's layers
    model, inputs = models("bart")
    with pytest.raises(UnbalancedLedgerError, match="the ledger does not balance"):
        textlrp.propagate(model, 0, layers=True, **inputs)


def test_several_targets_have_layers_each(models: Any) -> None:
    model, inputs = models("bert")
    both = textlrp.lrp.propagation.propagate_targets(model, [0, 1], layers=True, **inputs)
    for target, propagation in enumerate(both):
        alone = textlrp.propagate(model, target, layers=True, **inputs)
        for one, other in zip(propagation.layers, alone.layers, strict=True):
            torch.testing.assert_close(one.relevance, other.relevance)
            assert one.ledgers[0].balanced
            for path in one.paths:
                torch.testing.assert_close(one.paths[path], other.paths[path])
            for path in one.heads:
                torch.testing.assert_close(one.heads[path], other.heads[path])


def test_documents_that_cannot_share_a_batch_have_layers_all_the_same(models: Any) -> None:
    model, inputs = models("convbert")
    propagation = textlrp.propagate(model, 1, layers=True, **inputs)
    assert len(propagation.layers) == 3
    assert all(layer.relevance.shape == inputs["input_ids"].shape for layer in propagation.layers)
    assert all(len(layer.ledgers) == 3 for layer in propagation.layers)


def test_a_stream_of_two_dimensions_is_followed() -> None:
    model = tiny_models.build("opt", dtype=torch.float64)
    propagation = textlrp.propagate(model, 1, layers=True, **tiny_models.inputs(model, "opt"))
    assert all(
        {"residual", "attention", "feed-forward", "other"} == set(layer.paths) for layer in propagation.layers[1:]
    )
