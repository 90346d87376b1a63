"""Runs the core of the suite with older releases of torch and transformers, and writes `tests/versions.md`.

    python tests/versions.py                                 # every pair, one at a time
    python tests/versions.py 2.6 4.48.0 --debian trixie      # torch and Python as a Debian release has them
    python tests/versions.py 2.13.0 5.24.0

Each pair gets an environment of its own in a temporary folder, which is deleted afterwards; `--folder` keeps
it and uses it again. A pair of Debian's takes root and `debootstrap`. Warnings of other packages are no errors here.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOG = Path(__file__).with_suffix(".md")
PAIRS = (("2.6", "4.48.0", "trixie"), ("2.13.0", "5.24.0", None))
CORE = "tests/lrp tests/explain tests/text tests/results tests/guard tests/commands".split()
TESTERS = "pytest pytest-xdist hypothesis jsonschema httpx2 krippendorff spacy".split()
HEAD = """# Older releases

The core of the suite (`{core}`,
without the tests that take long) with other releases of torch and transformers.
Written by `tests/versions.py`. *Theirs* are failures that a release makes without textlrp, listed below, as are
the other tests that failed.

| torch | transformers | Python | passed | failed | theirs | skipped | date |
|---|---|---|---|---|---|---|---|
"""
#: What a failure says that a release makes without textlrp, and why.
THEIRS = {
    "value cannot be converted to type float without overflow": "GPT-2, OPT and others of transformers 4.48 cannot run "
    "in float64 with torch 2.6: their masks overflow",
    "Fast Mamba kernels are not available": "Jamba of transformers 4.48 runs on a GPU alone",
    "requires the protobuf library": "transformers 4.48 asks for protobuf where a folder has no tokenizer",
    "a leaf Variable that requires grad is being used in an in-place operation": "DeBERTa of transformers 4.48 "
    "overwrites its activations",
    "Unable to handle autograd's threading in combination with fork": "torch 2.6 computes no gradients in a child that "
    "was forked from a process which has computed some: use `spawn`",
    "does not support an attention implementation through torch": "some architectures of transformers 4.48 have eager "
    "attention alone",
}


@dataclass(frozen=True)
class Environment:
    """A folder with Python and the packages of a pair; `debian` is None or the release whose system lies there."""

    folder: Path
    debian: str | None

    def call(self, *command: str, check: bool = True) -> str:
        """Run a command of the environment, and return what it prints."""
        names = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8", "PIP_NO_INPUT": "1"}
        variables = {**os.environ, **names}
        if self.debian:
            bundle = "/etc/ssl/certs/ca-certificates.crt"
            variables |= {"PIP_CERT": bundle, "SSL_CERT_FILE": bundle, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
            variables |= {"PIP_FIND_LINKS": "", "HOME": "/root"}
            command = ("chroot", str(self.folder), *command)
        done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if check and done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def path(self, name: str) -> str:
        """Return the path of a file of the folder as the environment's programs see it."""
        return f"/{name}" if self.debian else str(self.folder / name)

    def build(self, torch: str, transformers: str) -> None:
        """Install the releases, and whatever textlrp and its tests need beside them."""
        if self.debian and not (self.folder / "usr").exists():
            subprocess.run(["debootstrap", "--variant=minbase", self.debian, str(self.folder)], check=True)
            shutil.copy("/etc/resolv.conf", self.folder / "etc/resolv.conf")
            self.call("apt-get", "update")
            packages = ("python3-torch", "python3-venv", "ca-certificates")
            self.call("apt-get", "install", "-y", "--no-install-recommends", *packages)
        if self.debian:  # the certificates that this machine trusts
            shutil.copy("/etc/ssl/certs/ca-certificates.crt", self.folder / "etc/ssl/certs/ca-certificates.crt")
        if not (self.folder / "env").exists():
            python = "/usr/bin/python3" if self.debian else sys.executable
            self.call(python, "-m", "venv", *(["--system-site-packages"] if self.debian else []), self.path("env"))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        needed = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
        needed += project["optional-dependencies"]["evaluate"]
        others = [name for line in needed if (name := re.split(r"[\[<>=]", line)[0]) not in ("torch", "transformers")]
        pins = [f"transformers=={transformers}", *([] if self.debian else [f"torch=={torch}"])]
        pip = (self.path("env/bin/python"), "-m", "pip", "install", "--quiet")
        self.call(*pip, *pins, *others, *TESTERS)
        shutil.rmtree(self.folder / "src", ignore_errors=True)
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in listed.splitlines():
            (self.folder / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / "src" / name)
        self.call(*pip, "--no-deps", "--editable", self.path("src"))  # its bounds are what is tested

    def versions(self) -> tuple[str, str, str]:
        """Return the releases of torch, transformers and Python that are installed."""
        asked = "import torch, transformers, platform as p; print(torch.__version__, transformers.__version__, "
        printed = self.call(self.path("env/bin/python"), "-W", "ignore", "-c", f"{asked}p.python_version())")
        torch, transformers, python = printed.split()[-3:]
        return torch, transformers, python

    def test(self) -> tuple[dict[str, int], dict[str, str]]:
        """Run the core; return how many tests ended how, and what each failure of textlrp's says."""
        source, result = self.path("src"), self.path("result.xml")
        options = ["-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default", f"--junitxml={result}"]
        asked = ["-m", "not architectures and not slow and not browser", f"--rootdir={source}", "-c"]
        self.call(
            self.path("env/bin/python"), "-m", "pytest", *options, *asked, f"{source}/pyproject.toml",
            *(f"{source}/{folder}" for folder in CORE), check=False,
        )  # fmt: skip
        counts, own = dict.fromkeys(("passed", "failed", "theirs", "skipped"), 0), {}
        for case in ET.parse(self.folder / "result.xml").iter("testcase"):
            broken = case.find("failure") if case.find("failure") is not None else case.find("error")
            if broken is not None:
                theirs = any(said in (broken.text or "") for said in THEIRS)
                counts["theirs" if theirs else "failed"] += 1
                if not theirs:
                    own[f"{case.get('classname')}.{case.get('name')}"] = (broken.get("message") or "")[:200]
            else:
                counts["passed" if case.find("skipped") is None else "skipped"] += 1
        return counts, own


