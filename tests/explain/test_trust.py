"""No code of a model runs without the one option that consents to it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from strict_python import STRICT

import textlrp
from textlrp.cli import main
from textlrp.errors import InputError, ModelError

TEXT = "a wonderful film"

FILES = {
    "configuration_mine.py": "from transformers import BertConfig\nclass MineConfig(BertConfig):\n"
    "    model_type = 'mine'\n",
    "modeling_mine.py": "from transformers import BertForSequenceClassification\n"
    "from .configuration_mine import MineConfig\n"
    "class MineClassifier(BertForSequenceClassification):\n    config_class = MineConfig\n",
    "tokenization_mine.py": "from transformers import PreTrainedTokenizerFast\n"
    "class MineTokenizer(PreTrainedTokenizerFast):\n    pass\n",
}
CONFIG = {"AutoConfig": "configuration_mine.MineConfig"}
MODEL = {**CONFIG, "AutoModelForSequenceClassification": "modeling_mine.MineClassifier"}
TOKENIZER = {"AutoTokenizer": [None, "tokenization_mine.MineTokenizer"]}

#: What may stand in an environment to say that code is trusted.
VARIABLES = (
    *("TRUST_REMOTE_CODE", "HF_TRUST_REMOTE_CODE", "HF_HUB_TRUST_REMOTE_CODE", "TRANSFORMERS_TRUST_REMOTE_CODE"),
    *("HF_DATASETS_TRUST_REMOTE_CODE", "TEXTLRP_TRUST_REMOTE_CODE", "TEXTLRP_EXPLAIN_TRUST_REMOTE_CODE"),
)

SCRIPT = """
import json, sys
from pathlib import Path
import textlrp

trusted, *folders = sys.argv[1:]
for folder in folders:
    try:
        found = textlrp.Explainer.from_pretrained(folder, trust_remote_code=trusted == "yes")
        said = type(found.model).__name__, found.explain("a wonderful film").predicted in ("NEG", "POS")
    except textlrp.LRPError as error:
        said = type(error).__name__, str(error)
    marker = Path(folder, "ran")
    print(json.dumps([*said, sorted(set(marker.read_text().split())) if marker.exists() else []]))
