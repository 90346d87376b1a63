"""Hostile model folders: each is explained, or refused in a sentence in time, and runs no code of its own.

    python tests/reliability/hostile_folders.py [--count 100] [--seed 0] [--only NAME]

A small classifier is saved, its folder is damaged in a way of a list, and `textlrp explain --model` is given it; then
--count folders have random bytes of one of their files changed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reliability import attack, commands, damaged_inputs, laws
from tiny_bert import bert, fast_tokenizer

MODEL = "model"
CONFIG, WEIGHTS, TOKENIZER, SETTINGS = "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"

#: What a folder's own code would leave behind.
TRACE = "code-ran"
CODE = f"""
import pathlib
pathlib.Path({TRACE!r}).touch()
class Own:
    pass
"""


@dataclass(frozen=True)
class Damage:
    """What is done to a folder.

    Attributes:
        do: changes the folder at a path.
        harmless: whether the model may be explained all the same.
        name: what the folder is called then.
    """

    do: Callable[[Path], object]
    harmless: bool = False
    name: str = MODEL


def write(name: str, written: str | bytes) -> Callable[[Path], object]:
    raw = written.encode("utf-8", "surrogatepass") if isinstance(written, str) else written
    return lambda folder: (folder / name).write_bytes(raw)


def change(name: str, make: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(make((folder / name).read_bytes()))


def settings(name: str, **changes: Any) -> Callable[[Path], object]:
    """Change some settings of a JSON file; None takes one out."""

    def do(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        values.update(changes)
        (folder / name).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))

    return do


def without(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).unlink() for name in names]


def linked(name: str, target: str) -> Callable[[Path], object]:
    def do(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return do


def replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def do(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return do


def header(make: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change what the weights' file says of itself."""

    def do(folder: Path) -> None:
        raw = (folder / WEIGHTS).read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        said = json.loads(raw[8 : 8 + size])
        made = make(said)
        new = json.dumps(said if made is None else made).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(new)) + new + raw[8 + size :])

    return do


def tensor(said: dict[str, Any]) -> dict[str, Any]:
    return next(value for key, value in said.items() if key == "classifier.weight")


