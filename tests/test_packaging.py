"""The wheel holds all that is needed: installed into an empty environment, it explains a text."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel and what it depends on, and without this checkout."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder / "env", symlinks=True)
    bin_folder = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    run(sys.executable, "-m", "pip", "--python", bin_folder / "python", "install", "--no-deps", wheel, cwd=folder)
    site = next((folder / "env").glob("lib*/python*/site-packages"))
    # The dependencies are taken from here, to spare the gigabytes; a folder named in a .pth file does not have its own
    # .pth files read, so the editable checkout stays out of sight.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return bin_folder / "python"


@pytest.mark.slow
def test_the_wheel_holds_the_classifier_and_the_corpora(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "textlrp/py.typed",
        "textlrp/demo/config.json",
        "textlrp/demo/model.safetensors",
        "textlrp/demo/tokenizer.json",
        "textlrp/demo/README.md",
        "textlrp/_corpora/reviews/reviews.jsonl",
        "textlrp/render/templates/explanation.html",
        "textlrp/render/templates/report_main.js",
        "textlrp/_corpora/reviews/README.md",
    } <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"textlrp"}
    assert wheel.stat().st_size < 12_000_000


def test_the_classifier_is_no_larger_than_ten_megabytes() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "textlrp" / "demo").iterdir()) < 10_000_000


@pytest.mark.slow
def test_an_installed_wheel_explains_a_text(program: Path, tmp_path: Path) -> None:
    command = program.with_name("textlrp")
    found = json.loads(run(command, "explain", "A dull, lifeless film.", "--format", "json", cwd=tmp_path))
    assert found["predicted"] == "NEG"
    assert found["model"] == "textlrp demo"
    where = run(program, "-c", "import textlrp; print(textlrp.__file__)", cwd=tmp_path)
    assert str(ROOT) not in where


@pytest.mark.slow
def test_an_installed_wheel_reads_its_corpora(program: Path, tmp_path: Path) -> None:
    code = "from textlrp import corpora; print(corpora.names(), len(corpora.load('reviews')))"
    assert run(program, "-c", code, cwd=tmp_path).strip() == "('languages', 'news', 'reviews', 'tickets') 250"


@pytest.mark.slow
def test_a_saved_explanation_is_shown_without_torch(program: Path, tmp_path: Path) -> None:
    run(
        program.with_name("textlrp"), "explain", "Nothing here shines", "--format", "json", "-o", "e.json", cwd=tmp_path
    )
    code = (
        "import sys, rich, textlrp; rich.print(textlrp.Explanation.from_json('e.json'));"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    shown = run(program, "-c", code, cwd=tmp_path)
    assert "POS" in shown
    assert "residue" in shown
    assert shown.splitlines()[-1] == "False False"


def test_every_import_is_a_declared_dependency() -> None:
    def named(lines: list[str]) -> set[str]:
        return {re.split(r"[<>=!~\[; ]", line)[0].lower() for line in lines}

    providers = metadata.packages_distributions()
    for path in (ROOT / "textlrp").rglob("*.py"):
        declared = named(PROJECT["dependencies"])
        for extra, place in (("serve", "serve"), ("spacy", "spacy"), ("captum", "captum"), ("peft", "adapters")):
            if place in (path.parent.name, path.stem):
                declared |= named(PROJECT["optional-dependencies"][extra])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            for module in {name.split(".")[0] for name in modules} - sys.stdlib_module_names - {"textlrp"}:
                assert {name.lower() for name in providers[module]} & declared, f"{path.name} imports {module}"


def test_the_versions_agree() -> None:
    import textlrp

    assert textlrp.__version__ == PROJECT["version"] == metadata.version("textlrp")
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {PROJECT['version']} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_constraints_hold_what_is_installed() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert pins["torch"] == "2.13.0"
    direct = {re.split(r"[<>=!~\[; ]", line)[0] for line in PROJECT["dependencies"]}
    assert direct <= set(pins)
