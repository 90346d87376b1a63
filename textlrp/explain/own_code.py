"""Code in a model's files: the names of the files, and the message that refuses to run them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textlrp.basics.transformers_versions import base_config

#: The only way to consent: no environment variable and no answer on standard input counts.
CONSENT = "--trust-remote-code (in Python, trust_remote_code=True)"

_LISTED = 3


def own_code(name: str, hub: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the files of code that a model's configs name, as ``file.py`` or ``file.py of owner/model``.

    Args:
        name: a folder or a hub name; for an adapter, its base model is read, too.
        hub: the options of ``from_pretrained`` on the hub: revision, token, cache_dir, ...

    No code is run, and a config that cannot be read counts as empty.
    """
    configs = [_config(name, hub), _tokenizer_config(name, hub)]
    base = _adapter_base(name)
    if base is not None:
        configs += [_config(base, hub), _tokenizer_config(base, hub)]
    files = (file for config in configs for reference in _references(config) for file in _files(reference))
    return tuple(dict.fromkeys(files))


def kernels(name: str, hub: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the kernels on the hub, which are code, that a model's config names for its attention or its experts."""
    return tuple(dict.fromkeys(_kernels(_config(name, hub))))


def refusal(name: str, code: tuple[str, ...], verb: str = "holds its own code") -> str:
    """Return the message for a model whose code is not trusted; ``verb`` is the beginning of its predicate."""
    named = f" ({listed(code)})" if code else ""
    return (
        f"{name!r} {verb}{named}, and textlrp runs no code of a model that it is not told to trust: read it, then "
        f"give {CONSENT}"
    )


def listed(code: tuple[str, ...]) -> str:
    """Return the names of the first files in one line."""
    return ", ".join(code[:_LISTED]) + (f" and {len(code) - _LISTED} more" if len(code) > _LISTED else "")


@contextmanager
def without_questions() -> Iterator[None]:
    """Let transformers raise an error instead of asking on standard input whether code may run.

    It asks wherever ``trust_remote_code`` is not passed on, as by models that contain models. Its only switch is the
    time limit for an answer: 0 seconds raise an error at once.
    """
    from transformers import dynamic_module_utils as dynamic

    patience = dynamic.TIME_OUT_REMOTE_CODE
    dynamic.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic.TIME_OUT_REMOTE_CODE = patience


def _config(name: str, hub: Mapping[str, Any]) -> dict[str, Any]:
    return _read(base_config().get_config_dict, name, hub)


def _tokenizer_config(name: str, hub: Mapping[str, Any]) -> dict[str, Any]:
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    return _read(get_tokenizer_config, name, hub)


def _read(reader: Any, name: str, hub: Mapping[str, Any]) -> dict[str, Any]:
    try:
        values = reader(name, **hub)
    except Exception:  # loading the model will raise it
        return {}
    values = values[0] if isinstance(values, tuple) else values
    return values if isinstance(values, dict) else {}


def _adapter_base(name: str) -> str | None:
    """Return the base model of an adapter in a folder, or None."""
    import json

    try:
        base = json.loads((Path(name) / "adapter_config.json").read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return base if isinstance(base, str) else None


def _references(values: Any) -> Iterator[str]:
    """Yield the strings in every ``auto_map``, also of configs inside a config."""
    for key, value in values.items() if isinstance(values, dict) else ():
        if key == "auto_map":
            yield from _strings(value)
        else:
            yield from _references(value)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _strings(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _strings(member)


def _files(reference: str) -> Iterator[str]:
    """Yield the file that a reference such as ``modeling_x.Model`` or ``owner/model--modeling_x.Model`` names."""
    repository, _, path = reference.rpartition("--")
    yield f"{path.partition('.')[0]}.py" + (f" of {repository}" if repository else "")


def _kernels(values: Any) -> Iterator[str]:
    for key, value in values.items() if isinstance(values, dict) else ():
        if key.endswith(("attn_implementation", "experts_implementation")):
            yield from (f"kernel {name}" for name in _strings(value) if "/" in name)
        else:
            yield from _kernels(value)