"""


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def holding_code(folder: Path, made: Path, model: Any = None, tokenizer: Any = None, **config: Any) -> Path:
    """A copy of a model whose configs name code of its own; each file writes its name to ``ran`` when it runs."""
    shutil.copytree(folder, made)
    for name, written in FILES.items():
        note = f"with open({str(made / 'ran')!r}, 'a') as file:\n    file.write({name!r} + ' ')\n"
        (made / name).write_text(note + written)
    if model is not None:
        edit(made / "config.json", **{"model_type": "mine", "auto_map": model, **config})
    if tokenizer is not None:
        edit(made / "tokenizer_config.json", auto_map=tokenizer, tokenizer_class="MineTokenizer")
    return made


@pytest.fixture(scope="module")
def folders(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("own code")
    return {
        "all": holding_code(folder, place / "all", MODEL, TOKENIZER),
        "model": holding_code(folder, place / "model", MODEL),
        "config": holding_code(folder, place / "config", CONFIG, model_type="bert"),
        "tokenizer": holding_code(folder, place / "tokenizer", tokenizer=TOKENIZER),
    }


def in_a_process(trusted: str, folders: list[Path], place: Path) -> list[Any]:
    """Return the result of loading each folder while standard input and the environment consent to everything."""
    environment = {**os.environ, **dict.fromkeys(VARIABLES, "1"), "HF_MODULES_CACHE": str(place)}
    command = [*STRICT, "-c", SCRIPT, trusted, *map(str, folders)]
    done = subprocess.run(command, input="y\n" * 50, capture_output=True, text=True, env=environment, check=True)
    assert "Do you wish" not in done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def nested(folder: Path, made: Path) -> Path:
    """A model that transformers knows, with a model inside that has code: transformers does not pass consent to it."""
    inside = {"model_type": "siglip_text_model", "auto_map": {"AutoModel": "modeling_mine.MineClassifier"}}
    holding_code(folder, made)
    config = {"model_type": "modernvbert", "num_labels": 2, "text_config": {**inside, "_name_or_path": str(made)}}
    (made / "config.json").write_text(json.dumps(config))
    return made


@pytest.mark.slow
def test_nothing_but_the_option_consents(folder: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    inside = nested(folder, tmp_path / "nested")
    outcomes = in_a_process("no", [*folders.values(), inside], tmp_path / "modules")
    by_folder = dict(zip([*folders, "nested"], outcomes, strict=True))
    # transformers knows the type, and has a configuration and a tokenizer for it.
    assert by_folder.pop("config") == ["BertForSequenceClassification", True, []]
    assert by_folder.pop("tokenizer") == ["BertForSequenceClassification", True, []]
    named = {
        "all": "configuration_mine.py, modeling_mine.py, tokenization_mine.py",
        "model": "configuration_mine.py, modeling_mine.py",
        "nested": "modeling_mine.py",
    }
    assert by_folder == {
        name: [
            "ModelError",
            f"{str(inside if name == 'nested' else folders[name])!r} holds its own code ({named[name]}), and textlrp "
            f"runs no code of a model that it is not told to trust: read it, then give --trust-remote-code (in "
            f"Python, trust_remote_code=True)",
            [],
        ]
        for name in by_folder
    }


@pytest.mark.slow
def test_with_the_option_the_code_runs_and_the_model_is_explained(folders: dict[str, Path], tmp_path: Path) -> None:
    every, model, config, tokenizer = in_a_process("yes", list(folders.values()), tmp_path / "modules")
    assert [every, model, tokenizer] == [
        ["MineClassifier", True, ["configuration_mine.py", "modeling_mine.py", "tokenization_mine.py"]],
        ["MineClassifier", True, ["configuration_mine.py", "modeling_mine.py"]],
        ["BertForSequenceClassification", True, ["tokenization_mine.py"]],
    ]
    assert (config[0], config[2]) == ("ModelError", ["configuration_mine.py"])  # no model goes with that configuration
    for place in folders.values():
        (place / "ran").unlink()


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", TEXT, "--model"],
        ["check", "--text", TEXT],
        ["report", "texts.txt", "-o", "out.html", "--model"],
        ["evaluate", "--corpus", "reviews", "--limit", "2", "--method", "random", "--model"],
        ["serve", "--no-open", "--model"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_command_takes_a_yes_on_standard_input(
    arguments: list[str], folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text(TEXT)
    environment = {f"TEXTLRP_{arguments[0].upper()}_TRUST_REMOTE_CODE": "1"}
    place = folders["all"]
    result = CliRunner().invoke(main, [*arguments, str(place)], input="y\ny\n", env=environment)
    assert result.exit_code == 1, result.output
    assert f"Error: {str(place)!r} holds its own code (configuration_mine.py, modeling_mine.py, " in result.stderr
    assert "--trust-remote-code" in result.stderr
    assert not (place / "ran").exists()
    assert "--trust-remote-code" in CliRunner().invoke(main, [arguments[0], "--help"]).stdout


def test_the_option_of_a_command_is_the_consent(folders: dict[str, Path], tmp_path: Path) -> None:
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules")}
    command = [*STRICT, "-m", "textlrp.cli", "explain", TEXT, "--trust-remote-code", "--model", str(folders["all"])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "explained: " in done.stdout
    (folders["all"] / "ran").unlink()


@pytest.mark.parametrize("command", ["explain", "check", "serve"])
def test_the_built_in_classifier_has_no_code_to_trust(command: str) -> None:
    texts = [TEXT] if command == "explain" else []
    result = CliRunner().invoke(main, [command, *texts, "--trust-remote-code"])
    assert result.exit_code == 2
    assert "Error: --trust-remote-code goes with " in result.stderr


@pytest.mark.parametrize("consent", [None, "yes", 1, "False"])
def test_consent_is_true_or_false(folder: Path, consent: Any) -> None:
    with pytest.raises(InputError, match="trust_remote_code is True or False, not "):
        textlrp.Explainer.from_pretrained(folder, trust_remote_code=consent)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_a_kernel_from_the_hub_is_code_too(folder: Path, tmp_path: Path, key: str) -> None:
    made = tmp_path / "kernel"
    shutil.copytree(folder, made)
    edit(made / "config.json", **{key: "some-owner/some-kernel"})
    with pytest.raises(ModelError, match=r"asks for code from the hub \(kernel some-owner/some-kernel\), and textlrp"):
        textlrp.Explainer.from_pretrained(made)


def test_what_the_options_of_transformers_are_stays_so_after_loading(folder: Path) -> None:
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    textlrp.Explainer.from_pretrained(folder)
    assert dynamic_module_utils.TIME_OUT_REMOTE_CODE == before > 0


def test_weights_that_lack_something_may_belong_to_the_code(folder: Path, tmp_path: Path) -> None:
    made = holding_code(folder, tmp_path / "lacking", {"AutoModel": "modeling_mine.MineClassifier"}, model_type="bert")
    edit(made / "config.json", num_hidden_layers=3)
    with pytest.raises(
        ModelError, match=r"its weights lack .*; it holds its own code \(modeling_mine.py\), which runs"
    ):
        textlrp.Explainer.from_pretrained(made)


class Runs:
    """Leaves a file behind where a pickle of it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("whole", [False, True], ids=["a tensor file", "a bare pickle"])
def test_pickled_weights_do_not_run_and_become_safetensors(folder: Path, tmp_path: Path, whole: bool) -> None:
    made, marker = tmp_path / "pickled", tmp_path / "ran"
    shutil.copytree(folder, made)
    (made / "model.safetensors").unlink()
    if whole:
        (made / "pytorch_model.bin").write_bytes(pickle.dumps(Runs(marker)))
    else:
        torch.save({"weight": torch.zeros(1), "more": Runs(marker)}, made / "pytorch_model.bin")
    with pytest.raises(ModelError) as caught:
        textlrp.Explainer.from_pretrained(made, trust_remote_code=True)
    assert str(caught.value) == (
        f"cannot load {str(made)!r}: its weights are a pickle that is damaged or holds more than tensors, and such a "
        f"file can run code where it is read: convert them to safetensors where they were made, with "
        f"model.save_pretrained(folder), and load that folder"
    )
    assert not marker.exists()


def test_pickled_tensors_are_read(folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "pickled"
    shutil.copytree(folder, made)
    whole = textlrp.Explainer.from_pretrained(folder)
    (made / "model.safetensors").unlink()
    torch.save(whole.model.state_dict(), made / "pytorch_model.bin")
    assert textlrp.Explainer.from_pretrained(made).explain(TEXT).logit == whole.explain(TEXT).logit
