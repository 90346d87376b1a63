"""A finished explanation is saved, loaded and shown as it is, and without torch."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from consistent_explanations import softmax

from textlrp import Explanation, Ledger, Span
from textlrp.errors import FileError, InputError


def made(**changes: Any) -> Explanation:
    values: dict[str, Any] = {
        "text": "Gut, ☃é\n😀",
        "target": "POS",
        "contrast": None,
        "logit": 0.1 + 0.2,
        "logits": {"NEG": -1 / 3, "POS": 0.1 + 0.2},
        "probabilities": softmax({"NEG": -1 / 3, "POS": 0.1 + 0.2}),
        "predicted": "POS",
        "tokens": (
            Span(0, 0, "", 0.05, True, "[CLS]"),
            Span(0, 3, "Gut", 1 / 3, False, "gut"),
            Span(8, 9, "😀", -1e-17, False, "ð"),
        ),
        "ledger": Ledger({"tokens": 1 / 3, "special tokens": 0.05, "biases": -0.08333333333333331}, 0.1 + 0.2),
        "truncated": (8, 9),
        "model": "tiny",
        "versions": {"torch": "2.13.0"},
    }
    return Explanation(**{**values, **changes})


def contrasted() -> Explanation:
    """Without probabilities, and the difference of two logits."""
    logit = 0.1 + 0.2 + 1 / 3
    books = Ledger({"tokens": 1 / 3, "special tokens": 0.05, "biases": 0.25}, logit)
    return made(truncated=None, contrast="NEG", probabilities={}, logit=logit, ledger=books)


def test_json_gives_back_the_very_same_explanation(tmp_path: Path) -> None:
    for e in (made(), contrasted()):
        path = tmp_path / "e.json"
        written = e.to_json(path)
        assert path.read_bytes().decode() == written
        assert Explanation.from_json(written) == Explanation.from_json(path) == Explanation.from_json(str(path)) == e
        assert Explanation.from_dict(json.loads(json.dumps(e.to_dict()))) == e
        assert e.to_json() == written
        assert os.listdir(tmp_path) == ["e.json"]
    assert "☃" in written


def test_an_explanation_is_frozen_and_can_be_copied_and_sent() -> None:
    e = made()
    with pytest.raises(dataclasses.FrozenInstanceError):
        e.logit = 0.0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(e)) == copy.deepcopy(e) == e


def test_it_loads_and_shows_itself_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    made().to_json(path)
    script = (
        "import sys, rich, textlrp\n"
        "e = textlrp.Explanation.from_json(sys.argv[1]); rich.print(e); e.to_json(sys.argv[1])\n"
        "loaded = {'torch', 'transformers', 'tokenizers', 'numpy'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, path], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.startswith("POS 65.3 %   explained: POS, logit +0.300")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": 99}, "this has format 99, and this version of textlrp reads explanations of format 1"),
        ({"format": None}, "this has format None"),
        ({"text": None}, "it was changed"),
        ({"tokens": 3}, "it was changed"),
        ({"tokens": [{"start": 0}]}, "it was changed"),
        ({"ledger": []}, "it was changed"),
        ({"extra": 1}, "it was changed"),
        ({"text": "other"}, "its text has no 'Gut' at characters 0 to 3"),
    ],
)
def test_what_is_no_explanation_is_said_so(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Explanation.from_dict({**made().to_dict(), **changed})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "a JSON object was expected"),
        (b"{", "is not JSON"),
        (b"{}", "this has format none"),
        (b"\xff{}", "is not UTF-8: byte 0 cannot be read"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_so(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        Explanation.from_json(path)


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    for source in (tmp_path / "none.json", str(tmp_path / "none.json"), tmp_path, "no\0name"):
        with pytest.raises(InputError, match="cannot read"):
            Explanation.from_json(source)


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_text("before")
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(FileError, match=r"cannot write '.*e\.json': File too large"):
            made().to_json(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["e.json"]


def test_a_link_stays_a_link_and_a_device_a_device(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("")
    link.symlink_to(target)
    made().to_json(link)
    assert link.is_symlink()
    assert Explanation.from_json(target) == made()
    made().to_json(os.devnull)
    assert not Path(os.devnull).is_file()


def test_a_missing_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write '.*none/e\.json': No such file or directory"):
        made().to_json(tmp_path / "none" / "e.json")
    with pytest.raises(InputError, match="cannot write"):
        made().to_json(tmp_path)


def test_words_and_sentences_are_written_for_other_readers() -> None:
    e = made()
    values = e.to_dict()
    for key, spans in (("words", e.words), ("sentences", e.sentences)):
        assert values[key] == [
            {"start": s.start, "end": s.end, "text": s.text, "relevance": s.relevance, "source": s.source}
            for s in spans
        ]
        assert "".join(s.text for s in spans) == e.text
    for key in ("words", "sentences", "digest"):
        del values[key]
    assert Explanation.from_dict(values) == e


def test_what_was_written_before_there_were_pairs_is_still_read() -> None:
    e = made()
    values = e.to_dict()
    for key in ("words", "sentences", "text_pair", "truncated_pair", "windows", "digest"):
        del values[key]
    for span in values["tokens"]:
        del span["source"]
    del values["ledger"]["residue"]
    assert Explanation.from_dict(values) == e


def test_a_span_of_a_second_text_that_is_not_there_is_said_so() -> None:
    values = made().to_dict()
    values["tokens"][-1]["source"] = "text_pair"
    with pytest.raises(InputError, match=r"was changed: tokens\[2\] is in 'text_pair', and there is no such text"):
        Explanation.from_dict(values)
