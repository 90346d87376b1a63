"""Texts without some of their tokens: what the model reads then, and in how many passes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import tiny_models
import torch
from bag_of_words import Bag, explainer
from tiny_bert import bert, fast_tokenizer
from tokenizers import processors
from torch import Tensor, nn

from textlrp import Explainer
from textlrp.errors import InputError, ModelError, NonFiniteError
from textlrp.evaluate.perturbation import PERTURBATIONS, Outcome, Perturbed
from textlrp.explain.batching import IDS

TEXT = "great film bad moving"  # [CLS] 1-4 [SEP]
OTHERS = ["dull dull", TEXT, "never"]  # what is left of them weighs nothing


def logits(found: list[Outcome]) -> list[float]:
    return [round(each.logit, 5) for each in found]


def test_perturbations_differ_as_they_should() -> None:
    bag = explainer(each=0.5, mask=10.0)  # six ids weigh 3 on top of 3 + 0 - 2 + 1
    found = {kind: Perturbed(bag, TEXT, target="POS", perturb=kind, background=OTHERS) for kind in PERTURBATIONS}
    assert {each.original.logit for each in found.values()} == {5.0}
    sets = [[1], [3], [1, 4], []]
    assert logits(found["mask"].outcomes(sets)) == [12.0, 17.0, 21.0, 5.0]
    assert logits(found["delete"].outcomes(sets)) == [1.5, 6.5, 0.0, 5.0]
    assert logits(found["zero"].outcomes(sets)) == [2.0, 7.0, 1.0, 5.0]
    assert logits(found["replace"].outcomes(sets)) == [2.0, 7.0, 1.0, 5.0]  # "dull" and "never" weigh nothing
    replacements = {kind: each.replacement for kind, each in found.items()}
    assert replacements == {"mask": "[MASK]", "delete": "", "zero": "", "replace": ""}


def test_the_target_may_be_any_label_or_a_difference() -> None:
    bag = explainer()
    text = Perturbed(bag, TEXT)
    assert (text.target, text.contrast, text.original.logit) == ("POS", None, 2.0)
    assert text.original.probability == pytest.approx(torch.tensor(2.0).sigmoid().item())
    assert logits(Perturbed(bag, TEXT, target="NEG").outcomes([[1]])) == [0.0]
    against = Perturbed(bag, TEXT, target="neg", contrast="runner-up")
    assert (against.target, against.contrast) == ("NEG", "POS")
    assert logits(against.outcomes([[], [1]])) == [-2.0, 1.0]
    with pytest.raises(InputError, match=r"there is no label 'POSITIV'.*did you mean 'POS'\?"):
        Perturbed(bag, TEXT, target="POSITIV")


def test_the_mask_is_the_best_token_that_there_is() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    bag = Bag(tokenizer, {"[MASK]": 1.0, "[UNK]": 2.0, "[PAD]": 4.0})
    found = []
    for gone in ("mask_token", "unk_token", "pad_token"):
        text = Perturbed(Explainer(bag, tokenizer), TEXT, target=1)
        found.append((text.replacement, *logits(text.outcomes([[1, 2]]))))
        setattr(tokenizer, gone, None)
    assert found == [("[MASK]", 2.0), ("[UNK]", 4.0), ("[PAD]", 8.0)]
    with pytest.raises(InputError, match=r"has no mask, unknown or padding token.*perturb by 'zero', or by 'delete'"):
        Perturbed(Explainer(bag, tokenizer), TEXT, target=1)
    assert logits(Perturbed(Explainer(bag, tokenizer), TEXT, target=1, perturb="delete").outcomes([[1]])) == [0.0]


def test_a_text_without_special_tokens_is_never_quite_empty() -> None:
    tokenizer = fast_tokenizer("bytelevel")
    text = Perturbed(Explainer(Bag(tokenizer, {"<unk>": 7.0}), tokenizer), "ab", target=1, perturb="delete")
    count = len(text.encoding.input_ids)
    assert logits(text.outcomes([range(count), range(count - 1)])) == [7.0, 0.0]
    assert text.replacement == "<unk>"


@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_special_tokens_stay(kind: str) -> None:
    text = Perturbed(explainer(), TEXT, target=1, perturb=kind, background=OTHERS)
    for token in (0, 5, 6, -1):
        with pytest.raises(InputError, match=f"token {token} cannot be taken from the text: .* none of its 6"):
            text.outcomes([[1], [token]])
    with pytest.raises(InputError, match=re.escape("perturbed by mask, delete, zero, replace, not by 'blur'")):
        Perturbed(explainer(), TEXT, perturb="blur")


@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_texts_are_read_in_batches_of_limited_size_and_once(kind: str) -> None:
    bag = explainer()
    long = " ".join(["great film bad moving"] * 60)
    text = Perturbed(bag, long, target=1, perturb=kind, background=["dull", "never"])
    found = text.outcomes([range(1, 1 + count) for count in range(60)])
    assert logits(found)[:5] == [120.0, 117.0, 117.0, 119.0, 118.0]
    shapes = bag.model.shapes
    assert all(rows * width <= IDS for rows, width in shapes)
    assert max(rows for rows, _ in shapes) > 12
    assert sum(rows for rows, _ in shapes) == text.forwards
    assert (
        text.forwards <= 1 + 59 * (5 if kind == "replace" else 1) + 2
    )  # the text, the sets, and one text alone for each kind of batch
    before = text.forwards
    assert text.outcomes([range(1, 1 + count) for count in range(60)]) == found
    assert text.forwards == before


class Shy(Bag):
    """Fails on several texts at once."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        if len(input_ids) > 1:
            raise ValueError("cannot handle batch sizes > 1")
        return super().forward(input_ids, attention_mask)


