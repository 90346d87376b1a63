"""Cost: what is counted, what is paired with what, and that nothing of it stays behind. No assertion is about time."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from tiny_bert import bert
from torch import Tensor, nn

from textlrp.check import cost
from textlrp.check.cost import FORWARD, GRADIENT, Spread
from textlrp.errors import InputError, ModelError
from textlrp.lrp.propagation import propagate

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "cost.py"


@pytest.fixture
def model() -> Any:
    return bert(30)


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    ids = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        ([5.0], Spread(5.0, 5.0, 5.0)),
        ([4.0, 1.0, 3.0, 2.0], Spread(2.5, 1.75, 3.25)),
        ([1.0, 100.0, 3.0, 2.0, 4.0], Spread(3.0, 2.0, 4.0)),
    ],
)
def test_a_spread_is_a_median_between_quartiles(values: list[float], spread: Spread) -> None:
    assert Spread.of(values) == spread


class Twice(torch.autograd.Function):
    """A custom function that saves what it is given and what it returns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        y = 2 * x
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return c * y / x


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, linear: x + 1, 0),
        (lambda x, linear: x.sin(), 40),
        (lambda x, linear: x * x, 40),  # one tensor, saved twice
        (lambda x, linear: x[:2].sin(), 40),  # a view keeps its whole storage
        (lambda x, linear: x.sin().exp(), 80),
        (lambda x, linear: linear(x), 0),  # the weight, which exists anyway
        (lambda x, linear: linear(x.double().float()).tanh(), 8),
        (lambda x, linear: Twice.apply(x), 80),
        (lambda x, linear: [x.sin() and None for x in (x[0], x[1])], 40),
        (lambda x, linear: [None for _ in range(3) if x.sin().sum().backward()], 40),  # let go each time
        (lambda x, linear: torch.no_grad()(torch.sin)(x), 0),
    ],
)  # fmt: skip
def test_saved_bytes_are_those_of_storages_kept_for_the_backward_pass(function: Any, expected: int) -> None:
    linear = nn.Linear(10, 2).requires_grad_(False)
    x = torch.ones(10, requires_grad=True)
    assert cost.saved_bytes(linear, lambda: function(x, linear)) == expected


def test_counting_does_not_change_what_is_counted(model: Any, inputs: dict[str, Tensor]) -> None:
    found = []
    assert cost.saved_bytes(model, lambda: found.append(propagate(model, None, **inputs))) > 0
    plain = propagate(model, None, **inputs)
    assert found[0].met == plain.met
    assert torch.equal(found[0].relevance, plain.relevance)


def test_gradient_x_input_is_what_inputs_embeds_gives(model: Any, inputs: dict[str, Tensor]) -> None:
    rows = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    logits = model(inputs_embeds=rows, attention_mask=inputs["attention_mask"]).logits
    (gradient,) = torch.autograd.grad(logits.max(-1).values.sum(), rows)
    (found,) = cost.gradient_x_input(model, inputs)
    torch.testing.assert_close(found, (gradient * rows).sum(-1).detach())
    assert not model.get_input_embeddings()._forward_hooks


def test_an_encoder_decoder_looks_its_ids_up_twice() -> None:
    bart = tiny_models.build("bart")
    inputs = tiny_models.inputs(bart, "bart")
    found = cost.gradient_x_input(bart, inputs)
    assert [part.shape for part in found] == [inputs["input_ids"].shape] * 2
    assert all(bool(part.any()) for part in found)


class Doubled(nn.Embedding):
    """A table that returns two things."""

    def forward(self, input: Tensor) -> Any:
        return super().forward(input), 1.0


class Plain(nn.Module):
    """A classifier that says nothing about its embedding table, or something wrong."""

    def __init__(self, says: Any = None) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(30, 4), nn.Linear(4, 2)
        if says is not None:
            self.get_input_embeddings = lambda: says

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        rows = self.table(input_ids)
        return self.head((rows if isinstance(rows, Tensor) else rows[0]).mean(1))


def doubled() -> Plain:
    model = Plain()
    model.table = Doubled(30, 4)
    model.get_input_embeddings = lambda: model.table
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Plain(), r"Plain has no get_input_embeddings\(\) that returns its table"),
        (Plain(nn.Embedding(31, 4)), r"Plain does not call the table that get_input_embeddings\(\) names"),
        (doubled(), "the embedding table Doubled does not return a row for each id"),
    ],
)
def test_a_model_that_does_not_tell_its_table_is_said_so(model: Any, message: str, inputs: dict[str, Tensor]) -> None:
    for function in (cost.gradient_x_input, cost.measure):
        with pytest.raises(ModelError, match=message):
            function(model, inputs)


