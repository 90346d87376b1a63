"""Sick models: each is explained right or refused in a sentence, is left as it was, and does not infect the next.

    python tests/reliability/sick_models.py [--count 5] [--seed 0] [--only NAME]

Weights of NaN and infinity, forward passes that raise, return nonsense, write over what they are given or meddle with
the process: after each, the model's weights, modes and hooks, the random numbers and torch's own modes must be as they
were, and a healthy model must be explained to the bit as before. --count is how many texts each of them is given.
"""

from __future__ import annotations

import copy
import inspect
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy
import torch
from reliability import attack, laws
from tiny_bert import bert, fast_tokenizer
from torch import Tensor, nn

from textlrp import Explainer, Explanation, LRPError

Forward = Callable[..., Any]
SICK: dict[str, tuple[Callable[[], nn.Module], str]] = {}

#: What may come of a sick model.
EXPLAINED, REFUSED, EITHER, EXITS = "explained", "refused", "either", "exits"

WORDS = "the film is wonderful and moving , never dull or bad ! great plot".split()


class Wrapped(nn.Module):
    """A healthy classifier inside a forward pass that is not."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.inner = healthy()
        self.config = self.inner.config
        self.sick = forward
        self.log: list[Any] = []

    def get_input_embeddings(self) -> nn.Module:
        return self.inner.get_input_embeddings()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        return self.sick(self, input_ids, attention_mask)

    def logits(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        return self.inner(input_ids=input_ids, attention_mask=attention_mask).logits


def healthy() -> Any:
    return bert(len(fast_tokenizer("wordpiece")))


def weights(name: str, expected: str) -> Callable[[Callable[[Any], Any]], None]:
    """A classifier whose weights a function spoils."""

    def note(spoil: Callable[[Any], Any]) -> None:
        def build() -> nn.Module:
            model = healthy()
            with torch.no_grad():
                found = spoil(model)
            return found if isinstance(found, type(model)) else model

        SICK[name] = build, expected

    return note


def forward(name: str, expected: str) -> Callable[[Forward], None]:
    """A classifier with another forward pass."""

    def note(sick: Forward) -> None:
        SICK[name] = lambda: Wrapped(sick).eval(), expected

    return note


def fill(model: nn.Module, value: float) -> None:
    for parameter in model.parameters():
        parameter.fill_(value)


# Weights

for _name, _value in {"NaN": float("nan"), "infinity": float("inf"), "minus infinity": -float("inf")}.items():
    weights(f"all weights {_name}", REFUSED)(lambda m, value=_value: fill(m, value))
    weights(f"one bias {_name}", REFUSED)(lambda m, value=_value: m.classifier.bias[0].fill_(value))
    weights(f"one weight {_name}", REFUSED)(lambda m, value=_value: m.bert.pooler.dense.weight[0, 0].fill_(value))
for _size in (1e30, 1e38, 3.4e38, -1e30):
    weights(f"all weights {_size:g}", EITHER)(lambda m, size=_size: fill(m, size))
    weights(f"one weight {_size:g}", EITHER)(lambda m, size=_size: m.classifier.weight[0, 0].fill_(size))
weights("all weights zero", EXPLAINED)(lambda m: fill(m, 0.0))
weights("all weights one", EXPLAINED)(lambda m: fill(m, 1.0))
weights("weights too small to be normal", EXPLAINED)(lambda m: [p.mul_(1e-40) for p in m.parameters()])
weights("weights times a million", EITHER)(lambda m: [p.mul_(1e6) for p in m.parameters()])
weights("a NaN for a word that is not read", EXPLAINED)(
    lambda m: m.bert.embeddings.word_embeddings.weight[-1].fill_(float("nan"))
)
weights("a NaN for words that are read", REFUSED)(
    lambda m: m.bert.embeddings.word_embeddings.weight.fill_(float("nan"))
)
weights("norms of nothing", EXPLAINED)(
    lambda m: [p.zero_() for n, p in m.named_parameters() if "LayerNorm" in n] and None
)
weights("weights made in inference mode", REFUSED)(lambda m: in_inference(m))
weights("doubles and floats", EITHER)(lambda m: m.bert.encoder.double())
weights("halves and floats", EITHER)(lambda m: m.classifier.half())
weights("a classifier on meta", REFUSED)(lambda m: m.classifier.to("meta"))
weights("copied weights", EXPLAINED)(copy.deepcopy)
weights("weights frozen in part", EXPLAINED)(lambda m: m.classifier.requires_grad_(False))
weights("gradients that are there", EXPLAINED)(
    lambda m: [setattr(p, "grad", torch.ones_like(p)) for p in m.parameters()] and None
)
weights("in training mode", EXPLAINED)(lambda m: m.train())
weights("in training mode in part", EXPLAINED)(lambda m: m.bert.encoder.train())


def in_inference(model: nn.Module) -> None:
    with torch.inference_mode():
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()


@weights("shared weights", EXPLAINED)
def _shared(model: Any) -> None:
    attention = model.bert.encoder.layer[0].attention.self
    attention.key.weight = attention.query.weight


@weights("quantized", EITHER)
def _quantized(model: Any) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


# Hooks


def hooked(name: str, expected: str, hang: Callable[[Any], Any]) -> None:
    def build() -> nn.Module:
        model = healthy()
        hang(model)
        return model

    SICK[name] = build, expected


def _raise(error: BaseException) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise error

    return function


hooked("a hook that raises", REFUSED, lambda m: m.classifier.register_forward_hook(_raise(ValueError("no more"))))
hooked("a hook before that raises", REFUSED, lambda m: m.bert.register_forward_pre_hook(_raise(KeyError("gone"))))
hooked("a hook that doubles", EXPLAINED, lambda m: m.classifier.register_forward_hook(lambda m, i, o: 2 * o))
hooked("a hook that returns a word", REFUSED, lambda m: m.classifier.register_forward_hook(lambda m, i, o: "logits"))
hooked(
    "a hook on the way back that raises",
    EXPLAINED,
    lambda m: m.bert.pooler.register_full_backward_hook(_raise(OSError("x"))),
)
hooked(
    "a hook that hangs up others",
    EITHER,
    lambda m: m.classifier.register_forward_hook(lambda m, i, o: m.register_forward_hook(lambda *_: None)),
)
hooked(
    "a hook that takes itself down",
    EITHER,
    lambda m: m.classifier.register_forward_hook(lambda m, i, o: m._forward_hooks.clear()),
)


# What a forward pass returns

_RETURNS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "nothing": (lambda x: None, REFUSED),
    "a number": (lambda x: 3, REFUSED),
    "a word": (lambda x: "positive", REFUSED),
    "bytes": (lambda x: b"\0", REFUSED),
    "a generator": (lambda x: (each for each in x), REFUSED),
    "an empty list": (lambda x: [], REFUSED),
    "an empty dict": (lambda x: {}, REFUSED),
    "a list": (lambda x: [x, "more"], EXPLAINED),
    "an object with logits": (lambda x: SimpleNamespace(logits=x), EXPLAINED),
    "an object whose logits are text": (lambda x: SimpleNamespace(logits="x"), REFUSED),
    "one dimension": (lambda x: x[0], EITHER),
    "three dimensions": (lambda x: x[None], REFUSED),
    "no labels": (lambda x: x[:, :0], REFUSED),
    "two documents too many": (lambda x: torch.cat([x, x, x]), REFUSED),
    "integers": (lambda x: x.long() + 1, REFUSED),
    "booleans": (lambda x: x > -99, REFUSED),
    "complex numbers": (lambda x: x.to(torch.complex64), REFUSED),
    "numbers of numpy": (lambda x: x.detach().numpy(), REFUSED),
    "logits cut off": (lambda x: x.detach(), REFUSED),
    "other logits cut off": (lambda x: x.data * 1, REFUSED),
    "a copy through a list": (lambda x: torch.tensor(x.tolist()), REFUSED),
    "constants": (lambda x: torch.ones_like(x), REFUSED),
    "random numbers": (lambda x: torch.randn(x.shape), REFUSED),
    "NaN": (lambda x: x * float("nan"), REFUSED),
    "infinity": (lambda x: x + float("inf"), REFUSED),
    "a root of nothing": (lambda x: (x - x.detach()).sqrt(), EITHER),
    "sparse logits": (lambda x: x.to_sparse(), REFUSED),
    "halves": (lambda x: x.half(), EITHER),
    "doubles": (lambda x: x.double(), EXPLAINED),
    "a view turned around": (lambda x: x.flip(0).flip(0), EXPLAINED),
    "rounded logits": (lambda x: (9 * x).round() + 1, EXPLAINED),
    "logits on meta": (lambda x: x.to("meta"), REFUSED),
}
for _name, (_form, _expected) in _RETURNS.items():
    forward(f"returns {_name}", _expected)(lambda m, ids, mask, form=_form: form(m.logits(ids, mask)))


# What a forward pass does

_ERRORS: dict[str, BaseException] = {
    "a ValueError": ValueError("the text is too good"),
    "an error of three lines": RuntimeError("one\ntwo\nthree"),
    "an error without words": AssertionError(),
    "an error of blank lines": RuntimeError("\n \n"),
    "an error with controls": RuntimeError("\x1b[2J\x07 cleared"),
    "a KeyError": KeyError("missing"),
    "StopIteration": StopIteration(),
    "an error of 100,000 characters": RuntimeError("x" * 100_000),
    "a UnicodeDecodeError": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    "MemoryError": MemoryError(),
    "NotImplementedError": NotImplementedError(),
}
for _name, _error in _ERRORS.items():
    forward(f"raises {_name}", REFUSED)(lambda m, ids, mask, error=_error: _raise(error)())


@forward("raises an error that cannot be shown", REFUSED)
def _unshown(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    raise Mute


@forward("leaves Python", EXITS)
def _exits(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    sys.exit(0)


@forward("seeds all random numbers", EXPLAINED)
def _seeds(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    torch.manual_seed(3)
    numpy.random.seed(3)
    random.seed(3)
    return m.logits(ids, mask)


@forward("draws random numbers", EXPLAINED)
def _draws(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    m.drawn = torch.randn(3), numpy.random.rand(3), random.random()
    return m.logits(ids, mask)


@forward("calls itself without end", REFUSED)
def _endless(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    return m(ids, mask)


@forward("writes over its ids", EITHER)
def _writes(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    logits = m.logits(ids, mask)
    ids.zero_()
    return logits


@forward("writes over its ids first", EITHER)
def _writes_first(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    ids[:, 1] = 7
    return m.logits(ids, mask)


@forward("writes over its mask", EITHER)
def _masks(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    if mask is not None:
        mask[:, -1] = 0
    return m.logits(ids, mask)


@forward("changes its config", EXPLAINED)
def _config(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    m.config.id2label = {0: "other", 1: "names"}
    m.config.changed = True
    return m.logits(ids, mask)


@forward("keeps its activations", EXPLAINED)
def _keeps(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    logits = m.logits(ids, mask)
    m.log.append(logits)
    m.last = logits
    return logits


@forward("goes back by itself", EITHER)
def _backward(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    logits = m.logits(ids, mask)
    if logits.requires_grad:
        logits.sum().backward(retain_graph=True)
    return logits


@forward("asks for gradients of its weights", EITHER)
def _requires(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    m.requires_grad_(True)
    return m.logits(ids, mask)


@forward("freezes its weights", EXPLAINED)
def _freezes(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    m.requires_grad_(False)
    return m.logits(ids, mask)


@forward("goes into training mode", EITHER)
def _trains(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    return m.train().logits(ids, mask)


@forward("drops out by hand", EITHER)
def _drops(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    return nn.functional.dropout(m.logits(ids, mask), 0.5, training=True)


@forward("forgets its gradients", REFUSED)
def _no_grad(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    with torch.no_grad():
        return m.logits(ids, mask)


@forward("switches gradients off for good", REFUSED)
def _grad_off(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    torch.set_grad_enabled(False)
    return m.logits(ids, mask)


@forward("computes in inference mode", REFUSED)
def _inference(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    with torch.inference_mode():
        return m.logits(ids, mask)


@forward("adds what inference mode made", EITHER)
def _inference_part(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    with torch.inference_mode():
        more = torch.ones(2)
    return m.logits(ids, mask) + more


@forward("prints", EXPLAINED)
def _prints(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    print("hello" * 10)
    return m.logits(ids, mask)


@forward("sleeps", EXPLAINED)
def _sleeps(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    time.sleep(0.02)
    return m.logits(ids, mask)


@forward("computes in a thread", EITHER)
def _thread(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(m.logits(ids, mask)))
    thread.start()
    thread.join()
    return found[0]


@forward("starts a thread that computes on", EXPLAINED)
def _thread_on(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    threading.Thread(target=lambda: torch.ones(100).sum(), daemon=True).start()
    return m.logits(ids, mask)


@forward("asks for a petabyte", REFUSED)
def _petabyte(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    return m.logits(ids, mask) + torch.empty(1 << 48).sum()


@forward("looks no word up", REFUSED)
def _blind(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    return m.inner.classifier(torch.ones(len(ids), m.config.hidden_size))


@forward("looks words up by hand", EITHER)
def _by_hand(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    table = m.get_input_embeddings().weight
    return m.inner(inputs_embeds=table[ids], attention_mask=mask).logits


@forward("takes the log of nothing", REFUSED)
def _log(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    return (m.logits(ids, mask) * 0).log()


@forward("writes over its logits", EITHER)
def _in_place(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    return m.logits(ids, mask).mul_(2).clamp_(-1, 1).add_(1)


@forward("knows a gradient of its own", EITHER)
def _own_gradient(m: Wrapped, ids: Tensor, mask: Tensor | None) -> Any:
    return Lying.apply(m.logits(ids, mask))


class Lying(torch.autograd.Function):
    """A function whose gradient is another one's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 3 + 1

    @staticmethod
    def backward(ctx: Any, c: Tensor) -> Tensor:
        return c * 100


