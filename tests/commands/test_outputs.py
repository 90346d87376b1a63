"""No command overwrites its input, writes a file twice, or replaces a file of others without --force."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from command_files import COMMANDS, TEXT, contents, furnish
from example_records import record
from strict_python import STRICT

from textlrp.cli import main
from textlrp.commands.outputs import RULE
from textlrp.errors import InputError
from textlrp.evaluate.run_folder import RESULTS, RUN
from textlrp.export import formats
from textlrp.report.writing import write_report

PROGRAM = [*STRICT, "-m", "textlrp.cli"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one of everything."""
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: Any) -> tuple[int, str]:
    """Run a command, and return its status and standard error, without what an evaluation says before it starts."""
    done = CliRunner().invoke(main, [str(each) for each in arguments], prog_name="textlrp")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, re.sub(r"^(evaluating|going on) .*\n", "", done.stderr)


def links(folder: Path) -> None:
    """More names for files that are there, and for one that is not."""
    (folder / "link.jsonl").symlink_to("run.jsonl")
    (folder / "hard.jsonl").hardlink_to("run.jsonl")
    (folder / "up").mkdir()
    (folder / "linked").symlink_to("up")
    for name in ("new-1", "new-2"):
        (folder / name).symlink_to("nothing-yet")
    shutil.copy("run.jsonl", "book-001.jsonl")
    (folder / "kept").mkdir()
    shutil.copy("run.jsonl", f"kept/{RESULTS}")
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")


DESTROYED = """
explain --file texts.txt -o texts.txt: -o 'texts.txt' is read, too: name another file
explain --file texts.txt -o up/../texts.txt: -o 'up/../texts.txt' is 'texts.txt', which is read: name another file
explain film --rules rules.json -o rules.json: -o 'rules.json' is read, too: name another file
explain film --model model -o model/config.json: -o 'model/config.json' is in the folder 'model', which is read
check --file texts.txt -o texts.txt: -o 'texts.txt' is read, too
check --rules attnlrp --rules rules.json -o rules.json: -o 'rules.json' is read, too
check model -o linked/../model/config.json: is in the folder 'model', which is read
report table.csv -o table.csv: -o 'table.csv' is read, too
report table.csv --save table.csv: --save 'table.csv' is read, too
report run.jsonl --save run.jsonl: --save 'run.jsonl' is read, too
report run.jsonl -o link.jsonl: -o 'link.jsonl' is 'run.jsonl', which is read
report link.jsonl -o run.jsonl: -o 'run.jsonl' is 'link.jsonl', which is read
report run.jsonl --save hard.jsonl: --save 'hard.jsonl' is 'run.jsonl', which is read
report saved --save saved/one.json: --save 'saved/one.json' is in the folder 'saved', which is read
report saved --save saved/new.jsonl: --save 'saved/new.jsonl' is in the folder 'saved', which is read
report table.csv --rules rules.json --save rules.json: --save 'rules.json' is read, too
report table.csv --model model --save model/config.json: is in the folder 'model', which is read
report table.csv -o new --save new: -o and --save are one file, 'new': name two
report table.csv -o new --save ./up/../new: -o and --save are one file
report table.csv -o up/new --save linked/new: -o and --save are one file
report table.csv -o new-1 --save new-2: -o and --save are one file
report table.csv -o nothing-yet --save new-2: -o and --save are one file
report table.csv -o marked.html --save marked-003.html: --save 'marked-003.html' may be a page of the report
report book-001.jsonl -o book.jsonl: 'book-001.jsonl' is read, and may be a page of -o 'book.jsonl'
export run.jsonl --to csv -o run.jsonl: -o 'run.jsonl' is read, too
export saved --to csv -o saved/one.json: -o 'saved/one.json' is in the folder 'saved', which is read
export saved --to doccano -o saved/new.jsonl: -o 'saved/new.jsonl' is in the folder 'saved', which is read
annotations marks.jsonl --report marked.html -o marks.jsonl: -o 'marks.jsonl' is read, too
annotations marks.jsonl --report marked.html -o marked.html: -o 'marked.html' is read, too
annotations marks.jsonl --report marked.html -o marked-002.html: -o 'marked-002.html' is read, too
annotations marks.jsonl --report marked.html --gold marks.jsonl: --gold 'marks.jsonl' is read, too
annotations marks.jsonl --report marked.html --gold texts.txt --decisions texts.txt: --gold 'texts.txt' is read, too
annotations marks.jsonl --report marked.html --gold new --adjudicate -o new: -o and --gold are one file, 'new'
evaluate --corpus table.csv -o table.csv: -o 'table.csv' is read, too
evaluate --corpus table.csv:POS -o table.csv: -o 'table.csv' is read, too
evaluate --corpus table.csv --method rules:rules.json -o rules.json: -o 'rules.json' is read, too
evaluate --corpus table.csv --model model -o model/config.json: is in the folder 'model', which is read
evaluate --corpus table.csv --output new -o new: --output and -o are one file, 'new': name two
evaluate --corpus table.csv --output kept -o kept/results.jsonl: --output and -o are one file, 'kept/results.jsonl'
evaluate --corpus table.csv --output kept -o kept/run.json: --output and -o are one file, 'kept/run.json'
evaluate --corpus kept/results.jsonl --output kept: --output 'kept/results.jsonl' is read, too
"""
ROWS = [row.partition(": ")[::2] for row in DESTROYED.strip().splitlines()]


