"""Every command with every output that cannot be written: one sentence, exit status 1, nothing half-written.

python tests/reliability/outputs.py               prints a line of figures; exit status 1 where anything else happens
python tests/reliability/outputs.py --count 40    a choice of forty, by the seed

Each attempt is a forked process that runs a command and ends as a program does, with standard output and standard error
its own: a full disk, a quota, a name of 300 characters, a folder without rights, and pipes that nobody reads.
"""

from __future__ import annotations

import argparse
import errno
import gc
import itertools
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from command_files import COMMANDS, contents, furnish
from tiny_bert import bert, fast_tokenizer

#: What does not go to standard output.
BINARY = ("export parquet", "export docbin", "report --save")

#: What commands show without ``-o``, and what they write into folders.
SHOWN = {name: command[:-2] for name, (command, _) in COMMANDS.items() if name not in BINARY} | {
    "report": ["report", "table.csv", "-o", "/dev/null"],
    "report of a run": ["report", "run.jsonl", "-o", "/dev/null"],
    "serve": ["serve", "--no-open"],
    "help": ["--help"],
    "version": ["--version"],
    "help of a command": ["export", "--help"],
}
WRITTEN = {name: command for name, (command, _) in COMMANDS.items()} | {
    f"export {to}": ["export", "run.jsonl", "--to", to, "-o", "OUT"] for to in ("brat", "label-studio")
}
FOLDERS = ("export brat", "export label-studio")
MODELS = ("explain ", "report table.csv", "evaluate", "serve")

Case = tuple[str, str, list[str]]


def cases() -> list[Case]:
    """Return what goes wrong, for which output, and the command."""
    shown = itertools.product(("full", "closed pipe"), SHOWN.items())
    written = itertools.product(
        ("-o full", "-o closed pipe", "-o long name", "-o quota", "-o without rights"), WRITTEN.items()
    )
    return [
        (trouble, name, command)
        for trouble, (name, command) in itertools.chain(shown, written)
        if not (name in FOLDERS and trouble in ("-o full", "-o closed pipe"))
    ]


def prepare(trouble: str, command: list[str], folder: Path) -> list[str]:
    """Make the trouble in this process, and return the command's words with the output's name."""
    if trouble in ("full", "closed pipe"):
        os.dup2(os.open("/dev/full", os.O_WRONLY) if trouble == "full" else unread_pipe(), 1)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (it ends with the process)
    if trouble == "-o quota":
        resource.setrlimit(resource.RLIMIT_FSIZE, (8, resource.RLIM_INFINITY))
    if trouble == "-o without rights":
        os.open, os.mkdir = refusing(os.open), refusing(os.mkdir)  # rights do not bind root
    place = {"-o full": "/dev/full", "-o long name": "x" * 300}.get(trouble, "new")
    if trouble == "-o closed pipe":
        place = f"/dev/fd/{unread_pipe()}"
    words = [word.replace("OUT.spacy" if place.startswith("/dev") else "OUT", place) for word in command]
    words = [word.replace("OUT", place) for word in words]
    if command[0] == "check":
        words.insert(1, str(folder / "model"))
    elif " ".join(command).startswith(MODELS):
        words += ["--model", str(folder / "model")]
    return words


def refusing(call: Any) -> Any:
    """Return a system call that makes nothing new in the folder of this process."""

    def refuse(path: Any, *arguments: Any, **options: Any) -> Any:
        makes = call.__name__ == "mkdir" or bool(arguments and arguments[0] & os.O_CREAT)
        if makes and os.path.dirname(os.path.realpath(path)) == os.getcwd():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return call(path, *arguments, **options)

    return refuse


def unread_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def said(reading: int) -> str:
    with open(reading, encoding="utf-8", errors="replace") as file:
        return file.read()


def fault(trouble: str, status: int, shown: str, changed: bool) -> str:
    """Return what is wrong about how a command ended, or nothing."""
    if status != 1:
        return f"exit status {status}"
    if changed:
        return "something is written"
    if trouble == "closed pipe":
        return f"it says {shown!r}" if shown else ""
    # An evaluation says before it starts how long it takes.
    lines = [line for line in shown.splitlines() if not line.startswith("evaluating ")]
    return "" if len(lines) == 1 and lines[0].startswith("Error: ") else f"it says {shown!r}"


def attempt(case: Case, folder: Path) -> str:
    """Run a command in a child, and return what is wrong, or nothing. The child does not return from here."""
    trouble, _, command = case
    before = contents(folder)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        from textlrp.cli import main

        gc.freeze()  # what the parent loaded takes a second to look through at the end
        signal.alarm(120)
        os.close(reading)
        os.dup2(writing, 2)
        os.close(writing)
        os.chdir(folder)
        main(prepare(trouble, command, folder), prog_name="textlrp")
    os.close(writing)
    shown = said(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    after = contents(folder)
    if "--save" in command and (not after.get("new") or after["new"].endswith(b"\n")):
        after.pop("new", None)  # a run keeps the lines that were written before the disk was full
    return fault(trouble, status, shown, after != before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="how many attempts to choose  [default: all]")
    parser.add_argument("--seed", type=int, default=0, help="chooses them")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # it warns of forks
    import torch
    from transformers.utils import logging

    from textlrp import Explainer

    logging.disable_progress_bar()
    torch.set_num_threads(1)  # a forked process has none of the threads that its parent computed with
    chosen = cases()
    if options.count is not None:
        chosen = random.Random(options.seed).sample(chosen, min(options.count, len(chosen)))
    parent = os.getpid()
    folder = Path(tempfile.mkdtemp())
    try:
        furnish(folder)
        tokenizer = fast_tokenizer("wordpiece")
        tokenizer.save_pretrained(folder / "model")
        bert(len(tokenizer)).save_pretrained(folder / "model")
        # A child need not load all this again.
        Explainer.from_pretrained(folder / "model").explain("a film")
        faults = {case[:2]: found for case in chosen if (found := attempt(case, folder))}
    finally:
        if os.getpid() == parent:
            shutil.rmtree(folder)
    print(f"{len(chosen)} outputs that cannot be written: {len(faults)} end in another way than with one sentence")
    for (trouble, name), found in faults.items():
        print(f"{name}, {trouble}: {found}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