# What they are made of


def made(name: str, expected: str) -> Callable[[Callable[[], nn.Module]], None]:
    def note(build: Callable[[], nn.Module]) -> None:
        SICK[name] = build, expected

    return note


@made("compiled by jit in part", EITHER)
def _jit() -> nn.Module:
    model = healthy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.classifier = torch.jit.script(model.classifier)
    return model


@made("traced by jit in part", EITHER)
def _traced() -> nn.Module:
    model = healthy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.classifier = torch.jit.trace(model.classifier, torch.ones(1, model.config.hidden_size))
    return model


@made("nothing", REFUSED)
def _nothing() -> nn.Module:
    class Empty(nn.Module):
        def forward(self, input_ids: Tensor) -> Tensor:
            return torch.stack([input_ids.sum(-1).float(), input_ids.float().mean(-1)], 1)

    return Empty()


@made("weights that are no parameters", EITHER)
def _plain() -> nn.Module:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))

        def forward(self, input_ids: Tensor) -> Tensor:
            return nn.functional.embedding(input_ids, self.table).sum(1)

    return Plain()


@made("a forward pass that wants more", REFUSED)
def _wants() -> nn.Module:
    class Wants(Wrapped):
        def forward(self, input_ids: Tensor, more: Tensor) -> Any:  # type: ignore[override]
            return self.logits(input_ids, None) + more

    return Wants(lambda *_: None).eval()


