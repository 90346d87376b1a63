"""Models whose outputs are made a classifier's: the score of a label is an output of one or several runs on a text.

A document is a row of input ids here as everywhere. Its runs follow one another in it, and the input :data:`RUN` has
the run of each id. The modules of this file divide a row into its runs, run the model on all of them at once, and
compute the scores of the labels from its outputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from textlrp.errors import ModelError
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
        self.named = frozenset(parameters)
        self.accepted = None if open_ended else self.named

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


class Answer(NamedTuple):
    """What stands for a label in the answer of a language model.

    Attributes:
        ids: the ids whose logits count.
        decoder: the ids that a decoder reads, up to the last of them; empty for a model without an encoder, which reads
            them behind the prompt.
    """

    ids: tuple[int, ...]
    decoder: tuple[int, ...] = ()


class NextToken(Runs):
    """A language model as a classifier: the score of a label is the mean logit of its tokens where they would follow.

    Args:
        model: a causal model, or one with an encoder and a decoder.
        filler: the id that shorter runs are filled up with.
        answers: one for each label.
    """

    def __init__(self, model: nn.Module, filler: int, answers: Sequence[Answer]) -> None:
        super().__init__(model, filler)
        self.answers = tuple(answers)

    def forward(self, **rows: Tensor) -> Tensor:
        """Return the score of each label, ``[documents, labels]``.

        Raises:
            ModelError: the model gives no logits for each id.
        """
        documents = rows["input_ids"].shape[0]
        inputs, count = self.divided(rows)
        ids = inputs["input_ids"]
        more: dict[str, Any] = {}
        if self.answers[0].decoder:
            more["decoder_input_ids"] = self._decoder_ids(ids, count)
            lengths = [len(answer.decoder) for answer in self.answers[:count]] * documents
        else:
            read = inputs.get("attention_mask")
            lengths = [ids.shape[1]] * len(ids) if read is None else read.sum(1).tolist()
        # For each document and token that counts: its run, the position before it, and its id.
        wanted = [
            (run, lengths[run] - len(answer.ids) + i, token)
            for document in range(documents)
            for label, answer in enumerate(self.answers)
            for run in (document * count + label % count,)
            for i, token in enumerate(answer.ids)
        ]
        run, position, token = torch.tensor(wanted, device=ids.device).unbind(1)
        kept, place = position.unique(return_inverse=True)
        if "logits_to_keep" in self.named:
            more["logits_to_keep"] = kept
        else:
            place = position
        output = self.outputs(inputs, **more)
        logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
        if not isinstance(logits, Tensor) or logits.dim() != 3:
            raise ModelError(
                f"a prompt needs a language model, such as AutoModelForCausalLM gives, and {type(self.model).__name__} "
                f"gives no logits for each id; for a classifier, use Explainer(model, tokenizer)"
            )
        if "logits_to_keep" not in self.named:
            place = place + logits.shape[1] - max(lengths)  # behind the virtual tokens of a tuned prompt
        scores = logits[run, place, token].view(documents, -1).split([len(answer.ids) for answer in self.answers], 1)
        return torch.stack([score.mean(1) for score in scores], 1)

    def _decoder_ids(self, ids: Tensor, count: int) -> Tensor:
        """Return what the decoder reads in each run, ``[runs, ids]``.

        They are made from the input ids, so that they count as ids, but as none of the text.
        """
        starts = [torch.tensor(answer.decoder, device=ids.device) for answer in self.answers[:count]]
        padded = pad_sequence(starts, batch_first=True, padding_value=self.filler).repeat(len(ids) // count, 1)
        return torch.where(torch.ones_like(padded, dtype=torch.bool), padded, ids[:, :1].expand_as(padded))


def filler_of(tokenizer: Any) -> int:
    """Return the id that fills shorter runs up: that of padding, or else of the end; no run reads it."""
    known = (getattr(tokenizer, f"{name}_token_id", None) for name in ("pad", "eos"))
    return next((number for number in known if isinstance(number, int)), 0)