def vocabulary(change_it: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def do(folder: Path) -> None:
        values = json.loads((folder / TOKENIZER).read_text())
        change_it(values)
        (folder / TOKENIZER).write_text(json.dumps(values))

    return do


def own_code(kind: str, of: str = CONFIG) -> Callable[[Path], object]:
    def do(folder: Path) -> None:
        (folder / "own.py").write_text(CODE)
        auto = {"AutoTokenizer": ["own.Own", "own.Own"]} if kind == "AutoTokenizer" else {kind: "own.Own"}
        settings(of, auto_map=auto, model_type="own" if of == CONFIG else None)(folder)

    return do


def pickled(folder: Path) -> None:
    """Weights that run code where they are read as a pickle."""
    (folder / WEIGHTS).unlink()
    command = f"import pathlib; pathlib.Path({TRACE!r}).touch()".encode()
    (folder / "pytorch_model.bin").write_bytes(b"cbuiltins\nexec\n(S'" + command.replace(b"'", b"\\'") + b"'\ntR.")


DEEP = "[" * 100_000 + "]" * 100_000

DAMAGE: dict[str, Damage] = {
    "nothing": Damage(lambda folder: None, harmless=True),
    "an empty folder": Damage(lambda folder: [path.unlink() for path in folder.iterdir()]),
    "no config": Damage(without(CONFIG)),
    "no weights": Damage(without(WEIGHTS)),
    "no tokenizer": Damage(without(TOKENIZER)),
    "no tokenizer at all": Damage(without(TOKENIZER, SETTINGS)),
    "an empty config": Damage(write(CONFIG, "")),
    "a config that is no JSON": Damage(write(CONFIG, '{"model_type": "bert"')),
    "a config that is a list": Damage(write(CONFIG, "[]")),
    "a config that is null": Damage(write(CONFIG, "null")),
    "a config of random bytes": Damage(write(CONFIG, random.Random(0).randbytes(500))),
    "a config nested 100,000 deep": Damage(write(CONFIG, DEEP)),
    "a config of UTF-16": Damage(change(CONFIG, lambda raw: raw.decode().encode("utf-16"))),
    "a config without a type": Damage(settings(CONFIG, model_type=None)),
    "an unknown type": Damage(settings(CONFIG, model_type="nobody knows\nit")),
    "a type of another kind": Damage(settings(CONFIG, model_type="vit")),
    "a type that is a number": Damage(settings(CONFIG, model_type=3)),
    "layers that are text": Damage(settings(CONFIG, num_hidden_layers="many")),
    "less than no layers": Damage(settings(CONFIG, num_hidden_layers=-1), harmless=True),
    "no layers": Damage(settings(CONFIG, num_hidden_layers=0), harmless=True),
    "a width of nothing": Damage(settings(CONFIG, hidden_size=0)),
    "another width": Damage(settings(CONFIG, hidden_size=32)),
    "heads that do not divide": Damage(settings(CONFIG, num_attention_heads=7)),
    "no heads": Damage(settings(CONFIG, num_attention_heads=0)),
    "an activation of no name": Damage(settings(CONFIG, hidden_act="nothing")),
    "a dtype of no name": Damage(settings(CONFIG, dtype="float7")),
    "an attention of no name": Damage(settings(CONFIG, attn_implementation="none"), harmless=True),
    "another vocabulary": Damage(settings(CONFIG, vocab_size=5)),
    "a vocabulary of billions": Damage(settings(CONFIG, vocab_size=4_000_000_000)),
    "positions of billions": Damage(settings(CONFIG, max_position_embeddings=4_000_000_000)),
    "fewer positions than special tokens": Damage(settings(CONFIG, max_position_embeddings=1)),
    "three labels for two outputs": Damage(settings(CONFIG, id2label={"0": "a", "1": "b", "2": "c"})),
    "labels with gaps": Damage(settings(CONFIG, id2label={"0": "a", "5": "b"})),
    "labels that are a list": Damage(settings(CONFIG, id2label=["a", "b"])),
    "labels whose numbers are names": Damage(settings(CONFIG, id2label={"zero": "a", "one": "b"})),
    "labels that are numbers": Damage(settings(CONFIG, id2label={"0": 0, "1": 1}), harmless=True),
    "labels of one name": Damage(settings(CONFIG, id2label={"0": "a", "1": "a"}), harmless=True),
    "labels of commands": Damage(settings(CONFIG, id2label={"0": "\x1b[2J", "1": "<script>"}), harmless=True),
    "a task of no name": Damage(settings(CONFIG, problem_type="guessing"), harmless=True),
    "padding beyond the table": Damage(settings(CONFIG, pad_token_id=10**6), harmless=True),
    "quantization of no name": Damage(settings(CONFIG, quantization_config={"quant_method": "none"}), harmless=True),
    "empty weights": Damage(write(WEIGHTS, b"")),
    "weights cut in the middle": Damage(change(WEIGHTS, lambda raw: raw[: len(raw) // 2])),
    "weights without their last byte": Damage(change(WEIGHTS, lambda raw: raw[:-1])),
    "weights of random bytes": Damage(write(WEIGHTS, random.Random(1).randbytes(5000))),
    "weights with a huge header": Damage(change(WEIGHTS, lambda raw: struct.pack("<Q", 2**63) + raw[8:])),
    "weights with a header of nothing": Damage(change(WEIGHTS, lambda raw: bytes(8) + raw[8:])),
    "a header that is no JSON": Damage(change(WEIGHTS, lambda raw: raw[:8] + b"x" + raw[9:])),
    "a header nested 100,000 deep": Damage(write(WEIGHTS, struct.pack("<Q", len(DEEP)) + DEEP.encode())),
    "a shape of billions": Damage(header(lambda said: tensor(said).update(shape=[2**40, 2**40]))),
    "a shape below zero": Damage(header(lambda said: tensor(said).update(shape=[-2, 16]))),
    "a shape of another size": Damage(header(lambda said: tensor(said).update(shape=[16, 2]))),
    "offsets beyond the file": Damage(header(lambda said: tensor(said).update(data_offsets=[0, 2**40]))),
    "offsets that overlap": Damage(header(lambda said: tensor(said).update(data_offsets=[0, 128]))),
    "a dtype of integers": Damage(header(lambda said: tensor(said).update(dtype="I32")), harmless=True),
    "a dtype that does not exist": Damage(header(lambda said: tensor(said).update(dtype="F7"))),
    "a header without tensors": Damage(header(lambda said: {})),
    "a tensor missing": Damage(header(lambda said: said.pop("classifier.bias") and None)),
    "NaN among the weights": Damage(change(WEIGHTS, lambda raw: raw[:-64] + b"\xff" * 64), harmless=True),
    "weights that are a folder": Damage(replaced(WEIGHTS, Path.mkdir)),
    "weights that are a link to themselves": Damage(linked(WEIGHTS, WEIGHTS)),
    "weights that are a link to nothing": Damage(linked(WEIGHTS, "/nothing/here")),
    "weights in parts that are missing": Damage(
        lambda folder: (without(WEIGHTS)(folder), write(f"{WEIGHTS}.index.json", '{"weight_map": {"a": "b"}}')(folder))
    ),
    "weights in parts outside the folder": Damage(
        lambda folder: (
            without(WEIGHTS)(folder),
            write(f"{WEIGHTS}.index.json", '{"metadata": {}, "weight_map": {"a": "../../../etc/passwd"}}')(folder),
        )
    ),
    "a pickle that runs code": Damage(pickled),
    "a pickle of nothing": Damage(lambda folder: (without(WEIGHTS)(folder), write("pytorch_model.bin", b"")(folder))),
    "a tokenizer that is no JSON": Damage(write(TOKENIZER, "{")),
    "a tokenizer of nothing": Damage(write(TOKENIZER, "{}")),
    "a tokenizer nested 100,000 deep": Damage(write(TOKENIZER, DEEP)),
    "a tokenizer of random bytes": Damage(write(TOKENIZER, random.Random(2).randbytes(2000))),
    "a tokenizer cut in the middle": Damage(change(TOKENIZER, lambda raw: raw[: len(raw) // 2])),
    "a tokenizer without words": Damage(vocabulary(lambda values: values["model"].update(vocab={}))),
    "ids of words beyond the table": Damage(
        vocabulary(
            lambda values: values["model"].update(vocab={k: v + 10**6 for k, v in values["model"]["vocab"].items()})
        )
    ),
    "words without the unknown": Damage(
        vocabulary(lambda values: values["model"]["vocab"].pop("[UNK]")), harmless=True
    ),
    "a normalizer of no kind": Damage(vocabulary(lambda values: values.update(normalizer={"type": "None such"}))),
    "a normalizer that takes all away": Damage(
        vocabulary(lambda v: v.update(normalizer={"type": "Replace", "pattern": {"Regex": "."}, "content": ""}))
    ),
    "settings of the tokenizer that are no JSON": Damage(write(SETTINGS, "{")),
    "settings of the tokenizer that are a list": Damage(write(SETTINGS, "[]")),
    "a class of tokenizers of no name": Damage(settings(SETTINGS, tokenizer_class="NoSuch"), harmless=True),
    "a class that is no tokenizer": Damage(settings(SETTINGS, tokenizer_class="BertModel"), harmless=True),
    "a limit below zero": Damage(settings(SETTINGS, model_max_length=-5), harmless=True),
    "a limit that is text": Damage(settings(SETTINGS, model_max_length="long"), harmless=True),
    "a limit of one id": Damage(settings(SETTINGS, model_max_length=1)),
    "a model of its own code": Damage(own_code("AutoModelForSequenceClassification")),
    "a config of its own code": Damage(own_code("AutoConfig")),
    "a tokenizer of its own code": Damage(own_code("AutoTokenizer", SETTINGS), harmless=True),
    "a config that is a link to itself": Damage(linked(CONFIG, CONFIG)),
    "a config that is an endless device": Damage(linked(CONFIG, "/dev/zero")),
    "a config that is a pipe": Damage(replaced(CONFIG, os.mkfifo)),
    "a folder that holds itself": Damage(lambda folder: (folder / "more").symlink_to(".."), harmless=True),
    "a folder not to be read": Damage(lambda folder: folder.chmod(0), harmless=os.geteuid() == 0),
    "a name of two lines": Damage(without(CONFIG), name="two\nlines\x1b[2J"),
    "a name of two lines, and all is well": Damage(lambda folder: None, harmless=True, name="two\nlines\u202e"),
    "a name of 255 characters": Damage(without(CONFIG), name="x" * 255),
    "a name with a quotation mark": Damage(without(CONFIG), name='it\'s "here"'),
}


def save(folder: Path) -> None:
    tokenizer = fast_tokenizer("wordpiece")
    tokenizer.save_pretrained(folder)
    bert(len(tokenizer)).save_pretrained(folder)


def mutate(r: random.Random, folder: Path) -> None:
    """Change random bytes of one of a folder's files."""
    path = r.choice(sorted(path for path in folder.iterdir() if path.is_file()))
    path.write_bytes(damaged_inputs.mutate(r, path.read_bytes()))


def attempt(place: Path, damage: Damage) -> str:
    """Damage the folder in a place and explain a text with it; return what came.

    Raises:
        Broken: a law does not hold.
    """
    folder = place / damage.name
    if damage.name != MODEL:
        (place / MODEL).rename(folder)
    damage.do(folder)
    answer = commands.call(
        ["explain", "a wonderful film", "--model", str(folder), "-o", "out"], place, stdin=b"y\n" * 9
    )
    laws.hold(not (place / TRACE).exists() and not (folder / TRACE).exists(), "code of the folder ran")
    commands.decent(answer)
    if answer.status == 0:
        laws.hold(damage.harmless, "explained, and should be refused")
        laws.hold((place / "out").stat().st_size > 0, "exit status 0, and nothing is written")
        return "explained"
    commands.refused(answer)
    laws.hold(not (place / "out").exists(), "refused, and something is written")
    return "refused"


def run(names: Sequence[str], count: int, seed: int) -> attack.Tally:
    """Try the damage of these names, and random damage."""
    tally = attack.Tally()
    cases = [(name, DAMAGE[name]) for name in names]
    for number in range(count):
        change_it = partial(mutate, random.Random(f"{seed}:{number}"))
        cases.append((f"--seed {seed}, change {number}", Damage(change_it, harmless=True)))
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        save(source / MODEL)
        for what, damage in cases:
            place = Path(name) / "place"
            shutil.copytree(source, place)
            try:
                tally.note(attempt(place, damage))
            except laws.Broken as broken:
                tally.note("broken", f"{what}: {broken}")
            finally:
                shutil.rmtree(place)
    return tally


def main(line: Sequence[str] | None = None) -> None:
    asked = attack.arguments(__doc__, 100, line, ["only"])
    began = time.monotonic()
    commands.ready()
    names = [asked.only] if asked.only is not None else list(DAMAGE)
    attack.finish(run(names, 0 if asked.only else asked.count, asked.seed), "hostile folders", began)


if __name__ == "__main__":
    main()
