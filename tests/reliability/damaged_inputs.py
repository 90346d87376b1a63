"""Damaged files in every command that reads one: a sentence and the exit status 1 or 2, and nothing is written.

    python tests/reliability/damaged_inputs.py [--count 300] [--seed 0] [--only NAME]

First the damage of a list, of each kind of file that fits it; then --count random changes of bytes, which may be
harmless: then the command must do its work, and otherwise say in one sentence why not.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import socket
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reliability import attack, commands, laws

OUT = "out"

#: By kind of file: how it is named, and the commands that read it, FILE being its name.
READERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "csv": ("texts.csv", ("report FILE -o out", "evaluate --corpus FILE --method random --limit 2 -o out")),
    "tsv": ("texts.tsv", ("report FILE -o out",)),
    "jsonl": ("texts.jsonl", ("report FILE -o out", "evaluate --corpus FILE --method random --limit 2 -o out")),
    "json": ("texts.json", ("report FILE -o out",)),
    "txt": ("texts.txt", ("explain --file FILE -o out", "report FILE -o out")),
    "gz": ("texts.csv.gz", ("report FILE -o out",)),
    "parquet": ("texts.parquet", ("report FILE -o out", "evaluate --corpus FILE --method random --limit 2 -o out")),
    "run": ("run.jsonl", ("report FILE -o out", "export FILE --to csv -o out", "export FILE --to brat -o out")),
    "explanation": ("one.json", ("export FILE --to spacy -o out", "report FILE -o out")),
    "rules": ("rules.json", ("explain good --rules FILE -o out",)),
    "page": ("page.html", ("annotations marks.jsonl --report FILE -o out",)),
    "marks": ("marks.jsonl", ("annotations FILE --report page.html -o out",)),
}
TEXTUAL = tuple(kind for kind in READERS if kind not in ("gz", "parquet"))
TABLES = ("csv", "tsv", "jsonl", "json", "parquet")
LINES = ("csv", "tsv", "jsonl", "txt", "run")
JSONS = ("jsonl", "json", "run", "explanation", "rules", "marks")

ROWS = (("a wonderful, moving film", "POS"), ("the plot is dull and bad", "NEG"), ('a "great" film', "POS"))

NAME = Callable[[Path], None]


@dataclass(frozen=True)
class Damage:
    """What is done to a file.

    Attributes:
        do: changes or replaces the file at a path.
        kinds: the files that it is done to.
        harmless: whether the command may do its work all the same.
        name: what the file is called then, or None for its own name.
    """

    do: Callable[[Path], object]
    kinds: tuple[str, ...] = tuple(READERS)
    harmless: bool = False
    name: str | None = None


# Whole files


def write_sources(folder: Path) -> None:
    """Write a whole file of each kind."""
    import pyarrow
    import pyarrow.parquet

    from textlrp import Explainer, Rules
    from textlrp.data.records import Record, write_run
    from textlrp.report.reading import read_report
    from textlrp.report.writing import write_report

    header = ("text", "label")
    quoted = "\n".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in (header, *ROWS)) + "\n"
    objects = [dict(zip(header, row, strict=True)) for row in ROWS]
    (folder / "texts.csv").write_text(quoted)
    (folder / "texts.csv.gz").write_bytes(gzip.compress(quoted.encode()))
    (folder / "texts.tsv").write_text("\n".join("\t".join(row).replace('"', "") for row in (header, *ROWS)) + "\n")
    (folder / "texts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in objects))
    (folder / "texts.json").write_text(json.dumps(objects, indent=1))
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text, _ in ROWS))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(objects), folder / "texts.parquet")
    explainer = Explainer.demo()
    found = [explainer.explain(text) for text, _ in ROWS]
    records = [Record(str(i), (e,), label) for i, (e, (_, label)) in enumerate(zip(found, ROWS, strict=True))]
    write_run(folder / "run.jsonl", records)
    found[0].to_json(folder / "one.json")
    Rules().to_json(folder / "rules.json")
    write_report(records, folder / "page.html")
    report = read_report(folder / "page.html")
    mark = {
        "format": 1, "report": report.id, "annotator": "Ada", "document": "0", "verdict": "agree", "label": None,
        "comment": "", "rationales": [], "changed": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip
    (folder / "marks.jsonl").write_text(json.dumps(mark) + "\n")


# Damage


def content(make: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        path.write_bytes(make(path.read_bytes()))

    return do


def instead(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Put something else in the place of the file."""

    def do(path: Path) -> None:
        path.unlink()
        make(path)

    return do


