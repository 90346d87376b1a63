"""A language model as a classifier: scores are its logits behind the prompt, and the prompt's words stand apart."""

from __future__ import annotations

import math
from typing import Any

import language_texts
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slow_tokenizer import Slow
from tiny_bert import bert
from tokenizers import processors

from textlrp import Explainer, Explanation
from textlrp.errors import InputError, ModelError

TEXT = "A moving film, never dull."
TEMPLATE = "Review: {text}\nSentiment:"
LABELS = {"POS": " positive", "NEG": " negative"}
PROMPTS = [f"{TEMPLATE} {word}" for word in ("positive", "negative", "very positive", "very negative")]


def trained(kind: str, pattern: str) -> Any:
    """A tokenizer that knows the prompts' words, and adds the special tokens of a pattern."""
    tokenizer = language_texts.train(
        kind, [*language_texts.TEXTS.values(), *PROMPTS * 20, *["film.. film!!"] * 20], 900
    )
    ids = [(name, tokenizer.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=pattern, special_tokens=ids)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return trained("bytelevel", "[CLS] $A")


def gpt2(tokenizer: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    size = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 128, "initializer_range": 0.3}
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**size, **ids, **options})).eval()


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    return gpt2(tokenizer)


@pytest.fixture(scope="module")
def explainer(model: Any, tokenizer: Any) -> Explainer:
    return Explainer.prompted(model, tokenizer, template=TEMPLATE, labels=LABELS)


def check(e: Explanation) -> None:
    assert e.ledger.balanced
    assert e.prompt is not None
    tokens = math.fsum(span.relevance for span in e.tokens if not span.special)
    assert e.ledger["tokens"] == tokens
    assert math.fsum(span.relevance for span in e.words) == pytest.approx(tokens, abs=1e-9)
    for source, text, truncated in e.texts:
        assert truncated is not None or "".join(w.text for w in e.words if w.source == source) == text
    assert e.ledger["prompt"] == e.prompt.relevance
    assert "".join(word.text for word in e.prompt.words) == e.prompt.text
    assert Explanation.from_json(e.to_json()) == e


def next_logits(model: Any, tokenizer: Any, prompt: str, words: list[str], **options: Any) -> list[float]:
    """The logits of the first tokens of some words behind a prompt, tokenized with it."""
    ids = tokenizer(prompt, **options)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1]
    return [float(logits[tokenizer(prompt + word, **options)["input_ids"][len(ids)]]) for word in words]


def test_the_score_of_a_label_is_the_logit_of_its_first_token(model: Any, tokenizer: Any, explainer: Any) -> None:
    e = explainer.explain(TEXT)
    check(e)
    expected = next_logits(model, tokenizer, TEMPLATE.replace("{text}", TEXT), list(LABELS.values()))
    assert list(e.logits.values()) == pytest.approx(expected, abs=1e-5)
    assert sum(e.probabilities.values()) == pytest.approx(1)
    assert explainer.labels == ("POS", "NEG")


@pytest.mark.parametrize("rules", ["attnlrp", "difference"])
def test_the_prompt_stands_apart(explainer: Explainer, rules: str) -> None:
    e = explainer.explain(TEXT, target="NEG", contrast="runner-up", rules=rules, layers=True)
    check(e)
    assert "".join(span.text for span in e.tokens) == "".join(TEXT.split())
    assert e.prompt is not None
    assert [word.text for word in e.prompt.words if word.text.strip()] == ["Review", ":", "{text}", "Sentiment", ":"]
    assert (e.ledger["prompt"] == 0) == (rules == "difference")
    assert [layer.aligned for layer in e.layers] == [True, True, True]
    for layer in e.layers:
        rows = zip(layer.relevance, e.tokens, strict=True)
        assert layer.ledger["tokens"] == pytest.approx(math.fsum(value for value, span in rows if not span.special))
    assert e.layers[-1].ledger["tokens"] == 0  # all is at the end of the prompt by then


def test_texts_in_a_batch_are_explained_as_alone(explainer: Explainer) -> None:
    texts = [TEXT, "Dull.", f"{TEXT} {TEXT}", f"{TEXT}!"]
    for text, e in zip(texts, explainer.explain_batch(texts), strict=True):
        check(e)
        alone = explainer.explain(text)
        assert [s.relevance for s in e.tokens] == pytest.approx([s.relevance for s in alone.tokens], abs=1e-5)


