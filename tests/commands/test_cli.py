"""The command line, used by novices and by attackers: its prints, its files, its exit status."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len
from rich.console import Console
from strict_python import STRICT
from tiny_bert import bert

import textlrp
from textlrp import Explanation
from textlrp.cli import main
from textlrp.render.terminal import render
from textlrp.rules import PRESETS

TEXT = "A wonderful, moving film 👩‍👧, never dull."
SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")
PROGRAM = [*STRICT, "-m", "textlrp.cli"]


def run(*arguments: Any, **options: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="textlrp", **options)


def refused(result: Result, status: int = 2) -> str:
    """The sentence of a command that ended with that status, and printed nothing else."""
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.stderr
    return result.stderr[result.stderr.index("Error: ") :].strip()


@pytest.fixture
def explain(folder: Path) -> Any:
    return lambda *arguments, **options: run("explain", "--model", folder, *arguments, **options)


def test_a_text_is_explained_in_six_parts(explain: Any, folder: Path) -> None:
    result = explain(TEXT)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    verdict, added, _, text, _, legend, ledger = result.stdout.splitlines()
    assert re.fullmatch(
        rf"(NEG|POS) \d+\.\d %   explained: \1, logit [+-][\d.]+   attnlrp, {re.escape(str(folder))}"[:200], verdict
    )
    assert re.match(r"The words add ([+-][\d.]+ to the score|little to the score: [+-][\d.e-]+)", added)
    assert re.sub(r"\[[+-]{1,2}|\]", "", text) == TEXT
    assert re.match(r"relevance  -[\d.]+ against \w+ \[--\] -.* \[\+\+\] for \w+ \+[\d.]+$", legend)
    assert re.match(r"ledger     [+-][\d.]+ = tokens .*, special tokens .*, residue ", ledger)


def test_json_is_what_python_gives(explain: Any, folder: Path, tmp_path: Path) -> None:
    result = explain(TEXT, "--format", "json", "--target", "NEG", "--contrast", "pos", "--rules", "cp-lrp")
    assert result.exit_code == 0, result.output
    explainer = textlrp.Explainer.from_pretrained(folder)
    expected = explainer.explain(TEXT, target="NEG", contrast="POS", rules="cp-lrp")
    assert Explanation.from_json(result.stdout) == expected
    written = explain(
        TEXT,
        "--format",
        "json",
        "-o",
        tmp_path / "e.json",
        "--target",
        0,
        "--contrast",
        "runner-up",
        "--rules",
        "cp-lrp",
    )
    assert (written.exit_code, written.output) == (0, "")
    assert Explanation.from_json(tmp_path / "e.json") == expected


def test_the_text_comes_from_a_file_or_from_standard_input(explain: Any, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode() + b"\r\n\tMore text.\n")
    texts = [
        explain("--file", path, "--format", "json"),
        explain("-", "--format", "json", input=path.read_bytes()),
        explain("--format", "json", input=path.read_bytes()),
    ]
    for result in texts:
        assert json.loads(result.stdout)["text"] == TEXT + "\r\n\tMore text.\n"
    shown = explain("--file", path).stdout
    assert "\n\t" in shown
    assert "\r" not in shown


def test_what_is_written_to_a_file_has_no_colors_and_long_lines(explain: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    result = explain("the film " * 20, "-o", path, env={"FORCE_COLOR": "1", "COLORTERM": "truecolor"})
    assert (result.exit_code, result.output) == (0, "")
    written = path.read_text(encoding="utf-8")
    assert "\x1b" not in written
    assert written.count("\n") == 7
    assert os.listdir(tmp_path) == ["out.txt"]


@pytest.mark.parametrize(
    ("environment", "sequence"),
    [
        ({"COLORTERM": "truecolor", "TERM": "xterm-256color"}, r"\x1b\[38;2;\d+;\d+;\d+;48;2;"),
        ({"TERM": "xterm-256color"}, r"\x1b\[38;5;\d+;48;5;|\x1b\[38;2;\d+;\d+;\d+;48;5;"),
        ({"TERM": "linux"}, r"\x1b\[(4;)?(30;103|97;44)m"),
        ({"TERM": "xterm"}, r"\x1b\[(4;)?(30;103|97;44)m"),
        ({"TERM": "dumb"}, None),
        ({"NO_COLOR": "1", "TERM": "xterm-256color", "COLORTERM": "truecolor"}, None),
        ({"FORCE_COLOR": ""}, None),
    ],
    ids=["truecolor", "256", "linux", "16", "dumb", "no color", "pipe"],
)
def test_colors_follow_the_terminal(explain: Any, environment: dict[str, str], sequence: str | None) -> None:
    if environment == {"FORCE_COLOR": ""} and int(metadata.version("rich").split(".")[0]) < 14:
        pytest.skip("rich 13 takes an empty FORCE_COLOR for one that is set")
    clean = {"COLORTERM": None, "NO_COLOR": None, "FORCE_COLOR": "1", "COLUMNS": "300", **environment}
    result = explain(TEXT, env=clean)
    assert result.exit_code == 0, result.output
    if sequence is None:
        assert "48;" not in result.stdout
        assert re.search(r"\[[+-]{1,2}\w", result.stdout)
    else:
        assert re.search(sequence, result.stdout)
        assert TEXT in SEQUENCE.sub("", result.stdout)


def test_a_text_too_long_is_said_so(explain: Any) -> None:
    result = explain("the film is never dull. " * 30)
    assert re.search(r"^! NOT READ: characters \d+ to 720 of 720 \(\d\d\.\d %\)", result.stdout, re.MULTILINE)


def test_a_text_cannot_command_the_terminal(explain: Any, tmp_path: Path) -> None:
    path = tmp_path / "evil.txt"
    path.write_bytes("film \x1b]0;owned\x07 \x1b[2J\x9b5n \x7f dull\r\n".encode())
    for options in ({}, {"FORCE_COLOR": "1", "COLORTERM": "truecolor", "TERM": "xterm"}):
        shown = SEQUENCE.sub("", explain("--file", path, env=options).stdout)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)
    message = refused(explain("film", "--target", "\x1b[2J"))
    assert "\x1b" not in message


BAD: list[tuple[str, list[str], str]] = [
    ("empty", [""], "the text is empty"),
    ("blank", [" \n "], "the text is blank: it holds only white space (3 characters)"),
    ("nothing to read", ["\u200b"], "the tokenizer finds no token in the text of 1 characters"),
    ("label", ["film", "--target", "POSITIV"], "there is no label 'POSITIV': the model's labels are NEG, POS"),
    ("near label", ["film", "--target", "POSS"], "did you mean 'POS'?"),
    ("contrast", ["film", "--contrast", "2"], "there is no label '2'"),
    ("same", ["film", "--target", "POS", "--contrast", "1"], "contrast and target are both 'POS'"),
    ("rules", ["film", "--rules", "lrp"], "no rules are called 'lrp': the presets are attnlrp, cp-lrp"),
    ("format", ["film", "--format", "xml"], "'xml' is not one of 'terminal', 'html', 'json'"),
    ("option", ["film", "--colour"], "--colour"),
    ("two texts", ["film", "plot"], "unexpected extra argument"),
    ("text and file", ["film", "--file", "x"], "give the text or --file, not both"),
    ("missing file", ["--file", "no/such file.txt"], "cannot read 'no/such file.txt': No such file or directory"),
    ("folder", ["--file", "."], "cannot read '.': Is a directory"),
    ("output folder", ["film", "-o", "no/such/out.txt"], "there is no folder 'no/such'; make it first"),
    ("output is folder", ["film", "-o", "."], "cannot write '.': it is a folder"),
    ("dtype", ["film", "--dtype", "float31"], "'float31' is not a dtype of weights"),
    ("device", ["film", "--device", "gpu"], "'gpu' is not a device that computes"),
]


@pytest.mark.parametrize(("arguments", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input_gets_a_sentence_and_status_2(explain: Any, arguments: list[str], message: str) -> None:
    assert message in refused(explain(*arguments))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the text is empty"),
        (b"film\0plot", "the text holds a NUL (U+0000) at character 4"),
        (b"caf\xe9 film", "is not UTF-8: byte 3 (0xe9) cannot be read"),
        (b"\xff\xfef\x00i\x00", "is not UTF-8: byte 0 (0xff) cannot be read"),
        (b"film \xed\xa0\x80", "is not UTF-8: byte 5 (0xed) cannot be read"),
    ],
)
def test_bad_bytes_get_a_sentence_and_status_2(explain: Any, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    assert message in refused(explain("--file", path))
    assert message in refused(explain("-", input=content))


def test_a_lone_surrogate_gets_a_sentence(explain: Any) -> None:
    assert "a lone surrogate (U+DC80) at character 5" in refused(explain("film \udc80"))


def test_bad_models_get_a_sentence(folder: Path, tmp_path: Path) -> None:
    assert "there is no folder '/no/such/model'" in refused(run("explain", "film", "--model", "/no/such/model"))
    assert "names no model" in refused(run("explain", "film", "--model", ""))
    assert "has no config.json" in refused(run("explain", "film", "--model", tmp_path), status=1)
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    bert(90).bert.save_pretrained(tmp_path)
    assert "is not a trained text classifier" in refused(run("explain", "film", "--model", tmp_path), status=1)
    bert(7).save_pretrained(tmp_path)
    assert "the tokenizer does not fit" in refused(run("explain", "film", "--model", tmp_path), status=1)
    hub = refused(run("explain", "film", "--model", "no-such-owner/no-such-model"), status=1)
    assert "there is no folder of that name, and the hub model cannot be read" in hub
    both = refused(run("explain", "film", "--revision", "main"))
    assert "--revision goes with --model" in both


def test_nothing_is_written_where_something_fails(explain: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    refused(explain("film", "--target", "x", "-o", path, "--format", "json"))
    assert os.listdir(tmp_path) == []
    assert "cannot write" in refused(explain("film", "-o", "/proc/textlrp.json"), status=1)


def test_an_output_that_may_not_be_written_is_said_so_before_the_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    message = refused(run("explain", "film", "--model", "/no/such/model", "-o", tmp_path / "out.txt"), status=1)
    assert "permission denied" in message


def test_help_and_version_load_no_torch() -> None:
    script = (
        "import sys\nfrom textlrp.cli import main\n"
        "for line in (['--help'], ['-h'], ['explain', '--help'], ['--version']):\n"
        "    main(line, prog_name='textlrp', standalone_mode=False)\n"
        "assert not {'torch', 'transformers', 'numpy', 'rich'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert f"textlrp {textlrp.__version__}\n" in done.stdout
    assert "--contrast" in done.stdout


def test_errors_of_usage_load_no_torch() -> None:
    done = subprocess.run([*PROGRAM, "explain", "film", "--rules", "x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: no rules are called 'x'")


@pytest.mark.slow
def test_a_pipe_gets_plain_long_lines_in_any_encoding(folder: Path) -> None:
    text = "the film is café ☃ " * 6
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "HF_HUB_OFFLINE": "1"}
    command = [*PROGRAM, "explain", text, "--model", str(folder)]
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert done.stderr == b""
    assert done.stdout.count(b"\n") == 7
    assert b"caf?" in re.sub(rb"\[[+-]{1,2}|\]", b"", done.stdout)


@pytest.mark.slow
def test_a_terminal_gets_colors_and_lines_that_fit(folder: Path) -> None:
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "60"}
    environment.pop("NO_COLOR", None)
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "explain", TEXT * 3, "--model", str(folder)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait() == 0
    shown = written.decode()
    assert "\x1b[38;2;" in shown
    lines = SEQUENCE.sub("", shown).replace("\r\n", "\n").split("\n")
    assert max(map(cell_len, lines)) <= 60
    assert "".join("".join(lines).split()).count("".join(TEXT.split())) == 3


def test_without_a_model_the_built_in_classifier_answers() -> None:
    result = run("explain", "A wonderful, moving film.")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("POS ")
    assert "textlrp demo" in result.stdout
    assert re.search(r"\[\+\+?wonderful", result.stdout)


def test_words_sentences_pairs_and_windows_are_options(explain: Any, folder: Path) -> None:
    text = "The film isn't bad. It is dull."
    explainer = textlrp.Explainer.from_pretrained(folder)
    for by in ("token", "word", "sentence"):
        shown = explain(text, "--by", by, env={"NO_COLOR": "1"}).stdout
        buffer = io.StringIO()
        Console(file=buffer, color_system=None).print(render(explainer.explain(text), by), soft_wrap=True)
        assert shown == buffer.getvalue()
    written = json.loads(
        explain(text * 20, "--long", "windows", "--window", 32, "--overlap", 9, "--format", "json").stdout
    )
    assert written["windows"] == explainer.explain(text * 20, long="windows", window=32, overlap=9).windows
    assert "".join(word["text"] for word in written["words"]) == text * 20
    long = explain(text * 20, "--long", "error")
    assert (long.exit_code, long.stdout) == (2, "")
    assert "64 are read at once: shorten it, or read it with long='windows'" in long.stderr
    refused = explain(text, "--pair", "A film.")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "takes no pairs" in refused.stderr


def test_the_built_in_classifier_takes_a_pair() -> None:
    shown = CliRunner().invoke(main, ["explain", "The film is good.", "--pair", "Is it dull?"], env={"NO_COLOR": "1"})
    assert shown.exit_code == 0, shown.output
    assert [line for line in shown.stdout.splitlines() if line.startswith("text ")] == ["text 1", "text 2"]


@pytest.mark.parametrize("command", ["explain", "report"])
def test_the_help_lists_every_preset(command: str) -> None:
    said = CliRunner().invoke(main, [command, "--help"], terminal_width=400).output
    (line,) = [line for line in said.splitlines() if line.lstrip().startswith("--rules ")]
    assert all(re.search(rf"[( ]{preset}[,)]", line) for preset in PRESETS)


def test_a_reference_goes_with_difference_rules(explain: Any, folder: Path) -> None:
    result = explain(TEXT, "--rules", "difference")
    assert result.exit_code == 0, result.output
    verdict, said, _, _, _, _, ledger = result.stdout.splitlines()
    assert "difference, " in verdict
    number = r"[+-][\d.]+"
    assert re.fullmatch(
        rf"Without its words the model would say \w+ {number}\. The words add {number}, above all .*\."
        rf"   reference: \[MASK\]",
        said,
    )
    assert re.match(rf"ledger     {number} = reference {number}, tokens {number}, residue ", ledger)
    several = explain(TEXT, "--rules", "difference", "--reference", "mean", "--reference", "a", "--format", "json")
    e = Explanation.from_json(several.stdout)
    expected = textlrp.Explainer.from_pretrained(folder).explain(TEXT, rules="difference", reference=["mean", "a"])
    assert e == expected
    assert e.reference is not None
    assert (e.reference.name, e.reference.given) == ("mean of 2 references", ("mean", "a"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "mean"], "--reference goes with --rules difference: the other rules measure from zero"),
        (["--rules", "difference", "--reference", "maen"], "'maen' is no token of the vocabulary, and as a text it"),
        (["--rules", "difference", "--reference", ""], "the reference is empty: give mask, pad, mean, zero"),
    ],
)
def test_a_bad_reference_gets_a_sentence(explain: Any, arguments: list[str], message: str) -> None:
    assert message in refused(explain(TEXT, *arguments))
