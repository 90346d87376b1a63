"""Runs the core of the suite with other releases of torch and transformers, and writes `tests/versions.md`.

    python tests/versions.py                                 # every pair, one at a time
    python tests/versions.py 2.6 4.48.0 --debian trixie --lowest
    python tests/versions.py 2.13.0 5.24.0
    python tests/versions.py 2.13.0 5.24.0 --here            # in the environment that runs this script

`--debian` takes torch and Python as a Debian release has them. `--lowest` installs all other dependencies as old as
`pyproject.toml` allows. Each pair gets an environment of its own in a temporary folder, which is deleted afterwards;
`--folder` keeps it and uses it again. A pair of Debian's takes root and `debootstrap`. Warnings of other packages are
no errors here.
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
#: torch, transformers, the Debian release or None, and whether the other dependencies are as old as they may be.
PAIRS = (("2.6", "4.48.0", "trixie", True), ("2.13.0", "5.24.0", None, False), ("2.14", "5.24.0", "sid", False))
#: Bounds that are older than the first release for the Python of a pair, and that release.
FIRST_WHEELS = {("numpy", "2.0"): "2.1.0", ("pandas", "2.2"): "2.2.3", ("scikit-learn", "1.5"): "1.5.2"}
CORE = "tests/lrp tests/explain tests/text tests/results tests/guard tests/commands".split()
TESTERS = "pytest pytest-xdist hypothesis jsonschema httpx2 krippendorff spacy".split()
HEAD = """# Other releases

The core of the suite (`{core}`,
without the tests that take long) with other releases of torch and transformers.
Written by `tests/versions.py`. *Others* are the other dependencies: the lowest releases that `pyproject.toml` allows,
or newer ones. *Theirs* are failures that a release makes without textlrp, listed below, as are the other tests that
failed.

The whole suite runs with the releases of `constraints.txt`: torch 2.13.0, transformers 5.24.0 and Python 3.11.
The core has not yet run to its end with torch 2.14.1, transformers 5.24.0 and Python 3.14 of Debian sid.

| torch | transformers | Python | others | passed | failed | theirs | skipped | date |
|---|---|---|---|---|---|---|---|---|
"""
#: What a failure says that a release makes without textlrp, and why.
THEIRS = {
    "value cannot be converted to type float without overflow": "GPT-2, OPT and others of transformers 4.48 cannot run "
    "in float64 with torch 2.6: their masks overflow",
    "Fast Mamba kernels are not available": "Jamba of transformers 4.48 runs on a GPU alone",
    "requires the protobuf library": "transformers 4.48 asks for protobuf where a folder has no tokenizer",
    "a leaf Variable that requires grad is being used in an in-place operation": "DeBERTa of transformers 4.48 "
    "overwrites its activations",
    "does not support an attention implementation through torch": "some architectures of transformers 4.48 have eager "
    "attention alone",
}


def others(lowest: bool) -> list[str]:
    """Return what textlrp and its tests need beside torch and transformers, as ``pip install`` takes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    bounds = [line.split(">=") for line in [*project["dependencies"], *extras["serve"], *extras["evaluate"]]]
    return [
        f"{name}=={FIRST_WHEELS.get((name, bound), bound)}" if lowest else name
        for name, bound in bounds
        if name not in ("torch", "transformers")
    ]