@made("embeddings that nobody may see", EITHER)
def _secret() -> nn.Module:
    class Secret(Wrapped):
        def get_input_embeddings(self) -> nn.Module:
            raise RuntimeError("secret")

    return Secret(lambda m, ids, mask: m.logits(ids, mask)).eval()


@made("a config that is a dict", EITHER)
def _dict() -> nn.Module:
    model = Wrapped(lambda m, ids, mask: m.logits(ids, mask)).eval()
    model.config = {"id2label": {0: "NEG", 1: "POS"}}
    return model


# What must be as it was


def picture(model: nn.Module) -> dict[str, Any]:
    """Take down all that an explanation must leave as it was."""
    state = {
        name: None
        if value.is_meta or value.is_quantized
        else value.detach().cpu().contiguous().view(-1).view(torch.uint8).clone()
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor)
    }
    return {
        "weights": state,
        "modes": [module.training for module in model.modules()],
        "frozen": [parameter.requires_grad for parameter in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "hooks": [
            tuple(len(getattr(module, table)) for table in HOOKS if isinstance(getattr(module, table, None), dict))
            for module in model.modules()
        ],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "config": copy.deepcopy(getattr(getattr(model, "config", None), "__dict__", None)),
    }


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def process() -> dict[str, Any]:
    """Take down what belongs to the process."""
    return {
        "random numbers of torch": torch.get_rng_state(),
        "random numbers of numpy": str(numpy.random.get_state()),
        "random numbers of Python": random.getstate(),
        "gradients are computed": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "the usual dtype": torch.get_default_dtype(),
        "modes of torch functions": torch._C._len_torch_function_stack(),
        "modes of dispatch": torch._C._len_torch_dispatch_stack(),
    }


def differs(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor):
        return not isinstance(after, Tensor) or not torch.equal(before, after)
    if isinstance(before, dict):
        return (
            not isinstance(after, dict)
            or before.keys() != after.keys()
            or any(differs(v, after[k]) for k, v in before.items())
        )
    if isinstance(before, (list, tuple)):
        return len(before) != len(after) or any(map(differs, before, after))
    return bool(before != after)


# The attack


def attempt(name: str, texts: Sequence[str]) -> str:
    """Explain texts with a sick model, one by one and as a batch, and return what came of it.

    Raises:
        Broken: a law does not hold, or something is not as it was.
    """
    build, expected = SICK[name]
    model = build()
    before, around = picture(model), process()
    outcomes = set()
    for way in (
        *(lambda e, text=text: [e.explain(text)] for text in texts),
        lambda e: e.explain_batch(texts, errors="return"),
    ):
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            outcomes |= set(outcome(way, model))
        for now, then in ((picture(model), before), (process(), around)):
            for what, value in then.items():
                laws.hold(not differs(value, now[what]), f"not as before: {what}")
    came = " or ".join(sorted(outcomes))
    laws.hold(expected in (came, EITHER), f"{came}, and should be {expected}")
    return came


def outcome(way: Callable[[Explainer], list[Any]], model: nn.Module) -> Iterator[str]:
    try:
        found = way(Explainer(model, fast_tokenizer("wordpiece")))
    except LRPError as error:
        found = [error]
    except SystemExit:
        yield EXITS
        return
    for each in found:
        if isinstance(each, Explanation):
            laws.books(each)
            right(model, each)
            yield EXPLAINED
        else:
            laws.sentence(each)
            yield REFUSED


@contextmanager
def own_random_numbers() -> Iterator[None]:
    """Give the generators back what they had."""
    states = numpy.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    numpy.random.set_state(states[0])
    random.setstate(states[1])


def right(model: nn.Module, e: Explanation) -> None:
    """The logits are those that the model gives when nobody explains it."""
    tokenizer = fast_tokenizer("wordpiece")
    ids = torch.tensor([tokenizer(e.text)["input_ids"]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    accepted = inspect.signature(model.forward).parameters
    with torch.no_grad(), own_random_numbers():
        output = copy.deepcopy(model).eval()(**{key: value for key, value in inputs.items() if key in accepted})
    logits = getattr(output, "logits", output)
    logits = logits[0] if isinstance(logits, list) else logits
    laws.hold(
        torch.allclose(
            logits.reshape(-1).double(),
            torch.tensor(list(e.logits.values()), dtype=torch.float64),
            rtol=1e-3,
            atol=1e-4,
        ),
        "other logits than the model's own",
    )


def run(names: Sequence[str], count: int, seed: int) -> attack.Tally:
    """Try sick models, and a healthy one after each."""
    tally = attack.Tally()
    r = random.Random(seed)
    sound = Explainer(healthy(), fast_tokenizer("wordpiece"))
    for name in names:
        texts = [" ".join(r.choices(WORDS, k=r.randint(3, 9))) for _ in range(count)]
        before = sound.explain(texts[0])
        try:
            tally.note(attempt(name, texts))
            laws.hold(sound.explain(texts[0]) == before, "a healthy model is explained otherwise afterwards")
        except laws.Broken as broken:
            tally.note("broken", f"{name}: {broken}")
        except Exception as error:
            tally.note("raw errors", f"{name}: {type(error).__name__}: {str(error)[:300]!r}")
        finally:
            torch.set_grad_enabled(True)
    return tally


def main(line: Sequence[str] | None = None) -> None:
    asked = attack.arguments(__doc__, 5, line, ["only"])
    began = time.monotonic()
    torch.set_num_threads(1)
    names = [asked.only] if asked.only is not None else list(SICK)
    attack.finish(run(names, asked.count, asked.seed), "sick models", began)


if __name__ == "__main__":
    main()
