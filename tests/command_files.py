"""A folder with one of everything that commands read, made without a model, and the commands that read it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from consistent_explanations import consistent
from example_records import record

from textlrp.data.records import write_run
from textlrp.report.reading import read_report
from textlrp.report.writing import write_report

TEXT = "the film is never dull"


def furnish(folder: Path) -> None:
    """Write texts, a table, rules, a saved run, a folder of explanations, a split report and marks made in it."""
    (folder / "texts.txt").write_text(f"{TEXT}\nthe plot is great\n")
    (folder / "table.csv").write_text(f'id,text,label\na,"{TEXT}",POS\nb,the plot is bad,NEG\n')
    (folder / "rules.json").write_text('{"linear": {"rule": "epsilon", "epsilon": 1e-6}}')
    made = [record(TEXT, identity="a"), record("the plot is bad", identity="b")]
    records = [replace(each, explanations=tuple(map(consistent, each.explanations))) for each in made]
    write_run(folder / "run.jsonl", records)
    (folder / "saved").mkdir()
    records[0].explanation.to_json(folder / "saved" / "one.json")
    pages = write_report(records, folder / "marked.html", page_documents=1)
    assert [path.name for path in pages] == ["marked.html", "marked-001.html", "marked-002.html"]
    values = {
        "textlrp": "annotation",
        "format": 1,
        "report": read_report(pages[0]).id,
        "annotator": "Ada",
        "document": "a",
        "verdict": "agree",
        "label": None,
        "comment": "",
        "rationales": [{"start": 4, "end": 8, "text": "film", "source": "text"}],
        "blind": True,
        "changed": "2026-01-31T12:00:00Z",
    }
    (folder / "marks.jsonl").write_text(json.dumps(values) + "\n")


def contents(folder: Path) -> dict[str, bytes]:
    """Everything that is in a folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


EVALUATE = ["evaluate", "--corpus", "table.csv", "--method", "attnlrp", "--method", "random", "--perturb", "zero"]

#: Every output of every command but ``serve``: what writes it to ``OUT``, and whether that needs a model.
COMMANDS: dict[str, tuple[list[str], bool]] = {
    "explain": (["explain", TEXT, "-o", "OUT"], True),
    "explain layers": (["explain", TEXT, "--layers", "-o", "OUT"], True),
    "explain html": (["explain", "--file", "texts.txt", "--format", "html", "-o", "OUT"], True),
    "explain json": (["explain", TEXT, "--format", "json", "-o", "OUT"], True),
    "report": (["report", "table.csv", "-o", "OUT"], True),
    "report of a run": (["report", "run.jsonl", "-o", "OUT"], False),
    "report --save": (["report", "table.csv", "-o", "saved.html", "--save", "OUT"], True),
    **{
        f"annotations {form}": (
            ["annotations", "marks.jsonl", "--report", "marked.html", "--format", form, "-o", "OUT"],
            False,
        )
        for form in ("terminal", "html", "json")
    },
    **{
        f"export {to}": (["export", "run.jsonl", "--to", to, "-o", "OUT"], False)
        for to in ("doccano", "prodigy", "spacy", "csv", "parquet")
    },
    "export docbin": (["export", "run.jsonl", "--to", "spacy", "-o", "OUT.spacy"], False),
    "check": (["check", "--text", TEXT, "--rules", "attnlrp", "-o", "OUT"], True),
    "check json": (["check", "--text", TEXT, "--rules", "attnlrp", "--json", "-o", "OUT"], True),
    **{f"evaluate {form}": ([*EVALUATE, "--format", form, "-o", "OUT"], True) for form in ("terminal", "html", "json")},
}
