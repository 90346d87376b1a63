"""The script that sets methods against people, on a handful of rows made for it."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "examples" / "measure_against_people.py"
GOOD, BAD = "A wonderful film and a moving story", "A dull film and a boring story"


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rated = [[2, 11, 4], [0, len(GOOD), 4]], [[2, 6, 0], [0, len(BAD), 1]]
    texts = [(GOOD, "POS", "positive", [[2, 11]]), (BAD, "NEG", "negative", [[2, 6], [18, 24]])]
    write(
        tmp_path / "sst.jsonl.gz",
        [
            {"id": str(i), "split": "test", "text": text, "label": label, "phrases": phrases}
            for i, ((text, label, _, _), phrases) in enumerate(zip(texts, rated, strict=True))
        ],
    )
    people = [{"label": name, "rationales": marks} for _, _, name, marks in texts]
    write(
        tmp_path / "sst_rationales.jsonl.gz",
        [
            {"id": str(i), "text": text, "label": label, "annotators": [people[i], people[i], people[1 - i]]}
            for i, (text, label, _, _) in enumerate(texts)
        ],
    )
    write(
        tmp_path / "counterfactual_movies.jsonl.gz",
        [
            {"id": str(i), "split": "test", "pair": "one", "text": text, "label": label}
            for i, (text, label, _, _) in enumerate(texts)
        ],
    )
    return tmp_path


def test_the_table_has_a_row_for_each_method(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("measure_against_people", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["--data", str(folder), "--methods", "attnlrp", "random"])
    said, _, head, _, *rows = capsys.readouterr().out.splitlines()
    assert said == "2 rated sentences, 2 marked ones, 2 pairs; textlrp demo"
    assert head.count("|") == 7
    assert [row.split("|")[1].strip() for row in rows] == [
        "`attnlrp`",
        "`random`",
        "a person against the others",
        "chance",
    ]
    numbers = [re.findall(r"\d\.\d\d", row) for row in rows]
    assert numbers[0][0] == "1.00"  # every phrase has the sign of its words
    assert numbers[2][0] == "1.00"  # both annotators marked the same words
    # A word of seven is marked in one text, two of seven in the other; two of seven were edited in both.
    assert "0.29 (0.29 to 0.29)" in rows[3]