class Deaf(Bag):
    """Reads padding as if it were text."""

    def forward(self, input_ids: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(input_ids)


class Mixer(Bag):
    """Lets the texts of a batch see each other."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        found = super().forward(input_ids, attention_mask)
        return found + found.mean(0)


@pytest.mark.parametrize("kind", ["mask", "delete"])
@pytest.mark.parametrize("model", [Shy, Deaf, Mixer])
def test_a_model_that_cannot_batch_reads_texts_one_by_one(model: type[Bag], kind: str) -> None:
    tokenizer = fast_tokenizer("wordpiece")
    bag = model(tokenizer, {"great": 3.0, "[PAD]": 5.0})
    text = Perturbed(Explainer(bag, tokenizer), "great film " * 12, target=1, perturb=kind)
    sets = [[*range(3, 3 + count)] for count in (2, 1, 3, 2)] + [[1]]
    expected = [33.0, 33.0, 30.0, 33.0, 33.0]
    assert logits(text.outcomes(sets)) == [value * (2 if model is Mixer else 1) for value in expected]


def test_no_padding_token_is_needed() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    tokenizer.pad_token = None
    bag = Bag(tokenizer, {"great": 3.0})
    text = Perturbed(Explainer(bag, tokenizer), TEXT, target=1, perturb="delete")
    assert logits(text.outcomes([[1], [2], [1, 2], [2, 3]])) == [0.0, 3.0, 0.0, 3.0]
    assert (2, 5) in bag.shapes
    assert (2, 4) in bag.shapes


class Decoder(Bag):
    """Looks its ids up, shifted to the right, and among padding."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        shifted = torch.cat([input_ids.new_zeros(len(input_ids), 1), input_ids[:, :-1]], 1)
        wider = nn.functional.pad(input_ids, (0, 2))
        score = sum(self.table(ids)[..., 0].sum(1) for ids in (input_ids, shifted, wider))
        return torch.stack([torch.zeros_like(score), score], 1)


class Reverse(Bag):
    """Looks its ids up from the end."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return super().forward(input_ids.flip(1), attention_mask)


class Hidden(Bag):
    """Looks its ids up without calling its table."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        score = self.table.weight[input_ids][..., 0].sum(1)
        return torch.stack([torch.zeros_like(score), score], 1)


def test_zero_rows_are_found_wherever_ids_are_looked_up() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    bag = Decoder(tokenizer, {"great": 3.0, "moving": 1.0})
    text = Perturbed(Explainer(bag, tokenizer), TEXT, target=1, perturb="zero")
    assert text.original.logit == 12.0
    assert logits(text.outcomes([[1], [4], [1, 4], [2]])) == [3.0, 9.0, 0.0, 12.0]
    assert not bag.table._forward_hooks
    for model, said in ((Reverse, "looks up other ids"), (Hidden, "does not call a table of its input ids")):
        text = Perturbed(Explainer(model(tokenizer, {}), tokenizer), TEXT, target=1, perturb="zero")
        with pytest.raises(ModelError, match=f"{said}.*perturb by 'mask' or 'delete'"):
            text.outcomes([[1]])


@pytest.mark.parametrize("architecture", ["bert", "bart", "t5", "gpt2", "longformer", "gemma"])
def test_a_zero_row_is_that_of_a_table_with_a_zero_row(architecture: str) -> None:
    tokenizer = fast_tokenizer("wordpiece")
    model = tiny_models.build(architecture)
    model.config.pad_token_id, model.config.eos_token_id = tokenizer.pad_token_id, tokenizer.sep_token_id
    subject = Explainer(model, tokenizer)
    text = Perturbed(subject, "a film is never dull!", target=0, perturb="zero")
    found = text.outcomes([[2], [4, 5]])
    table = model.get_input_embeddings().weight
    before = table.detach().clone()
    expected = []
    for removed in ([2], [4, 5]):
        with torch.no_grad():
            table[[text.encoding.input_ids[i] for i in removed]] = 0.0
            expected.append(Perturbed(subject, "a film is never dull!", target=0).original.logit)
            table.copy_(before)
    assert [each.logit for each in found] == pytest.approx(expected, abs=1e-5)
    assert max(abs(each.logit - text.original.logit) for each in found) > 1e-4


def test_other_tokens_are_drawn_by_their_frequency_and_stay_the_same() -> None:
    bag = explainer()
    others = ["great dull dull dull", "bad bad film film"]  # on average 3 / 8 - 4 / 8
    long = "never " * 48
    text = Perturbed(bag, long, target=1, perturb="replace", background=[*others, long])
    alone = [outcome.logit for outcome in text.outcomes([[i] for i in range(1, 49)])]
    assert text.forwards == 1 + 5 * 48 + 1  # one text alone checks the batch
    # a token gets the same draws whatever else is removed, so that those of single tokens add up
    pair, every = text.outcomes([[1, 2], range(1, 49)])
    assert pair.logit == pytest.approx(alone[0] + alone[1], abs=1e-5)
    assert every.logit == pytest.approx(sum(alone), abs=1e-4)
    assert sum(alone) / 48 == pytest.approx(-1 / 8, abs=0.3)
    assert len({round(5 * value) for value in alone}) > 5  # draws differ from token to token
    again = Perturbed(bag, long, target=1, perturb="replace", background=others)
    assert again.outcomes([range(1, 49)]) == [every]
    other = Perturbed(bag, long, target=1, perturb="replace", background=others, seed=1)
    assert other.outcomes([[1], [2], [3]]) != text.outcomes([[1], [2], [3]])


def test_the_outcome_of_draws_is_the_mean_of_logits_and_of_probabilities() -> None:
    bag = explainer()
    text = Perturbed(bag, "film", target="POS", perturb="replace", background=["great", "bad bad"])
    found = text.outcomes([[1]])[0]
    greats = round(found.logit + 2)  # five draws of 3 or -2
    assert found.logit == 3 * greats / 5 - 2 * (5 - greats) / 5
    chances = torch.tensor([3.0, -2.0]).sigmoid().tolist()
    assert 0 < greats < 5
    assert found.probability == pytest.approx((greats * chances[0] + (5 - greats) * chances[1]) / 5)


def test_without_other_texts_there_is_nothing_to_replace_tokens_with() -> None:
    with pytest.raises(InputError, match="to perturb by 'replace', other texts must be given: background= takes"):
        Perturbed(explainer(), TEXT, perturb="replace")
    with pytest.raises(InputError, match=r"the background holds nothing but this text.*give other texts"):
        Perturbed(explainer(), TEXT, perturb="replace", background=[TEXT])


def test_deleted_ids_are_those_of_the_shorter_text() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    subject = Explainer(bert(len(tokenizer)), tokenizer)
    text = Perturbed(subject, "a film is never dull!", target=0, perturb="delete")
    shorter = Perturbed(subject, "a film is dull!", target=0)
    assert text.outcomes([[4]])[0].logit == pytest.approx(shorter.original.logit, abs=1e-5)
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    tokenizer.backend_tokenizer.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    pair = Perturbed(subject, "a film", text_pair="never dull", target=0, perturb="delete")  # [CLS] 1 2 [SEP] 4 5 [SEP]
    shorter = Perturbed(subject, "a film", text_pair="dull", target=0)
    assert pair.outcomes([[4]])[0].logit == pytest.approx(shorter.original.logit, abs=1e-5)
    with pytest.raises(InputError, match="token 3 cannot be taken"):
        pair.outcomes([[3]])


def test_numbers_without_probabilities_and_no_numbers_at_all() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    model: Any = bert(len(tokenizer), num_labels=1, id2label={0: "stars"}, label2id={"stars": 0})
    assert Perturbed(Explainer(model, tokenizer), TEXT).original.probability is None
    bag = Bag(tokenizer, {"[MASK]": float("inf")})
    text = Perturbed(Explainer(bag, tokenizer), TEXT, target=1)
    with pytest.raises(NonFiniteError, match="not finite for a text perturbed by 'mask'"):
        text.outcomes([[1], [2]])


class Broken(Bag):
    """Fails on a mask token."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        if bool((input_ids == 4).any()):
            raise RuntimeError("\n  the model is tired\nof masks")
        return super().forward(input_ids, attention_mask)


def test_a_model_that_fails_is_named_in_a_sentence() -> None:
    tokenizer = fast_tokenizer("wordpiece")
    text = Perturbed(Explainer(Broken(tokenizer, {}), tokenizer), TEXT, target=1)
    with pytest.raises(ModelError, match=r"the model fails on the perturbed text: RuntimeError: the model is tired$"):
        text.outcomes([[1], [2]])