def test_a_long_text_is_cut_or_read_in_windows(tokenizer: Any) -> None:
    explainer = Explainer.prompted(gpt2(tokenizer, n_positions=24), tokenizer, template=TEMPLATE, labels=LABELS)
    long = " ".join([TEXT] * 5)
    e = explainer.explain(long)
    check(e)
    assert e.truncated is not None
    whole = explainer.explain(long, long="windows")
    check(whole)
    assert whole.windows > 1
    tight = Explainer.prompted(gpt2(tokenizer, n_positions=5), tokenizer, template=TEMPLATE, labels=LABELS)
    with pytest.raises(InputError, match="the words around the text leave no room for it: shorten the template"):
        tight.explain(TEXT)


def test_the_mean_over_the_tokens_of_a_label(model: Any, tokenizer: Any) -> None:
    labels = {"POS": " very positive", "NEG": " very negative"}
    with pytest.raises(InputError, match=r"'POS' and 'NEG' start with the same token, 'Ġvery', .* or let score='mean'"):
        Explainer.prompted(model, tokenizer, template=TEMPLATE, labels=labels)
    explainer = Explainer.prompted(model, tokenizer, template=TEMPLATE, labels=labels, score="mean")
    prompt = TEMPLATE.replace("{text}", TEXT)
    before = len(tokenizer(prompt)["input_ids"])
    for e, alone in zip(explainer.explain_batch([TEXT, "Dull."]), (explainer.explain(TEXT), None), strict=True):
        check(e)
        if alone is None:
            continue
        assert list(e.logits.values()) == pytest.approx(list(alone.logits.values()), abs=1e-5)
        for label, words in labels.items():
            ids = tokenizer(prompt + words)["input_ids"]
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0]
            each = [float(logits[i - 1, ids[i]]) for i in range(before, len(ids))]
            assert len(each) > 1
            assert e.logits[label] == pytest.approx(sum(each) / len(each), abs=1e-5)
        assert e.prompt is not None
        assert e.prompt.text.startswith(f"{TEMPLATE} very")
    with pytest.raises(InputError, match="reads its input in 2 runs"):
        explainer.explain(TEXT, layers=True)


CHAT = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content|trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)


def with_chat(tokenizer: Any, template: str) -> Any:
    chatting = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, pad_token="[PAD]", model_input_names=["input_ids"]
    )
    chatting.chat_template = template
    return chatting


def test_messages_are_written_by_the_chat_template(model: Any, tokenizer: Any) -> None:
    messages = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "{text}"}]
    chatting = with_chat(tokenizer, CHAT.replace("<assistant> ", "<assistant>"))
    explainer = Explainer.prompted(model, chatting, template=messages, labels=LABELS)
    e = explainer.explain(f"  {TEXT}\n")
    check(e)
    assert e.prompt is not None
    assert e.prompt.text == "<system> Judge.\n<user> {text}\n<assistant>"
    prompt = e.prompt.text.replace("{text}", TEXT)
    expected = next_logits(model, tokenizer, prompt, list(LABELS.values()), add_special_tokens=False)
    assert list(e.logits.values()) == pytest.approx(expected, abs=1e-5)
    assert "".join(span.text for span in e.tokens) == "".join(TEXT.split())


def test_the_model_goes_on_with_what_the_assistant_began(model: Any, tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "{text}"}, {"role": "assistant", "content": "Sentiment:"}]
    e = Explainer.prompted(model, with_chat(tokenizer, CHAT), template=messages, labels=LABELS).explain(TEXT)
    assert e.prompt is not None
    assert e.prompt.text == "<user> {text}\n<assistant> Sentiment:"


def test_pairs_have_their_places_in_the_template(model: Any, tokenizer: Any) -> None:
    template = "Claim: {text_pair}\nText: {text}\nSentiment:"
    explainer = Explainer.prompted(model, tokenizer, template=template, labels=LABELS)
    e = explainer.explain(TEXT, "A dull film")
    check(e)
    by_source = {s: "".join(t.text for t in e.tokens if t.source == s) for s in ("text", "text_pair")}
    assert by_source == {"text": "".join(TEXT.split()), "text_pair": "Adullfilm"}
    with pytest.raises(InputError, match="the template has a place for a second text: give 2 texts"):
        explainer.explain(TEXT)


def test_a_tokenizer_without_offsets_reads_prompts(tokenizer: Any) -> None:
    slow = Slow()
    model = gpt2(slow, vocab_size=max(slow.get_vocab().values()) + 1)
    e = Explainer.prompted(model, slow, template="the {text} is", labels={"A": " bad", "B": " film"}).explain(
        "wonderful film"
    )
    check(e)
    assert "".join(span.text for span in e.tokens if not span.special) in ("wonderful film", "wonderfulfilm")


def t5(tokenizer: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0,
        pad_token_id=0, eos_token_id=3,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config).eval()


