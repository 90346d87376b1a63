"""Models whose outputs are made a classifier's: the score of a label is an output of one or several runs on a text.

A document is a row of input ids here as everywhere. Its runs follow one another in it, and the input :data:`RUN` has
the run of each id. The modules of this file divide a row into its runs, run the model on all of them at once, and
compute the scores of the labels from its outputs.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from textlrp.explain.embedding_tables import word_table
from textlrp.lrp.request import logits_of


class Runs(nn.Module):
    """A model that reads each document in one or several runs.

    Args:
        model: the model.
        filler: the id that shorter runs are filled up with.
    """

    def __init__(self, model: nn.Module, filler: int) -> None:
        super().__init__()
        self.model, self.filler = model, filler
        parameters = inspect.signature(model.forward).parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        self.accepted = None if open_ended else frozenset(parameters)

    @property
    def config(self) -> Any:
        """The model's own config."""
        return getattr(self.model, "config", None)

    def get_input_embeddings(self) -> Any:
        """Return the model's table of input embeddings."""
        return word_table(self.model)

    def divided(self, rows: dict[str, Tensor]) -> tuple[dict[str, Tensor], int]:
        """Return the inputs of all runs, ``[documents * runs, ids]``, and the number of runs of a document.

        Args:
            rows: the inputs of the documents, ``[documents, ids of all runs]``.
        """
        rows = dict(rows)
        ids, mask, run = rows["input_ids"], rows.get("attention_mask"), rows.pop("run", None)
        if run is None:
            return rows, 1
        mask = torch.ones_like(run) if mask is None else mask
        count = int(run.max()) + 1
        members = [(of == number) & (read != 0) for of, read in zip(run, mask, strict=True) for number in range(count)]
        indices = [member.nonzero()[:, 0] for member in members]
        places = pad_sequence(indices, batch_first=True)
        read = pad_sequence([torch.ones_like(of_run) for of_run in indices], batch_first=True)
        flat, unread = places.view(len(ids), -1), read == 0
        inputs = {
            key: row.gather(1, flat).view(read.shape).masked_fill(unread, self.filler if key == "input_ids" else 0)
            for key, row in rows.items()
        }
        return {**inputs, "attention_mask": read}, count

    def outputs(self, inputs: dict[str, Tensor], **more: Any) -> Any:
        """Run the model on the inputs that it takes."""
        taken = {
            key: value for key, value in {**inputs, **more}.items() if self.accepted is None or key in self.accepted
        }
        return self.model(**taken)


class Entailment(Runs):
    """A model of natural-language inference as a classifier: one run with the hypothesis of each label.

    Args:
        model: returns the logits of entailment and contradiction among others.
        filler: the id that shorter runs are filled up with.
        entailment: the index of entailment.
        contradiction: the index of contradiction, whose logit is subtracted; None if the labels compete with each
            other.
    """

    def __init__(self, model: nn.Module, filler: int, entailment: int, contradiction: int | None) -> None:
        super().__init__(model, filler)
        self.entailment, self.contradiction = entailment, contradiction

    def forward(self, **rows: Tensor) -> Tensor:
        """Return the logit of each label, ``[documents, labels]``."""
        inputs, count = self.divided(rows)
        logits = logits_of(self.outputs(inputs), inputs["input_ids"].shape[0])
        scores = logits[:, self.entailment]
        if self.contradiction is not None:
            scores = scores - logits[:, self.contradiction]
        return scores.view(-1, count)


def filler_of(tokenizer: Any) -> int:
    """Return the id that fills shorter runs up: that of padding, or else of the end; no run reads it."""
    known = (getattr(tokenizer, f"{name}_token_id", None) for name in ("pad", "eos"))
    return next((number for number in known if isinstance(number, int)), 0)
