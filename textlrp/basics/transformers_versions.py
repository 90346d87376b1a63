"""What has another name in older releases of transformers, each with the release that renamed it.

Whatever differs between releases is looked up here. Checked with transformers 4.48 and 5.24. The functions import
transformers when they are called, which takes seconds.
"""

from __future__ import annotations

from typing import Any


def base_config() -> Any:
    """Return the base class of all configs: ``PreTrainedConfig`` since 5.0, ``PretrainedConfig`` before."""
    import transformers

    return transformers.PreTrainedConfig if release() >= (5, 0) else transformers.PretrainedConfig


def dtype_option() -> str:
    """Return the option of ``from_pretrained`` for the dtype: ``dtype`` since 4.56, ``torch_dtype`` before.

    An unknown option goes to the model's own constructor, so that the wrong name is an error about the model.
    """
    return "dtype" if release() >= (4, 56) else "torch_dtype"


def release() -> tuple[int, ...]:
    """Return the first two numbers of the version of transformers."""
    import transformers

    return tuple(int(part) for part in transformers.__version__.split(".")[:2])
