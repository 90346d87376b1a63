"""Names that releases of transformers changed."""

import sys

import pytest
import transformers

from textlrp.basics import transformers_versions


@pytest.mark.parametrize(
    ("version", "option"),
    [("4.48.0", "torch_dtype"), ("4.55.4", "torch_dtype"), ("4.56.0", "dtype"), ("5.25.0.dev0", "dtype")],
)
def test_the_option_for_the_dtype(monkeypatch: pytest.MonkeyPatch, version: str, option: str) -> None:
    monkeypatch.setattr(sys.modules["transformers"], "__version__", version)  # other tests import it anew
    assert transformers_versions.dtype_option() == option


def test_the_base_of_all_configs() -> None:
    assert isinstance(transformers.BertConfig(), transformers_versions.base_config())