@pytest.mark.parametrize(("command", "sentence"), ROWS, ids=[command for command, _ in ROWS])
def test_what_is_read_or_written_already_is_not_written(
    command: str, sentence: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("annotations", "check", "evaluate", "explain", "report"):
        monkeypatch.setattr(f"textlrp.commands.{name}.load", pytest.fail, raising=False)
    links(place)
    before = contents(place)
    for force in ([], ["--force"]):
        status, said = run(*command.split(), *force)
        assert status == 2
        assert said.startswith("Error: ")
        assert sentence in said
    assert contents(place) == before


def test_standard_input_and_output_are_files_too(place: Path) -> None:
    before = contents(place)
    for command, stdin, stdout, sentence in (
        ("explain -o texts.txt", "texts.txt", os.devnull, "-o 'texts.txt' is '-', which is read: name another file"),
        ("explain -", "texts.txt", "texts.txt", "standard output goes to '-', which is read: name another file"),
        ("report run.jsonl", os.devnull, "run.jsonl", "standard output goes to 'run.jsonl', which is read"),
    ):
        with open(stdin) as reading, open(stdout, "a") as writing:
            done = subprocess.run(
                [*PROGRAM, *command.split()],
                stdin=reading,
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 2
        assert sentence in done.stderr
    assert contents(place) == before


def test_names_that_differ_in_case_are_one_file_where_the_system_takes_them_for_one(place: Path) -> None:
    (place / "plain").mkdir()
    (place / "plain" / "Here").touch()
    (place / "folded").mkdir()
    (place / "folded" / "Here").touch()
    (place / "folded" / "hERE").symlink_to("Here")
    command = ["report", "run.jsonl", "-o"]
    assert run(*command, "folded/New.html", "--save", "folded/nEW.HTML")[0] == 2
    assert run(*command, "plain/New.html", "--save", "plain/nEW.HTML") == (0, "")
    assert sorted(os.listdir("plain")) == ["Here", "New.html", "nEW.HTML"]


def foreign(folder: Path) -> list[Path]:
    """Files that textlrp did not write, or that people have worked on."""
    line = json.loads(formats.export([record(TEXT)], "doccano") or "")
    task = json.loads(formats.export([record(TEXT)], "prodigy") or "")
    texts = {
        "notes.txt": "my notes\n",
        "page.html": '<!doctype html>\n<html lang="en">\n<head>\n<title>mine</title>\n<meta name="generator" '
        'content="textlrp">',
        "list.json": '[\n {\n  "text": "a",\n  "ents": []\n }\n]\n',
        "object.json": '{\n  "format": 1,\n  "text": "a"\n}\n',
        "broken.json": '{"',
        "other.csv": '"document","target"\n"1","POS"\n',
        "doccano.jsonl": json.dumps({"id": 7, **{key: value for key, value in line.items() if key != "id"}}) + "\n",
        "prodigy.jsonl": json.dumps({**task, "answer": "accept"}) + "\n",
        "short.parquet": "PAR1 PAR1",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    import pyarrow
    from pyarrow import parquet
    from spacy.tokens import DocBin
    from spacy.vocab import Vocab

    parquet.write_table(pyarrow.table({"text": ["a"]}), folder / "other.parquet")
    (folder / "corpus.spacy").write_bytes(DocBin(docs=[spacy_document(Vocab())]).to_bytes())
    return [
        *(folder / name for name in texts),
        folder / "other.parquet",
        folder / "corpus.spacy",
        folder / "marks.jsonl",
    ]


def spacy_document(vocabulary: Any) -> Any:
    from spacy.tokens import Doc

    return Doc(vocabulary, words=["my", "relevance"])


def test_a_file_that_textlrp_did_not_write_is_replaced_by_force_alone(place: Path) -> None:
    for path in foreign(place):
        before = path.read_bytes()
        options = ["export", "run.jsonl", "--to", "csv", "-o", path.name]
        assert run(*options) == (
            2,
            f"Error: {path.name!r} exists, and textlrp did not write it: name another file, or add --force\n",
        )
        assert path.read_bytes() == before
        assert run(*options, "--force") == (0, "")
        assert path.read_bytes() != before
        assert run(*options) == (0, "")


def with_model(command: list[str], model: bool, folder: Path) -> list[str]:
    if command[0] == "check":
        return ["check", str(folder), *command[1:]]
    return [*command, "--model", str(folder)] if model else command


@pytest.mark.parametrize(("command", "model"), COMMANDS.values(), ids=COMMANDS)
def test_every_command_asks_and_replaces_its_own_output(
    command: list[str], model: bool, place: Path, folder: Path
) -> None:
    name, options = command[-1], with_model(command, model, folder)
    (place / name).write_text("mine")
    status, said = run(*options)
    assert (status, (place / name).read_text()) == (2, "mine")
    assert said.endswith(f"Error: {name!r} exists, and textlrp did not write it: name another file, or add --force\n")
    assert run(*options, "--force")[0] == 0
    first = (place / name).read_bytes()
    assert first != b"mine"
    assert run(*options)[0] == 0
    (place / name).write_bytes(b"")
    assert run(*options)[0] == 0
    assert (place / name).stat().st_size > 0


def test_a_saved_run_and_the_results_of_an_evaluation_are_no_pages(place: Path, folder: Path) -> None:
    options = ["evaluate", "--corpus", "table.csv", "--method", "random", "--perturb", "zero", "--model", str(folder)]
    assert run(*options, "--output", "kept")[0] == 0
    before = contents(place)
    for name, what in (
        ("run.jsonl", "a saved run"),
        (f"kept/{RESULTS}", "an evaluation"),
        (f"kept/{RUN}", "an evaluation"),
    ):
        status, said = run("export", "saved", "--to", "csv", "-o", name)
        assert (status, said) == (2, f"Error: {name!r} exists, and is {what}: name another file, or add --force\n")
    status, said = run("report", "table.csv", "--save", "marked.html")
    assert (status, said) == (
        2,
        "Error: 'marked.html' exists, and is not a saved run: name another file, or add --force\n",
    )
    assert contents(place) == before


def test_pages_beside_a_report_are_not_replaced_unasked(place: Path) -> None:
    (place / "new-001.html").write_text("mine")
    before = contents(place)
    status, said = run("report", "run.jsonl", "-o", "new.html")
    assert (status, said) == (
        2,
        "Error: the report 'new.html' may have pages beside it: 'new-001.html' exists, and textlrp did not write it: "
        "name another file, or add --force\n",
    )
    assert contents(place) == before
    assert run("report", "run.jsonl", "-o", "marked.html")[0] == 0

    def refuse(paths: Any) -> None:
        assert [path.name for path in paths] == ["new.html", "new-001.html", "new-002.html"]
        raise InputError("one of them is mine")

    with pytest.raises(InputError, match="one of them is mine"):
        write_report(
            [record("one", identity="1"), record("two", identity="2")], "new.html", page_documents=1, check=refuse
        )
    assert not (place / "new.html").exists()
    assert (place / "new-001.html").read_text() == "mine"


def test_devices_and_pipes_are_free_to_be_written(place: Path) -> None:
    assert run("export", "run.jsonl", "--to", "csv", "-o", os.devnull) == (0, "")
    assert run("report", "run.jsonl", "-o", os.devnull, "--save", os.devnull) == (0, "")


@pytest.mark.parametrize("command", ["explain", "report", "annotations", "export", "evaluate", "check"])
def test_the_rule_is_in_the_help_of_each_command(command: str) -> None:
    shown = " ".join(CliRunner().invoke(main, [command, "--help"]).stdout.split())
    assert RULE in shown
    assert shown.count("--force") == 1


@pytest.mark.parametrize(("command", "model"), COMMANDS.values(), ids=COMMANDS)
def test_a_full_disk_and_a_long_name_end_in_one_sentence(
    command: list[str], model: bool, place: Path, folder: Path
) -> None:
    before = contents(place)
    for output, reason in (("/dev/full", "No space left on device"), ("x" * 300, "File name too long")):
        options = with_model([*command[:-1], output], model, folder)
        assert run(*options) == (1, f"Error: cannot write {output!r}: {reason}\n")
        (place / "saved.html").unlink(missing_ok=True)
    assert contents(place) == before


@pytest.mark.slow
def test_whatever_cannot_be_written_ends_in_one_sentence() -> None:
    command = [*STRICT, str(Path(__file__).parents[1] / "reliability" / "outputs.py"), "--count", "12", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    figures = "12 outputs that cannot be written: 0 end in another way than with one sentence\n"
    assert (done.stdout, done.stderr, done.returncode) == (figures, "", 0)


def test_what_was_done_before_is_kept(place: Path, folder: Path) -> None:
    status, said = run("report", "table.csv", "--model", folder, "-o", "/dev/full", "--save", "new.jsonl")
    assert (status, said) == (1, "Error: cannot write '/dev/full': No space left on device\n")
    assert run("report", "new.jsonl", "-o", "new.html") == (0, "")
    options = ["evaluate", "--corpus", "table.csv", "--method", "random", "--perturb", "zero", "--model", folder]
    status, said = run(*options, "--output", "kept", "-o", "/dev/full")
    assert (status, said) == (1, "Error: cannot write '/dev/full': No space left on device\n")
    results = (place / "kept" / RESULTS).read_bytes()
    assert results.count(b"\n") == 2
    assert run(*options, "--output", "kept", "-o", "table.txt") == (0, "")
    assert (place / "kept" / RESULTS).read_bytes() == results


def test_standard_output_that_is_closed_is_said_so(place: Path) -> None:
    command = [*PROGRAM, "export", "run.jsonl", "--to", "csv"]
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (1, "Error: cannot write to standard output: it is closed\n")
    deaf = subprocess.run(["sh", "-c", 'exec "$@" >/dev/full 2>/dev/full', "sh", *command], check=False)
    assert deaf.returncode == 1