def text(written: str) -> Callable[[Path], object]:
    return content(lambda raw: written.encode("utf-8", "surrogatepass"))


def listen(path: Path) -> None:
    """Leave a socket at a path: names of sockets are short, so it is bound from its folder."""
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(path.name)
    finally:
        os.chdir(before)


def zipped(raw: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("texts", raw)
    return buffer.getvalue()


def half(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


LONG_LINE = 2_000_000

DAMAGE: dict[str, Damage] = {
    "empty": Damage(content(lambda raw: b"")),
    "a byte order mark alone": Damage(content(lambda raw: b"\xef\xbb\xbf")),
    "blank lines": Damage(content(lambda raw: b"\n \n\t\r\n")),
    "cut in the middle": Damage(content(half), tuple(kind for kind in READERS if kind not in LINES)),
    "cut in the middle of lines": Damage(content(half), LINES, harmless=True),
    "without its last byte": Damage(content(lambda raw: raw[:-1]), harmless=True),
    "without its first byte": Damage(content(lambda raw: raw[1:]), harmless=True),
    "a NUL in the middle": Damage(content(lambda raw: half(raw) + b"\0" + raw[len(raw) // 2 :]), harmless=True),
    "NULs alone": Damage(content(lambda raw: bytes(1000))),
    "random bytes": Damage(content(lambda raw: random.Random(0).randbytes(3000))),
    "Latin 1": Damage(content(lambda raw: raw.replace(b"a", b"\xe4")), TEXTUAL),
    "UTF-16": Damage(content(lambda raw: raw.decode().encode("utf-16")), TEXTUAL, harmless=True),
    "UTF-16 without a mark": Damage(content(lambda raw: raw.decode().encode("utf-16-le")), TEXTUAL),
    "UTF-32": Damage(content(lambda raw: raw.decode().encode("utf-32")), TEXTUAL, harmless=True),
    "halves of pairs": Damage(content(lambda raw: raw.replace(b"film", b"\xed\xa0\x80")), ("csv", "jsonl", "txt")),
    "a byte order mark before": Damage(content(lambda raw: b"\xef\xbb\xbf" + raw), TEXTUAL, harmless=True),
    "two byte order marks": Damage(content(lambda raw: b"\xef\xbb\xbf" * 2 + raw), TEXTUAL, harmless=True),
    "lines of old Macs": Damage(content(lambda raw: raw.replace(b"\n", b"\r")), TEXTUAL, harmless=True),
    "twice": Damage(content(lambda raw: raw * 2), harmless=True),
    "compressed under a plain name": Damage(content(gzip.compress)),
    "an archive under a plain name": Damage(content(zipped)),
    "a gzip cut short": Damage(content(lambda raw: raw[:-20]), ("gz",)),
    "a gzip with a wrong sum": Damage(content(lambda raw: raw[:-8] + bytes(8)), ("gz",)),
    "a gzip's first bytes": Damage(content(lambda raw: raw[:10]), ("gz",)),
    "a gzip with more behind": Damage(content(lambda raw: raw + b"more"), ("gz",), harmless=True),
    "no gzip": Damage(content(gzip.decompress), ("gz",)),
    "a small file of a large line": Damage(content(lambda raw: gzip.compress(b"x" * LONG_LINE)), ("gz",)),
    "a line of megabytes": Damage(
        content(lambda raw: b'"' + b"x" * LONG_LINE + b'"'), ("csv", "jsonl", "run", "marks"), harmless=True
    ),
    "brackets 100,000 deep": Damage(text("[" * 100_000 + "]" * 100_000), JSONS),
    "objects 100,000 deep": Damage(text('{"a":' * 100_000 + "1" + "}" * 100_000), JSONS),
    "a number of 10,000 digits": Damage(text('{"text": ' + "9" * 10_000 + "}"), JSONS),
    "a number beyond all": Damage(text('{"text": 1e999}'), JSONS),
    "NaN": Damage(text('[{"text": NaN}]'), JSONS),
    "null": Damage(text("null"), JSONS),
    "a list of numbers": Damage(text("[1, 2, 3]"), JSONS),
    "an empty list": Damage(text("[]"), JSONS),
    "an empty object": Damage(text("{}"), tuple(k for k in JSONS if k != "rules")),
    "a key twice": Damage(content(lambda raw: raw.replace(b"{", b'{"text": 1, "text": 2, ', 1)), JSONS, harmless=True),
    "a comma too many": Damage(content(lambda raw: raw.replace(b"}", b",}")), JSONS),
    "single quotes": Damage(content(lambda raw: raw.replace(b'"', b"'")), JSONS),
    "texts that are numbers": Damage(text('{"text": 7}\n'), ("jsonl",)),
    "texts that are null": Damage(text('{"text": null}\n'), ("jsonl",)),
    "other columns": Damage(text('{"prose": "a"}\n'), ("jsonl",)),
    "one bad line among good ones": Damage(content(lambda raw: raw + b'{"text": \n' + raw), ("run", "marks")),
    "one bad row among good ones": Damage(content(lambda raw: raw + b'{"text": \n' + raw), ("jsonl",), harmless=True),
    "quotation marks that do not fit": Damage(text('text,label\n"never closed,POS\na,b\n'), ("csv",)),
    "a quotation mark inside": Damage(text('text,label\n"a"b,POS\n'), ("csv",)),
    "rows of other lengths": Damage(text("text,label\na,b,c\nd\n"), ("csv",)),
    "a header alone": Damage(text("text,label\n"), ("csv",)),
    "a column twice": Damage(text("text,text\na,b\n"), ("csv",)),
    "blank texts": Damage(text('text,label\n" ",POS\n"",NEG\n'), ("csv",)),
    "no columns of texts": Damage(text("a,b\n1,2\n"), ("csv",)),
    "a parquet's magic alone": Damage(content(lambda raw: b"PAR1"), ("parquet",)),
    "a parquet without its end": Damage(content(lambda raw: raw[:-4]), ("parquet",)),
    "a parquet with another end": Damage(content(lambda raw: raw[:-4] + b"PAR2"), ("parquet",)),
    "a parquet with a huge footer": Damage(content(lambda raw: raw[:-8] + b"\xff\xff\xff\x7fPAR1"), ("parquet",)),
    "a parquet with damaged pages": Damage(content(lambda raw: raw[:4] + bytes(60) + raw[64:]), ("parquet",)),
    "a page without data": Damage(content(lambda raw: raw.replace(b"textlrp-data", b"other-data")), ("page",)),
    "a page with other data": Damage(content(lambda raw: raw.replace(b'"format":', b'"fromat":')), ("page",)),
    "a page of something else": Damage(text("<!doctype html><p>hello"), ("page",)),
    "marks of another report": Damage(content(lambda raw: raw.replace(b'"report": "', b'"report": "0')), ("marks",)),
    "rules of no kind": Damage(text('{"linear": ["x"], "softmax": 3}'), ("rules",)),
    "rules that are text": Damage(text('"gamma"'), ("rules",)),
    "rules of NaN": Damage(text('{"linear": {"rule": "gamma", "gamma": NaN}}'), ("rules",)),
    "a folder": Damage(instead(Path.mkdir)),
    "a pipe without a writer": Damage(instead(os.mkfifo)),
    "a socket": Damage(instead(listen)),
    "a link to nothing": Damage(instead(lambda path: path.symlink_to("nothing"))),
    "a link to itself": Damage(instead(lambda path: path.symlink_to(path.name))),
    "an endless device": Damage(instead(lambda path: path.symlink_to("/dev/zero"))),
    "an empty device": Damage(instead(lambda path: path.symlink_to("/dev/null"))),
    "not there": Damage(Path.unlink),
    "not to be read": Damage(lambda path: path.chmod(0), harmless=os.geteuid() == 0),
    "a name of two lines": Damage(content(lambda raw: b"\xff" + raw), TEXTUAL, name="two\nlines\x1b[2J"),
    "a name of 255 characters": Damage(content(lambda raw: b"\xff" + raw), TEXTUAL, name="x" * 200),
    "a name of 300 characters": Damage(Path.unlink, TEXTUAL, name="x" * 300),
    "a name that looks like an option": Damage(Path.unlink, ("csv", "run"), name="--limit=3"),
}


def mutate(r: random.Random, raw: bytes) -> bytes:
    """Change a few bytes of a file."""
    changed = bytearray(raw)
    for _ in range(r.choice((1, 1, 2, 8))):
        at, size = r.randrange(len(changed) or 1), r.choice((1, 1, 4, 50))
        way = r.randrange(5)
        if way == 0:
            changed[at : at + size] = r.randbytes(size)
        elif way == 1:
            del changed[at : at + size]
        elif way == 2:
            changed[at:at] = changed[at : at + size] * r.choice((1, 3))
        elif way == 3:
            changed[at:at] = r.choice((b'"', b"\n", b"\0", b"\xff", b",", b"{", b"9", b"-", b"null", b"\xed\xa0\x80"))
        elif changed:
            changed[at] ^= 1 << r.randrange(8)
    return bytes(changed)


# The attack


def attempt(folder: Path, kind: str, command: str, damage: Damage) -> str:
    """Damage a file and run a command on it; return what came.

    Raises:
        Broken: a law does not hold.
    """
    name, _ = READERS[kind]
    suffix = "".join(Path(name).suffixes)
    called = name if damage.name is None else f"{damage.name}{suffix}"
    if called != name and len(called) < 256:
        (folder / name).rename(folder / called)
    damage.do(folder / (called if len(called) < 256 else name))
    before = sorted(os.listdir(folder))
    arguments = [called if word == "FILE" else word for word in command.split()]
    answer = commands.call(arguments, folder)
    left = sorted(set(os.listdir(folder)) - set(before) - {".said", ".given"})
    commands.decent(answer)
    if damage.harmless and answer.status in (0, 3):
        laws.hold(OUT in left, "exit status 0, and nothing is written")
        return "done"
    commands.refused(answer)
    laws.hold(not left, f"left behind: {left}")
    return "refused"


def run(names: Sequence[str], count: int, seed: int, every: int = 1) -> attack.Tally:
    """Try the damage of these names, or every so many of its cases, and random damage."""
    tally = attack.Tally()
    r = random.Random(seed)
    cases = [
        (f"{name}: {kind}: {command}", kind, command, DAMAGE[name])
        for name in names
        for kind in DAMAGE[name].kinds
        for command in READERS[kind][1]
    ][seed % every :: every]
    for number in range(count):
        kind = r.choice(list(READERS))
        change = partial(mutate, random.Random(f"{seed}:{number}"))
        damage = Damage(content(change), harmless=True)
        cases.append((f"--seed {seed}, change {number}: {kind}", kind, r.choice(READERS[kind][1]), damage))
    with tempfile.TemporaryDirectory() as name:
        sources = Path(name) / "sources"
        sources.mkdir()
        write_sources(sources)
        for what, kind, command, damage in cases:
            folder = Path(name) / "folder"
            shutil.copytree(sources, folder)
            try:
                tally.note(attempt(folder, kind, command, damage))
            except laws.Broken as broken:
                tally.note("broken", f"{what}: {broken}")
            finally:
                shutil.rmtree(folder)
    return tally


def main(line: Sequence[str] | None = None) -> None:
    asked = attack.arguments(__doc__, 300, line, ["only"])
    began = time.monotonic()
    commands.ready()
    names = [asked.only] if asked.only is not None else list(DAMAGE)
    attack.finish(run(names, 0 if asked.only else asked.count, asked.seed), "damaged inputs", began)


if __name__ == "__main__":
    main()
