"""The outputs of a classifier: its labels, their scores and probabilities, and the choice among them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from textlrp.basics import options
from textlrp.errors import InputError, ModelError
from textlrp.explain.label_names import LabelReading, counts_otherwise, find_name, find_number, read_labels
from textlrp.render.format import named

#: The kinds of heads, as ``problem_type`` in the config of a transformers model names them.
SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
PROBLEM_TYPES = (SINGLE, MULTI, REGRESSION)

#: The functions that pipelines and cross-encoders note instead.
_FUNCTIONS = {"softmax": SINGLE, "sigmoid": MULTI, "none": REGRESSION, "identity": REGRESSION}

RUNNER_UP = "runner-up"

#: More labels than any classifier has.
_MOST_LABELS = 1_000_000


@dataclass(frozen=True)
class Pick:
    """An explained label and the label that it is compared with, by index."""

    target: int
    contrast: int | None = None


@dataclass(frozen=True)
class Head:
    """The outputs of a classifier.

    A head of two labels and one output (a binary classifier) has the log-odds of the second label as its output; the
    score of the first label is the same with the opposite sign.

    Attributes:
        names: the labels that the model's config names, by index, or None.
        problem_type: one of :data:`PROBLEM_TYPES`, or None if it is unknown; then several outputs are read as labels
            that exclude each other, and a single one as a number without a probability.
        unnamed: the indices, below that of the last name, that the config leaves out; their labels are numbered.
        aliases: more names of the labels, with their indices, as the config's ``label2id`` has them.
    """

    names: tuple[str, ...] | None = None
    problem_type: str | None = None
    unnamed: tuple[int, ...] = ()
    aliases: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if self.problem_type is not None:
            options.choice(self.problem_type, PROBLEM_TYPES, f"problem_type is one of {', '.join(PROBLEM_TYPES)}")

    @classmethod
    def of(cls, config: Any, problem_type: str | None = None) -> Head:
        """Read a head from a model's config; ``problem_type`` overrides the config's."""
        kind = _problem_type(config) if problem_type is None else problem_type
        by_index = _names(config)
        aliases = _aliases(config, () if by_index is None else by_index.values())
        if by_index is None:
            return cls(None, kind, (), aliases)
        names = [by_index.get(i, f"LABEL_{i}") for i in range(max(by_index) + 1)]
        unique = tuple(f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names))
        return cls(unique, kind, tuple(sorted(set(range(len(names))) - by_index.keys())), aliases)

    def binary(self, outputs: int) -> bool:
        """Return whether a single output tells two labels apart."""
        named = self.names is not None and len(self.names) == 2 and not self.unnamed
        return outputs == 1 and named and self.problem_type != REGRESSION

    def labels(self, outputs: int) -> tuple[str, ...]:
        """Return the labels of a head with that many outputs, numbered if the config's names do not fit.

        Raises:
            ModelError: the config names only some labels, and one of them has no output.
        """
        if self.names is not None and (len(self.names) == outputs or self.binary(outputs)):
            return self.names
        if self.names is not None and self.unnamed:
            if outputs > len(self.names):
                return (*self.names, *(f"LABEL_{i}" for i in range(len(self.names), outputs)))
            indices = [i for i in range(len(self.names)) if i not in self.unnamed]
            raise ModelError(
                f"the model's config names the labels {', '.join(map(str, indices))}, and the model has {outputs} "
                f"output{'s' if outputs > 1 else ''}, numbered from 0 on, so no name can be told to belong to one: set "
                f"model.config.id2label to a name for each of 0 to {outputs - 1}"
            )
        return tuple(f"LABEL_{i}" for i in range(outputs))

    def scores(self, logits: Tensor) -> Tensor:
        """Return the logit of each label, ``[labels]``, given the outputs ``[outputs]``."""
        return torch.cat([-logits, logits]) if self.binary(logits.shape[0]) else logits

    def probabilities(self, logits: Tensor) -> dict[str, float]:
        """Return the probability of each label; empty if the outputs are not log-odds (regression)."""
        labels, scores = self.labels(logits.shape[0]), self.scores(logits)
        alone = logits.shape[0] == 1
        if self.problem_type == REGRESSION or (self.problem_type is None and alone and len(labels) == 1):
            return {}
        values = scores.sigmoid() if alone or self.problem_type == MULTI else scores.softmax(-1)
        return dict(zip(labels, values.tolist(), strict=True))

    def weights(self, pick: Pick, outputs: int) -> list[float]:
        """Return the weight of each output in the explained quantity."""
        if self.binary(outputs):
            return [1.0 if pick.target else -1.0]
        weights = [0.0] * outputs
        weights[pick.target] = 1.0
        if pick.contrast is not None:
            weights[pick.contrast] = -1.0
        return weights

    @property
    def gives_several(self) -> bool:
        """Whether a text may have several labels."""
        return self.problem_type == MULTI

    def read(
        self, written: Iterable[str], known: Sequence[str], label_map: Mapping[str, str] | None = None
    ) -> LabelReading:
        """Read the labels of a data column as those of the model (:func:`textlrp.explain.label_names.read_labels`).

        Raises:
            InputError: they can be read in two ways, or the label map does not fit.
        """
        return read_labels(written, known, aliases=dict(self.aliases), label_map=label_map, several=self.gives_several)

    def predicted(self, logits: Tensor, threshold: float | None = None) -> list[int]:
        """Return the labels that the model predicts, by index.

        That is the label of the highest score, or in a multi-label head every label whose probability reaches the
        threshold (default: 0.5).
        """
        if self.problem_type == MULTI and logits.shape[0] > 1:
            return self.above(logits, 0.5 if threshold is None else threshold)
        return [int(self.scores(logits).argmax())]

    def above(self, logits: Tensor, threshold: float) -> list[int]:
        """Return the labels whose probability reaches a threshold, by index.

        Raises:
            InputError: the outputs have no probabilities.
        """
        shares = self.probabilities(logits)
        if not shares:
            raise InputError(
                "a threshold needs probabilities, and this model's output is a number (regression); if it is the "
                "log-odds of a label, say problem_type='multi_label_classification'"
            )
        return [i for i, share in enumerate(shares.values()) if share >= threshold]


@dataclass(frozen=True)
class Choice:
    """A user's choice of the label to explain.

    Attributes:
        target: a label by name or index, or None for the predicted one.
        contrast: a label by name or index, ``"runner-up"``, or None.
    """

    target: str | int | None = None
    contrast: str | int | None = None

    def __post_init__(self) -> None:
        for name in ("target", "contrast"):
            label = getattr(self, name)
            if label is not None and type(label) not in (str, int):
                object.__setattr__(self, name, _label(label))

    def check(self, head: Head) -> None:
        """Check the labels before the model runs, if the config names them.

        Raises:
            InputError: a label is unknown.
        """
        if head.names is None:
            return
        for label in (self.target, None if self.contrast == RUNNER_UP else self.contrast):
            if label is not None:
                find_label(head.names, label, head.aliases)

    @property
    def settled(self) -> bool:
        """Whether the choice does not depend on the logits."""
        return self.target is not None and self.contrast != RUNNER_UP

    def pick(self, head: Head, logits: Tensor) -> Pick:
        """Return the labels for the logits ``[outputs]`` of a text.

        Raises:
            InputError: a label is unknown, or the contrast leaves nothing to explain.
        """
        labels, scores = head.labels(logits.shape[0]), head.scores(logits)
        target = int(scores.argmax()) if self.target is None else find_label(labels, self.target, head.aliases)
        if self.contrast is None:
            return Pick(target)
        if len(labels) < 2:
            raise InputError("contrast needs a second label, and the model has one")
        if head.binary(logits.shape[0]):
            raise InputError(
                f"the model has one output for {labels[0]!r} and {labels[1]!r}, which sets one against the other "
                f"already: leave contrast out"
            )
        if self.contrast == RUNNER_UP and RUNNER_UP not in labels:
            others = scores.clone()
            others[target] = -torch.inf
            contrast = int(others.argmax())
        else:
            contrast = find_label(labels, self.contrast, head.aliases)
        if contrast == target:
            raise InputError(f"contrast and target are both {labels[target]!r}: their difference is zero")
        return Pick(target, contrast)


@dataclass(frozen=True)
class Several:
    """Several labels to explain.

    Attributes:
        targets: ``"all"``, ``"predicted"``, or labels by name or index.
        threshold: the least probability of a label that is explained, or None.
    """

    targets: str | tuple[str | int, ...]
    threshold: float | None = None

    @property
    def settled(self) -> bool:
        """Whether the labels do not depend on the logits."""
        return self.targets != "predicted" and self.threshold is None

    def check(self, head: Head) -> None:
        """Check the labels before the model runs, if the config names them.

        Raises:
            InputError: a label is unknown, or there is none.
        """
        if not self.targets:
            raise InputError("targets is empty: name a label, or say 'all' or 'predicted'")
        for target in () if isinstance(self.targets, str) else self.targets:
            Choice(target).check(head)

    def pick(self, head: Head, choice: Choice, logits: Tensor) -> list[Pick]:
        """Return the labels for the logits ``[outputs]`` of a text, each compared with the contrast of the choice.

        Raises:
            InputError: a label is unknown, or a contrast leaves nothing to explain.
        """
        labels = head.labels(logits.shape[0])
        if self.targets == "all":
            wanted = list(range(len(labels)))
            if choice.contrast is not None and choice.contrast != RUNNER_UP:
                wanted.remove(find_label(labels, choice.contrast, head.aliases))
        elif self.targets == "predicted":
            wanted = head.predicted(logits, self.threshold)
        else:
            wanted = list(dict.fromkeys(find_label(labels, target, head.aliases) for target in self.targets))
        if self.threshold is not None:
            above = head.above(logits, self.threshold)
            wanted = [i for i in wanted if i in above]
        return [replace(choice, target=i).pick(head, logits) for i in wanted]


def named_labels(labels: Any) -> tuple[str, ...]:
    """Return the labels that a user names: a list, or as pipelines take them a text with commas between them.

    Raises:
        InputError: there is none, or one is no text, empty or repeated.
    """
    listed = labels.split(",") if isinstance(labels, str) else labels
    if not isinstance(listed, Iterable):
        raise InputError(f"labels is a list of names, not {options.brief(labels)}")
    names = [options.text(name, "a label is a name").strip() for name in listed]
    if not names or not all(names):
        raise InputError(f"{'a label is empty' if names else 'labels is empty'}: name each label")
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"the label {repeated!r} is there more than once: name each label once")
    return tuple(names)


def find_label(labels: tuple[str, ...], label: str | int, aliases: Iterable[tuple[str, int]] = ()) -> int:
    """Return the index of a label, given its name (:func:`textlrp.explain.label_names.find_name`), or its index.

    A text of digits is an index too, unless it is another label's name in part, as 2 is of ``2 stars``.

    Raises:
        InputError: the label is unknown, or can be two; the message lists the labels and the nearest one.
    """
    listed = ", ".join(map(named, labels[:20])) + (f", ... ({len(labels)} in all)" if len(labels) > 20 else "")
    label = _label(label)
    if isinstance(label, int):
        if 0 <= label < len(labels):
            return label
        raise InputError(
            f"there is no label {options.brief(label)}: the model has {len(labels)}, 0 to {len(labels) - 1} ({listed})"
        )
    found = find_name(label, labels, dict(aliases))
    if found is not None:
        return found
    if label.isdecimal() and len(label) < 19 and int(label) < len(labels):
        index = int(label)
        by_name = find_number(index, labels)
        if counts_otherwise(labels) and by_name not in (None, index):
            assert by_name is not None
            raise InputError(
                f"the label {label!r} can be {labels[by_name]!r}, or {labels[index]!r}, which has this index: write "
                f"its name"
            )
        return index
    folded = [name.casefold() for name in labels]
    near = difflib.get_close_matches(label.casefold(), folded, n=1)
    hint = f"; did you mean {labels[folded.index(near[0])]!r}?" if near else ""
    raise InputError(f"there is no label {label!r}: the model's labels are {listed}{hint}")


def _label(label: Any) -> str | int:
    """Return a label's name, or its index as an ``int``.

    Raises:
        InputError: it is neither.
    """
    if isinstance(label, str):
        return label
    index = options.as_whole(label)
    if index is None:
        raise InputError(f"a label is a name or an index, not {options.brief(label)}")
    return index


def _names(config: Any) -> dict[int, str] | None:
    """Return the labels that a config names, by index."""
    names = getattr(config, "id2label", None)
    if not names:
        return None
    if isinstance(names, (list, tuple)):
        names = dict(enumerate(names))
    elif all(isinstance(key, str) and not key.isdecimal() and type(names[key]) is int for key in names):
        names = {index: key for key, index in names.items()}  # label2id under the other name
    by_index: dict[int, str] = {}
    for key, name in names.items():
        try:
            number = int(key)
        except (TypeError, ValueError):
            number = -1
        if not 0 <= number < _MOST_LABELS:
            raise ModelError(
                f"id2label of the model's config calls {key!r} the number of the label {name!r}: count them from 0 on"
            )
        written = "" if name is None else " ".join(str(name).split())
        by_index[number] = written or f"LABEL_{number}"
    return by_index


def _aliases(config: Any, names: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Return the names in a config's ``label2id`` that are not among the names of its labels, with their indices."""
    indices = getattr(config, "label2id", None)
    if not isinstance(indices, dict):
        return ()
    taken = set(names)
    pairs = ((name, options.as_whole(index)) for name, index in indices.items() if isinstance(name, str))
    return tuple((name, index) for name, index in pairs if index is not None and name not in taken)


def _problem_type(config: Any) -> str | None:
    """Return the problem type in a config, as transformers, its pipelines or sentence-transformers note it."""
    problem_type = getattr(config, "problem_type", None)
    if problem_type in PROBLEM_TYPES:
        return str(problem_type)
    settings = getattr(config, "sentence_transformers", None)
    functions = [getattr(config, "function_to_apply", None)]
    functions += [settings.get("activation_fn")] if isinstance(settings, dict) else []
    return kind_of(functions)


def kind_of(functions: Iterable[Any]) -> str | None:
    """Return the problem type that the first known one of some output functions belongs to, or None."""
    for function in functions:
        name = getattr(function, "value", function)
        if isinstance(name, str):
            kind = _FUNCTIONS.get(name.rpartition(".")[2].lower())
            if kind is not None:
                return kind
    return None
