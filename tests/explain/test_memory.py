"""The memory for a text is estimated before it is explained; if it runs out anyway, one document fails, not the run."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import transformers
from click.testing import CliRunner
from tiny_bert import bert, fast_tokenizer
from torch import Tensor, nn

from textlrp import Explainer, LRPError
from textlrp.cli import main
from textlrp.errors import InputError, ModelError, ran_out
from textlrp.evaluate import baselines
from textlrp.explain import memory

CPU = torch.device("cpu")
SHORT, LONG = "a wonderful film", "a wonderful film, " * 60
MIB = 2**20


def tiny_t5() -> Explainer:
    tokenizer = fast_tokenizer("metaspace")
    config = transformers.T5Config(
        vocab_size=160, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2, decoder_start_token_id=0,
        pad_token_id=0, eos_token_id=tokenizer.sep_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    return Explainer(transformers.T5ForSequenceClassification(config).eval(), tokenizer)


def with_memory(monkeypatch: pytest.MonkeyPatch, size: int) -> list[torch.device]:
    asked: list[torch.device] = []

    def available(device: torch.device) -> int:
        asked.append(device)
        return size

    monkeypatch.setattr(memory, "available", available)
    return asked


# -- what there is ---------------------------------------------------------------------------------------------------


def groups(monkeypatch: pytest.MonkeyPatch, root: Path, listed: str, files: dict[str, str]) -> list[int]:
    for name, written in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written)
    mine = root / "listed"
    mine.write_text(listed)
    lines = memory._lines
    monkeypatch.setattr(memory, "_GROUPS", root)
    monkeypatch.setattr(memory, "_lines", lambda path: lines(mine if path == Path("/proc/self/cgroup") else path))
    return list(memory._groups())


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {
        "memory.max": "max\n",
        "pods/memory.max": "1000000\n",
        "pods/memory.current": "800000\n",
        "pods/memory.stat": "anon 5\ninactive_file 100000\nactive_file 50000\nslab 7\n",
        "pods/mine/memory.max": "600000\n",
        "pods/mine/memory.current": "100000\n",
        "pods/mine/memory.stat": "anon 100000\n",
    }
    assert groups(monkeypatch, tmp_path, "0::/pods/mine\n", files) == [500_000, 350_000]
    assert memory.available(CPU) == 350_000


def test_the_limit_of_an_old_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": "700000\n",
        "memory/memory.usage_in_bytes": "200000\n",
        "memory/memory.stat": "total_inactive_file 30000\n",
        "memory/mine/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/mine/memory.usage_in_bytes": "1\n",
    }
    listed = "3:cpu,cpuacct:/mine\n4:memory,hugetlb:/mine\n0::/\n"
    assert groups(monkeypatch, tmp_path, listed, files) == [530_000]


@pytest.mark.slow
def test_the_limit_of_a_process_counts() -> None:
    left = tiny_models.in_child(memory.available, CPU, memory_gib=3)
    assert 0 < left < 3 * 2**30


def test_where_nobody_tells_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: None)
    assert memory.made_available(CPU) is None
    assert tiny_t5().explain(LONG).windows == 1
    assert memory.available(torch.device("meta")) is None


# -- what is taken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peaks", "expected"),
    [
        ({}, None),
        ({32: 64}, None),
        ({10: 120, 20: 440}, (0, 2, 1)),
        ({10: 127, 20: 447, 40: 1687}, (7, 2, 1)),
        ({10: 500, 20: 500, 40: 500}, (500, 0, 0)),
        ({512: 8, 10: 127, 20: 447}, (8, 0, 0)),
    ],
    ids=["nothing", "one", "two", "three", "constant", "falling"],
)
def test_what_was_measured_is_carried_on(peaks: dict[int, int], expected: tuple[float, ...] | None) -> None:
    growth = memory.Growth.of(peaks)
    assert (growth and (growth.constant, growth.linear, growth.pairs)) == expected
    if growth and expected:
        constant, linear, pairs = expected
        assert growth.at(3, 100) == 3 * (constant + 100 * linear + 10_000 * pairs)


def test_a_peak_counts_temporary_results_and_neither_weights_nor_what_was_let_go() -> None:
    model = nn.Linear(1024, 1024)

    def run() -> None:
        x = torch.ones(1024)  # 4 KiB
        for _ in range(5):
            _ = (model.weight.t()[0] + x).view(2, 512)  # 4 more, each time
            del _

    assert memory.peak(model, run) == 2 * 4096


@pytest.mark.parametrize("rules", ["attnlrp", "difference"])
@pytest.mark.parametrize("kind", ["t5", "bert"])
@pytest.mark.parametrize("times", [26, 60])
def test_an_estimate_is_close_to_what_is_taken(kind: str, rules: str, times: int) -> None:
    tokenizer = fast_tokenizer("wordpiece")
    explainer = tiny_t5() if kind == "t5" else Explainer(bert(len(tokenizer), max_position_embeddings=2048), tokenizer)
    text = "a wonderful film, " * times
    encoding = explainer.classifier.encode(text, None)
    count = len(encoding.input_ids)
    assert count > 125
    difference = rules == "difference"
    estimate = explainer.classifier._needed(encoding, 1, count, difference)
    peaks = explainer.classifier._peaks_of_two if difference else explainer.classifier._peaks
    assert max(peaks) <= 128
    assert estimate is not None
    taken = memory.peak(explainer.model, lambda: explainer.explain(text, rules=rules))
    # From 512 ids on, the backward pass of difference rules takes the attention of two heads in blocks of queries, so
    # memory grows less than before, and the estimate is on the safe side.
    assert 0.9 <= estimate / taken <= (2.0 if difference and count > 512 else 1.1)
    assert taken > MIB / 8


def test_sizes_are_written_for_people() -> None:
    assert [memory.shown(x) for x in (3e6, 2**30, 123 * 2**30, 4e15)] == [
        "3 MiB",
        "1.0 GiB",
        "123 GiB",
        "3,725,290 GiB",
    ]


# -- what is refused -------------------------------------------------------------------------------------------------


def test_a_text_that_takes_too_much_is_an_error_for_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer = tiny_t5()
    alone = explainer.explain(SHORT)
    with_memory(monkeypatch, 4 * MIB)
    asked = explainer.explain_batch([SHORT, LONG, SHORT], errors="return")
    assert isinstance(asked[1], InputError)
    assert str(asked[1]).startswith("the text takes 662 ids, and to explain them at once takes about")
    assert "of memory, of which 4 MiB are free: read it with long='windows'" in str(asked[1])
    for e in (asked[0], asked[2]):
        assert e.logit == pytest.approx(alone.logit, abs=1e-6)
    assert explainer.explain(LONG, long="windows", window=50).windows > 1


def test_a_batch_that_takes_too_much_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{'a great film, ' * 10}{word}" for word in "moving dull bad great plot film a never".split()]
    explainer = tiny_t5()
    together = explainer.explain_batch(texts)
    sizes: list[int] = []
    explainer.model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    explainer.explain_batch(texts)
    assert max(sizes) == 8
    with_memory(monkeypatch, 4 * MIB)
    explainer.classifier._sure = None
    sizes.clear()
    apart = explainer.explain_batch(texts)
    assert 1 <= max(sizes) < 8
    for a, b in zip(together, apart, strict=True):
        assert b.logit == pytest.approx(a.logit, abs=1e-6)
        assert [span.relevance for span in b.tokens] == pytest.approx([span.relevance for span in a.tokens], abs=1e-5)


def test_an_ordinary_text_costs_no_look_at_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer = tiny_t5()
    asked = with_memory(monkeypatch, 2**34)
    for _ in range(3):
        explainer.explain(SHORT)
    assert len(asked) == 1
    assert not explainer.classifier._peaks


def test_a_method_of_many_passes_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer = tiny_t5()
    with_memory(monkeypatch, 4 * MIB)
    with pytest.raises(InputError, match="of memory, of which 4 MiB are free"):
        baselines.scorer("gradient-x-input")(explainer, LONG)


# -- what was not foreseen -------------------------------------------------------------------------------------------


class Greedy(nn.Module):
    """A bag of words that asks for more memory than any machine has, where a text or a batch is long."""

    def __init__(self, tokenizer: Any, rows: int, length: int) -> None:
        super().__init__()
        self.table = nn.Embedding(len(tokenizer), 2)
        self.limits = rows, length

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        looked_up = self.table(input_ids) * attention_mask[..., None]
        LIVING.add(looked_up.untyped_storage())
        if input_ids.shape[0] > self.limits[0] or input_ids.shape[1] > self.limits[1]:
            torch.empty(1 << 55)
        return looked_up.sum(1)


LIVING: weakref.WeakSet[Any] = weakref.WeakSet()


@pytest.fixture
def tokenizer() -> Iterator[Any]:
    yield fast_tokenizer("wordpiece")
    LIVING.clear()


def test_where_memory_runs_out_the_others_are_explained(tokenizer: Any) -> None:
    explainer = Explainer(Greedy(tokenizer, rows=8, length=20), tokenizer)
    outcomes = explainer.explain_batch([SHORT, LONG, SHORT], errors="return")
    assert isinstance(outcomes[1], ModelError)
    assert str(outcomes[1]).startswith("there is not enough memory to explain 302 ids at once: read the text with")
    assert isinstance(outcomes[1].__cause__, RuntimeError)
    assert [e.text for e in (outcomes[0], outcomes[2])] == [SHORT, SHORT]
    with pytest.raises(LRPError, match="there is not enough memory to explain 302 ids"):
        explainer.explain(LONG)
    assert explainer.explain(LONG, long="windows", window=16).windows > 15


def test_where_memory_runs_out_a_batch_is_halved(tokenizer: Any) -> None:
    explainer = Explainer(Greedy(tokenizer, rows=4, length=99), tokenizer)
    outcomes = explainer.explain_batch([SHORT] * 8)
    assert len({e.logit for e in outcomes}) == 1
    assert explainer._engine._takes_batches


def test_an_error_that_is_kept_keeps_no_activations(tokenizer: Any) -> None:
    explainer = Explainer(Greedy(tokenizer, rows=4, length=20), tokenizer)
    LIVING.clear()
    (error,) = explainer.explain_batch([LONG], errors="return")
    gc.collect()
    assert isinstance(error, ModelError)
    assert not LIVING


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory: you tried"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_what_says_that_memory_ran_out(error: Exception, expected: bool) -> None:
    assert ran_out(error) is expected


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 3 bytes")])
def test_a_command_that_runs_out_of_memory_says_so(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Explainer, "explain", fail)
    answer = CliRunner().invoke(main, ["explain", "a wonderful film"])
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: there is not enough memory: give a smaller file or shorter texts")
    assert len(answer.stderr.splitlines()) == 1
