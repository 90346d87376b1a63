"""Tiny models and tokenizers, built where they are needed: no test reaches the network."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from browser import chromium
from click.testing import CliRunner
from tiny_bert import bert, fast_tokenizer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ["HF_HUB_OFFLINE"] = "1"
# Tiny tensors gain nothing from more threads, and wait for each other where a machine is busy.
os.environ["OMP_NUM_THREADS"] = "1"
# click before 8.2 mixes what a command prints and its errors unless it is told otherwise.
if "mix_stderr" in inspect.signature(CliRunner).parameters:
    CliRunner.__init__ = partialmethod(CliRunner.__init__, mix_stderr=False)  # type: ignore[method-assign]
pytest.register_assert_rewrite("single_operations", "architecture_sweep")

# The same cases on every machine, however busy it is. `--hypothesis-profile=search` looks for new ones.
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-support-table", action="store_true", help="write the support table in docs/architectures.md"
    )


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, started once for a module; its tests are skipped where there is none."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny BERT classifier (NEG, POS; 64 ids) with a WordPiece tokenizer."""
    path = tmp_path_factory.mktemp("models") / "bert"
    tokenizer = fast_tokenizer("wordpiece")
    tokenizer.save_pretrained(path)
    bert(len(tokenizer)).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def ahead() -> Iterator[Callable[..., Future[Any]]]:
    """`ahead(function, *arguments)` calls a function in a child, ahead of the test that reads the result.

    As many children run at a time as there are processors.
    """
    import tiny_models

    filters = list(warnings.filters)
    executor = ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0))))
    yield lambda *call: executor.submit(tiny_models.in_child, *call, filters=filters)
    executor.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def selected(request: pytest.FixtureRequest) -> Callable[[str], list[Any]]:
    """`selected(parameter)`: its values in the tests of this module that were asked for, in their order."""

    def values(parameter: str) -> list[Any]:
        calls = (getattr(item, "callspec", None) for item in request.session.items if item.path == request.path)
        return list(dict.fromkeys(call.params[parameter] for call in calls if call and parameter in call.params))

    return values


@pytest.fixture(scope="module", name="bert")
def bert_of_the_zoo() -> Any:
    """A tiny BERT of three labels, and a padded batch of three documents for it."""
    import tiny_models

    model = tiny_models.build("bert")
    return model, tiny_models.inputs(model, "bert")
