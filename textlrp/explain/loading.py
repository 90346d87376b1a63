"""A model and its tokenizer from a folder or from the hub, checked before use."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from textlrp.basics.options import brief
from textlrp.basics.transformers_versions import dtype_option
from textlrp.errors import InputError, ModelError, fails, first_line
from textlrp.explain import adapters
from textlrp.explain.own_code import CONSENT, kernels, listed, own_code, refusal, without_questions

#: What is loaded: a classifier, or if it generates text a language model, and what to name where it is none.
_KINDS = {False: "text classifier", True: "language model"}
_ADVICE = {
    False: "name a model that was fine-tuned to classify texts",
    True: "name a language model with its head",
}

# Options on the hub that the tokenizer gets, too.
_HUB = ("token", "cache_dir", "local_files_only")


def load(
    name: str,
    *,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    revision: str | None,
    trust_remote_code: bool,
    generates: bool = False,
    **options: Any,
) -> tuple[nn.Module, Any]:
    """Return a classifier in evaluation mode and its tokenizer; ``Explainer.from_pretrained`` describes the arguments.

    With ``generates`` it is a language model, causal or with an encoder and a decoder.

    Raises:
        InputError: there is no folder of that name, or the device, the dtype or the consent is invalid.
        ModelError: the model cannot be loaded, needs code that is not trusted, or is not a text classifier.
    """
    if not isinstance(trust_remote_code, bool):
        raise InputError(f"trust_remote_code is True or False, not {brief(trust_remote_code)}")
    place = _checked_device(device)
    chosen = {} if dtype is None else {dtype_option(): _checked_dtype(dtype)}
    _check_name(name)
    base = adapters.base_of(name)
    whole, words = (name, name) if base is None else (base, adapters.tokenizer_of(name, base))
    hub = {"revision": revision, **{key: options[key] for key in _HUB if key in options}}
    with _quiet_transformers(), without_questions():
        from transformers import AutoTokenizer, PreTrainedTokenizerBase

        code_from_hub = () if trust_remote_code else kernels(whole, hub)
        if code_from_hub:
            raise ModelError(refusal(name, code_from_hub, "asks for code from the hub"))
        code: dict[str, Any] = {"trust_remote_code": trust_remote_code}
        code |= {key: options.pop(key) for key in ("code_revision",) if key in options}
        try:
            tokenizer = AutoTokenizer.from_pretrained(words, **hub, **code)
            head = {} if base is None else adapters.head_of(name)
            model, report = _class(whole, generates, hub, code).from_pretrained(
                whole, revision=revision, output_loading_info=True, **code, **chosen, **head, **options
            )
        except BaseException as error:  # readers of weights and vocabularies raise exceptions of their own
            if not fails(error):
                raise
            files = () if trust_remote_code else own_code(name, hub)
            if "trust_remote_code" in str(error) and not trust_remote_code:
                raise ModelError(refusal(name, files)) from error
            raise ModelError(_why_not_loaded(whole, error, _KINDS[generates]) + _not_run(files)) from error
        files = own_code(name, hub) if report["missing_keys"] and not trust_remote_code else ()
    if base is not None:
        model = adapters.adapted(model, name, report)
    elif report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(
            f"{name!r} is not a trained {_KINDS[generates]}: its weights lack {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}, which would be random; {_ADVICE[generates]}{_not_run(files)}"
        )
    if not isinstance(tokenizer, PreTrainedTokenizerBase) and not hasattr(tokenizer, "convert_ids_to_tokens"):
        raise ModelError(
            f"{name!r} names {type(tokenizer).__name__} as its tokenizer, which is not one: save another there"
        )
    if getattr(tokenizer, "is_fast", False) and len(tokenizer) <= len(tokenizer.all_special_tokens):
        # transformers makes up an empty tokenizer if a folder has none.
        raise ModelError(
            f"{name!r} has no tokenizer (tokenizer.json is missing, or holds no words); save the one that the model "
            f"was trained with in the same place"
        )
    if place is not None:
        try:
            model = model.to(place)
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f"cannot put the model on {str(device)!r}: {first_line(error)}") from error
    return model.eval(), tokenizer


def _class(name: str, generates: bool, hub: dict[str, Any], code: dict[str, Any]) -> Any:
    """Return the class of transformers that loads a classifier, or a language model."""
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
    )

    if not generates:
        return AutoModelForSequenceClassification
    config = AutoConfig.from_pretrained(name, **hub, **code)
    return AutoModelForSeq2SeqLM if getattr(config, "is_encoder_decoder", False) else AutoModelForCausalLM


def _checked_device(device: str | torch.device | None) -> torch.device | None:
    try:
        place = None if device is None else torch.device(device)
    except (RuntimeError, TypeError, ValueError):
        place = torch.device("meta")
    if place is not None and place.type == "meta":
        named = brief(str(device) if isinstance(device, torch.device) else device)
        raise InputError(f"{named} is not a device that computes: use cpu, cuda, cuda:1, mps, ...")
    return place


def _checked_dtype(dtype: str | torch.dtype) -> str | torch.dtype:
    known = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    automatic = isinstance(dtype, str) and dtype == "auto"
    if not automatic and not (isinstance(known, torch.dtype) and known.is_floating_point):
        named = brief(str(dtype) if isinstance(dtype, torch.dtype) else dtype)
        raise InputError(f"{named} is not a dtype of weights: use float32, float64, bfloat16, float16 or auto")
    return dtype


def name_of(name: str | Path) -> str:
    """Return the name of a model or of its folder as text.

    Raises:
        InputError: it is neither.
    """
    if isinstance(name, (str, Path)):
        return str(name)
    raise InputError(f"a model is named by a folder or a hub name, not {brief(name)}")


def _check_name(name: str) -> None:
    """Refuse a name that can be neither a folder nor a name on the hub."""
    folder = Path(name)
    if not name.strip() or "\0" in name:
        raise InputError(f"{name!r} names no model: give a folder with config.json, or a hub name such as owner/model")
    if "://" in name:
        raise InputError(f"{name!r} is an address: give a folder, or the hub name alone (owner/model)")
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"{name!r} is a file: a model is a folder with config.json, weights and tokenizer, or a hub name"
        )
    if not folder.exists() and "/" in name and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise InputError(f"there is no folder {name!r}: check the path, or give a hub name such as owner/model")


def _not_run(code: tuple[str, ...]) -> str:
    """Return an addition to a message about a model with code that did not run."""
    return f"; it holds its own code ({listed(code)}), which runs with {CONSENT} alone" if code else ""


def _why_not_loaded(name: str, error: BaseException, kind: str) -> str:
    """Return one sentence on why a model could not be loaded."""
    folder = Path(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        return f"the folder {name!r} holds no model: it has no config.json"
    named = _named_labels(folder)
    if "ignore_mismatched_sizes" in str(error):
        count = f" (its id2label names {named} label{'s' * (named != 1)})" if isinstance(named, int) else ""
        return f"cannot load {name!r}: its weights have other sizes than its config.json says{count}"
    if isinstance(named, str):
        return f"cannot load {name!r}: {named}"
    if "trust_remote_code" in str(error):  # consent is given, but does not reach a model inside
        return f"cannot load {name!r}: a model inside it has its own code, to which transformers passes no consent on"
    if _reads_pickle(error):
        return (
            f"cannot load {name!r}: its weights are a pickle that is damaged or holds more than tensors, and such a "
            f"file can run code where it is read: convert them to safetensors where they were made, with "
            f"model.save_pretrained(folder), and load that folder"
        )
    reason = first_line(error)
    if " " not in reason:
        reason = f"{type(error).__name__} {reason}".strip()
    where = "the folder" if folder.is_dir() else "there is no folder of that name, and the hub model"
    return f"cannot load {name!r}: {where} cannot be read as a {kind} with its tokenizer ({reason.rstrip('.')})"


def _named_labels(folder: Path) -> int | str | None:
    """Return how many labels the config of a folder names, or what is wrong with ``id2label``; None without it."""
    try:
        names = json.loads((folder / "config.json").read_text("utf-8"))["id2label"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if isinstance(names, dict) and all(key.lstrip("-").isdecimal() for key in names):
        return len(names)
    return 'id2label of its config.json must map numbers to names, such as {"0": "NEG", "1": "POS"}'


def _reads_pickle(error: BaseException) -> bool:
    """Return whether an error comes from torch's reader of pickled weights, whose message advises unsafe loading."""
    cause: BaseException | None = error
    while cause is not None:  # transformers before 5.0 raises an error of its own from it
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            if frame.f_globals.get("__name__") == "torch.serialization":
                return True
        cause = cause.__cause__ or cause.__context__
    return False


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep loading messages and bars out of a user's terminal: problems are raised as errors."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