@dataclass(frozen=True)
class Environment:
    """A folder with Python and the packages of a pair.

    Attributes:
        folder: the folder.
        debian: None, or the release whose system lies there.
        here: the environment is the one that runs this script, and the folder is for results alone.
    """

    folder: Path
    debian: str | None = None
    here: bool = False

    def call(self, *command: str, check: bool = True) -> str:
        """Run a command of the environment, and return what it prints."""
        names = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8", "PIP_NO_INPUT": "1"}
        variables = {**os.environ, **names}
        if self.debian:
            bundle = "/etc/ssl/certs/ca-certificates.crt"
            variables |= {"PIP_CERT": bundle, "SSL_CERT_FILE": bundle, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
            variables |= {"PIP_FIND_LINKS": "", "HOME": "/root"}
            command = ("chroot", str(self.folder), *command)
        done = subprocess.run(
            command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if check and done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def path(self, name: str) -> str:
        """Return the path of a file of the folder as the environment's programs see it."""
        return f"/{name}" if self.debian else str(self.folder / name)

    @property
    def python(self) -> str:
        """The path of Python as the environment's programs see it."""
        return sys.executable if self.here else self.path("env/bin/python")

    def build(self, torch: str, transformers: str, lowest: bool) -> None:
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
        pins = [f"transformers=={transformers}", *([] if self.debian else [f"torch=={torch}"])]
        pip = (self.python, "-m", "pip", "install", "--quiet")
        self.call(*pip, "--prefer-binary", *pins, *others(lowest), *TESTERS)
        shutil.rmtree(self.folder / "src", ignore_errors=True)
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in listed.splitlines():
            (self.folder / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / "src" / name)
        self.call(*pip, "--no-deps", "--editable", self.path("src"))  # its bounds are what is tested

    def versions(self) -> tuple[str, str, str]:
        """Return the releases of torch, transformers and Python that are installed."""
        asked = "import torch, transformers, platform as p; print(torch.__version__, transformers.__version__, "
        printed = self.call(self.python, "-W", "ignore", "-c", f"{asked}p.python_version())")
        torch, transformers, python = printed.split()[-3:]
        return torch, transformers, python

    def test(self) -> tuple[dict[str, int], dict[str, str]]:
        """Run the core; return how many tests ended how, and what each failure of textlrp's says."""
        source, result = str(ROOT) if self.here else self.path("src"), self.path("result.xml")
        options = ["-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default", f"--junitxml={result}"]
        asked = ["-m", "not architectures and not slow and not browser", f"--rootdir={source}", "-c"]
        self.call(
            self.python, "-m", "pytest", *options, *asked, f"{source}/pyproject.toml",
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
    text = LOG.read_text() if LOG.exists() else ""
    known = re.findall(r"^- (torch \S+, transformers .*?): (.*)$", text, re.MULTILINE)
    lists = {**dict(known), releases: ", ".join(f"`{name}`" for name in failed)}
    tests = "\n".join(f"- {of}: {names}" for of, names in sorted(lists.items()) if names) or "None."
    old = [line for line in text.splitlines() if re.match(r"\| \d", line)]
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
    parser.add_argument("--lowest", action="store_true", help="all other dependencies as old as they may be")
    parser.add_argument("--folder", type=Path, help="where the environment is kept; default: it is deleted")
    parser.add_argument("--here", action="store_true", help="test in the environment that runs this script")
    asked = parser.parse_args()
    if len(asked.releases) not in (0, 2):
        parser.error("give the releases of torch and of transformers, or none for all pairs")
    pairs = [(*asked.releases, asked.debian, asked.lowest)] if asked.releases else PAIRS
    for torch, transformers, debian, lowest in pairs:
        folder = asked.folder or Path(tempfile.mkdtemp(prefix="versions-"))
        try:
            environment = Environment(folder, debian, asked.here)
            if not asked.here:
                environment.build(torch, transformers, lowest)
            found = environment.versions()
            if not (found[0].startswith(torch) and found[1] == transformers):
                raise SystemExit(f"torch {found[0]} and transformers {found[1]} are installed")
            counts, own = environment.test()
            kind = "lowest" if lowest else "newest"
            write([*found, kind, *map(str, counts.values()), time.strftime("%Y-%m-%d")], list(own))
        finally:
            if asked.folder is None:
                shutil.rmtree(folder)
        print(torch, transformers, counts, *(f"\n{name}: {said}" for name, said in own.items()))


if __name__ == "__main__":
    main()