@pytest.mark.parametrize("score", ["first", "mean"])
@pytest.mark.parametrize("rules", ["attnlrp", "difference"])
def test_a_model_with_an_encoder_answers_by_its_decoder(score: str, rules: str) -> None:
    tokenizer = trained("unigram", "$A [SEP]")
    model = t5(tokenizer)
    labels = {"POS": "positive", "NEG": "negative"} if score == "first" else {"POS": "very positive", "NEG": "negative"}
    explainer = Explainer.prompted(model, tokenizer, template=TEMPLATE, labels=labels, score=score)
    prompt = torch.tensor([tokenizer(TEMPLATE.replace("{text}", TEXT))["input_ids"]])
    for e in (explainer.explain(TEXT, rules=rules), explainer.explain_batch([TEXT, "Dull."], rules=rules)[0]):
        check(e)
        for label, words in labels.items():
            ids = [i for i in tokenizer(words)["input_ids"] if i != tokenizer.sep_token_id]
            ids = ids[:1] if score == "first" else ids
            with torch.no_grad():
                logits = model(input_ids=prompt, decoder_input_ids=torch.tensor([[0, *ids[:-1]]])).logits[0]
            each = [float(logits[i, token]) for i, token in enumerate(ids)]
            assert e.logits[label] == pytest.approx(sum(each) / len(each), abs=1e-4)
        assert e.prompt is not None
        assert e.prompt.text == TEMPLATE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["POS", "NEG"]}, "labels is a dict with the words for each label, such as {'POS': ' positive'"),
        ({"labels": {}}, "labels is empty"),
        ({"labels": {"A": "x", "B": " "}}, "those for 'B' are blank"),
        ({"labels": {"A": "x", "B": 3}}, "labels is a dict with the words for each label"),
        ({"labels": {"A": " positive", "B": " positive"}}, "the labels 'A' and 'B' start with the same token"),
        (
            {"labels": {"A": " positive", "B": "negative"}, "template": "{text} "},
            "let the template end without a space",
        ),
        ({"template": "Review:"}, "the template has {text} once, where the text stands"),
        ({"template": "{text} {text}"}, "the template has {text} once, where the text stands"),
        ({"template": 3}, "template is a text with {text} in it, or a list of messages, dicts with role and content"),
        ({"template": []}, "template is a text with {text} in it, or a list of messages"),
        ({"template": [{"role": "user"}]}, "template is a text with {text} in it, or a list of messages"),
        ({"score": "last"}, "score is 'first' or 'mean', not 'last'"),
        ({"chat_options": {"a": 1}}, "chat_options belong to a list of messages"),
    ],
)
def test_what_cannot_be_a_prompt(model: Any, tokenizer: Any, options: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        Explainer.prompted(model, tokenizer, **{"template": TEMPLATE, "labels": LABELS, **options})
    assert message in str(error.value)


def test_what_a_model_or_a_tokenizer_lacks_is_said(model: Any, tokenizer: Any) -> None:
    user = [{"role": "user", "content": "{text}"}]
    with pytest.raises(ModelError, match="has no chat template: write the prompt as one text"):
        Explainer.prompted(model, tokenizer, template=user, labels=LABELS)
    for template, message in (
        ("{{ raise_exception('no') }}", "the chat template of the tokenizer fails"),
        ("hello", "does not write the messages as they are"),
    ):
        with pytest.raises(ModelError, match=message):
            Explainer.prompted(model, with_chat(tokenizer, template), template=user, labels=LABELS)
    upper = with_chat(tokenizer, "{{ messages[0].content|replace('A', 'b') }}:")
    with pytest.raises(ModelError, match="writes the prompt in another way around this text"):
        Explainer.prompted(model, upper, template=user, labels=LABELS).explain(TEXT)
    classifier = bert(len(tokenizer))
    with pytest.raises(ModelError, match="BertForSequenceClassification gives no logits for each id"):
        Explainer.prompted(classifier, tokenizer, template=TEMPLATE, labels=LABELS).explain(TEXT)


def test_a_text_that_the_labels_are_joined_with_costs_only_itself(model: Any, tokenizer: Any) -> None:
    """The template ends with the text, and a text may end with what begins a label's token."""
    labels = {"BAD": ".", "GOOD": "!"}
    explainer = Explainer.prompted(model, tokenizer, template="Sentiment: {text}", labels=labels)
    good, bad = explainer.explain_batch(["A film", "A film."], errors="return")
    check(good)
    assert isinstance(bad, InputError)
    assert "the tokenizer joins" in str(bad)


WORDS = ["film", "wonderful", "映画", "👩‍👧", "{text}", "{}", "\n", "don't", "  ", "Sentiment:", "\u0301", "[PAD]"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join))
def test_any_text(explainer: Explainer, text: str) -> None:
    if text.strip():
        check(explainer.explain(text))