def test_what_is_measured(model: Any, inputs: dict[str, Tensor]) -> None:
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measured = cost.measure(model, inputs, repeats=2)
    assert (measured.batch, measured.sequence, measured.repeats) == (2, 5, 2)
    assert [run.name for run in measured.runs] == [FORWARD, GRADIENT, "attnlrp", "cp-lrp"]
    assert measured[FORWARD].saved == 0
    assert measured[FORWARD].to_forward == measured[GRADIENT].to_gradient == Spread(1.0, 1.0, 1.0)
    assert measured["cp-lrp"].saved < measured["attnlrp"].saved < measured[GRADIENT].saved
    assert measured["attnlrp"].saved_to_gradient == measured["attnlrp"].saved / measured[GRADIENT].saved
    values = json.loads(json.dumps(measured.to_dict(), allow_nan=False))
    assert set(values) == {"batch", "sequence", "repeats", "threads", "runs"}
    assert set(values["runs"][0]) == {
        "name", "seconds", "to_gradient", "to_forward", "saved", "saved_to_gradient",
    }  # fmt: skip
    assert set(values["runs"][0]["seconds"]) == {"median", "low", "high"}
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_ratios_are_paired_within_each_repeat(
    model: Any, inputs: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that gets ten times slower from repeat to repeat changes no ratio."""
    seconds = {FORWARD: 1.0, GRADIENT: 2.0, "attnlrp": 3.0, "cp-lrp": 2.5}
    order: list[str] = []
    real = (cost.forward, cost.gradient_x_input, cost.propagate)
    monkeypatch.setattr(cost, "forward", lambda *args: order.append(FORWARD) or real[0](*args))
    monkeypatch.setattr(cost, "gradient_x_input", lambda *args: order.append(GRADIENT) or real[1](*args))
    monkeypatch.setattr(
        cost, "propagate", lambda *args, **inputs: order.append(args[2].name) or real[2](*args, **inputs)
    )

    def timed(run: Any, device: torch.device) -> float:
        repeat = (len(order) - 4) // 4  # the first four only warm up
        run()
        return seconds[order[-1]] * 10.0**repeat

    monkeypatch.setattr(cost, "timed", timed)
    measured = cost.measure(model, inputs, repeats=3)
    names = list(seconds)
    assert order == [*names, *names, *names[1:], *names[:1], *names[2:], *names[:2]]
    assert [run.to_gradient.median for run in measured.runs] == [0.5, 1.0, 1.5, 1.25]
    assert [run.to_forward for run in measured.runs] == [Spread(s, s, s) for s in seconds.values()]
    assert measured[FORWARD].seconds == Spread(10.0, 5.5, 55.0)


def test_no_repeats_are_an_error(model: Any, inputs: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match="repeats must be 1 or more, not 0"):
        cost.measure(model, inputs, repeats=0)


@pytest.fixture(scope="module")
def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_cost", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARK.parent))  # it imports its neighbors
        spec.loader.exec_module(module)
    return module


def test_the_benchmark_prints_ratios(
    benchmark: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "peak_memory", lambda run, device: run() is not None and 4096)  # it takes seconds
    benchmark.main(["--quick", "--model", "llama", "--shape", "2x6", "--repeats", "1"])
    first, _, model, title, *rows, size, forward, peaks = capsys.readouterr().out.splitlines()
    assert first.startswith(f"torch {torch.__version__}, transformers ")
    assert model == "llama: 2 layers of 64, sdpa attention"
    assert title.split() == ["cost", "time", "ratio", "quartiles", "activations", "ratio"]
    assert [row[:16].strip() for row in rows] == [FORWARD, GRADIENT, "attnlrp", "cp-lrp", "difference"]
    assert size.startswith("2 x 6 ids, ")
    assert forward.startswith("time, ratio to the forward pass: gradient x input ")
    assert peaks == (
        "peak memory, temporary results included: gradient x input 4 KiB (1.00), attnlrp 4 KiB (1.00), "
        "cp-lrp 4 KiB (1.00), difference 4 KiB (1.00)"
    )


def test_the_peak_of_memory_counts_temporary_results(benchmark: Any) -> None:
    assert benchmark.peak_memory(lambda: (torch.ones(1024) + 1).sum(), "cpu") in range(8192, 8448)
    assert benchmark.peak_memory(lambda: [None for _ in range(3) if torch.ones(1024) is not None], "cpu") == 4096


def test_the_benchmark_measures_bert_base_where_nothing_else_is_said(benchmark: Any) -> None:
    options = benchmark.arguments([])
    assert (options.model, options.shape, options.repeats) == (["bert"], [(1, 128), (8, 128), (1, 512)], 15)
    config = benchmark.MODELS["bert"][0]()
    assert (config.hidden_size, config.num_hidden_layers, config.max_position_embeddings) == (768, 12, 512)


@pytest.mark.parametrize("shape", ["0x5", "8", "8x", "8xx8", "-1x4"])
def test_a_shape_that_is_none_is_said_so(benchmark: Any, shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.arguments([f"--shape={shape}"])
    assert f"'{shape}' is no shape: write documents x ids, such as 8x128" in capsys.readouterr().err