def write(row: list[str], failed: list[str]) -> None:
    """Put a row into the table, in place of the one of the same releases, and the failed tests below it."""
    releases = f"torch {row[0]}, transformers {row[1]}, Python {row[2]}"
    known = re.findall(r"^- (torch .*?): (.*)$", LOG.read_text(), re.MULTILINE) if LOG.exists() else []
    lists = {**dict(known), releases: ", ".join(f"`{name}`" for name in failed)}
    tests = "\n".join(f"- {of}: {names}" for of, names in sorted(lists.items()) if names)
    old = [line for line in LOG.read_text().splitlines() if re.match(r"\| \d", line)] if LOG.exists() else []
    cells = "| " + " | ".join(row) + " |"
    rows = [line for line in old if line.split("|")[1:4] != cells.split("|")[1:4]] + [cells]
    reasons = "\n".join(f"- {reason}." for reason in THEIRS.values())
    LOG.write_text(
        HEAD.format(core=" ".join(CORE)) + "\n".join(sorted(rows)) + f"\n\nTheirs:\n\n{reasons}\n\nFailed:\n\n{tests}\n"
    )


def main() -> None:
    """Test the pairs that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="*", metavar="TORCH TRANSFORMERS")
    parser.add_argument("--debian", help="the Debian release to take torch and Python from")
    parser.add_argument("--folder", type=Path, help="where the environment is kept; default: it is deleted")
    asked = parser.parse_args()
    if len(asked.releases) not in (0, 2):
        parser.error("give the releases of torch and of transformers, or none for all pairs")
    for torch, transformers, debian in [(*asked.releases, asked.debian)] if asked.releases else PAIRS:
        folder = asked.folder or Path(tempfile.mkdtemp(prefix="versions-"))
        try:
            environment = Environment(folder, debian)
            environment.build(torch, transformers)
            counts, own = environment.test()
            write([*environment.versions(), *map(str, counts.values()), time.strftime("%Y-%m-%d")], list(own))
        finally:
            if asked.folder is None:
                shutil.rmtree(folder)
        print(torch, transformers, counts, *(f"\n{name}: {said}" for name, said in own.items()))


if __name__ == "__main__":
    main()
