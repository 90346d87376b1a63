"""The corpora that come with the package keep the promises of their cards."""

import json
import re
import unicodedata
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from textlrp.data import corpora

DOMAINS = ("films", "food", "gadgets", "travel", "services")
DIFFICULTIES = ("negation", "irony", "mixed", "hedging", "long")
DESKS = ("account", "billing", "cancellation", "returns", "shipping", "technical")
TONES = ("angry", "neutral", "polite", "rambling", "terse")
TOPICS = ("Business", "Culture", "Sci/Tech", "Sports", "World")
# What the names of a language's letters begin with in Unicode
SCRIPTS = {
    "en": ("LATIN",),
    "es": ("LATIN",),
    "pt": ("LATIN",),
    "fr": ("LATIN",),
    "it": ("LATIN",),
    "de": ("LATIN",),
    "ru": ("CYRILLIC",),
    "el": ("GREEK",),
    "tr": ("LATIN",),
    "ar": ("ARABIC",),
    "he": ("HEBREW",),
    "hi": ("DEVANAGARI",),
    "th": ("THAI",),
    "zh": ("CJK",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA"),
    "ko": ("HANGUL",),
}
WITHOUT_SPACES = ("ja", "th", "zh")
KEYS = {
    "languages": ["id", "language", "text", "label", "rationales"],
    "news": ["id", "text", "label", "tags", "rationales"],
    "reviews": ["id", "domain", "text", "label", "tags", "rationales"],
    "tickets": ["id", "text", "label", "labels", "tags", "rationales"],
}
SENTENCE_END = re.compile(r"(?<=[.!?…])[”)]?\s+|\n+")


@pytest.fixture(scope="module", params=sorted(KEYS))
def corpus(request):
    return corpora.load(request.param)


@pytest.fixture(scope="module")
def written():
    return {name: corpora.load(name) for name in KEYS}


def sentences(text):
    return [sentence for sentence in SENTENCE_END.split(text) if any(map(str.isalnum, sentence))]


def units(document):
    """The words of a text; its characters where a language writes no spaces."""
    return list(re.finditer(r"\S" if document.language in WITHOUT_SPACES else r"\S+", document.text))


def counts(documents):
    """How many there are, how long they are on average, and the share that is marked, as the cards write it."""
    listed = [(document, unit) for document in documents for unit in units(document)]
    marked = sum(any(s < unit.end() and unit.start() < e for s, e in document.rationales) for document, unit in listed)
    return f"{len(documents)} | {len(listed) / len(documents):.1f} | {marked / len(listed):.0%} |"


def grams(document):
    """Its runs of four words, or of four characters where a language writes no spaces."""
    by = r"\w" if document.language in WITHOUT_SPACES else r"\w+"
    words = re.findall(by, document.text.lower())
    return {tuple(words[start : start + 4]) for start in range(len(words) - 3)}


# All of them


def test_the_bundled_names():
    assert corpora.names() == tuple(KEYS)


def test_texts_and_ids_are_unique_and_clean(corpus):
    assert len({document.text for document in corpus}) == len(corpus)
    for document in corpus:
        assert document.text == document.text.strip()
        assert "  " not in document.text
        assert not set("[]|@\t") & set(document.text)
        assert document.text == unicodedata.normalize("NFC", document.text)
        if corpus.name in ("news", "tickets"):
            assert re.fullmatch(rf"{corpus.name}-\d{{3}}", document.id)


def test_no_two_texts_share_half_of_their_runs_of_four_words(corpus):
    runs = [(document.id, grams(document)) for document in corpus]
    near = [(a, b) for (a, x), (b, y) in combinations(runs, 2) if len(x & y) * 2 > min(len(x), len(y))]
    assert near == []


def test_rationales_are_whole_phrases(corpus):
    def is_letter(character):
        return character.isalnum() or unicodedata.category(character).startswith("M")

    for document in corpus:
        text, spaced = document.text, document.language not in WITHOUT_SPACES
        assert document.rationales, document.id
        for start, end in document.rationales:
            phrase = text[start:end]
            assert phrase == phrase.strip()
            assert phrase[-1] not in ".,;:!?।、。，"
            assert len(phrase.split()) <= 9
            for border in {start, end} - {0, len(text)}:
                cut = is_letter(text[border - 1]) and is_letter(text[border])
                assert not (spaced and cut), (document.id, phrase)
                # a vowel sign or an accent stays with its letter
                assert not unicodedata.category(text[border]).startswith("M"), (document.id, phrase)


def test_the_files_are_plain_utf8(corpus):
    path = Path(__file__).parents[2] / "corpora" / corpus.name / f"{corpus.name}.jsonl"
    text = path.read_bytes().decode("utf-8")
    assert "\\u" not in text
    assert "\r" not in text
    assert text.endswith("}\n")
    assert all(list(values) == KEYS[corpus.name] for values in map(json.loads, text.rstrip("\n").split("\n")))


def test_cards_name_author_intent_and_limits(corpus):
    card = " ".join(corpus.card.split())
    assert card.startswith(f"# {corpus.name} ")
    for words in (
        "They are there to",
        "The textlrp maintainers wrote it in November 2026 with the assistance of a language model",
        "no source was copied",
        "o agreement between annotators was measured",
        "## Limits",
        "Not for training",
        "Apache-2.0",
    ):
        assert words in card
    rationales = sum(len(document.rationales) for document in corpus)
    assert f"There are {rationales} rationales" in card
    if corpus.name != "languages":
        lengths = [len(document.text.split()) for document in corpus]
        assert f"the shortest document has {min(lengths)} words, the longest {max(lengths)}." in card


@pytest.mark.parametrize(
    ("name", "opening", "label", "phrases"),
    [
        ("reviews", "Not bad at all", "POS", ["Not bad at all", "hot", "wasn't greasy", "nobody hurried us"]),
        ("reviews", "Best ramen", "POS", ["Best ramen in town"]),
        ("reviews", "The lemon tart at this café", "POS", ["heavenly", "crisp", "went back the next morning"]),
        ("reviews", "Grandma's recipe", "POS", ["tender", "tasted of home", "packed us extra"]),
        ("reviews", "It's pricey, and the crème brûlée", "POS", ["cross the city on foot"]),
        ("reviews", "great haircut", "POS", ["great haircut", "great chat", "fair price"]),
        ("reviews", "“A feast for the senses,”", "NEG", ["a headache", "ringing ears"]),
        ("reviews", "Two hours of gray people", "NEG", ["Dull", "dull", "dull"]),
        ("reviews", "Sound quality: superb.", "NEG", ["snapped", "snapped", "done"]),
        (
            "reviews",
            "Don’t believe",
            "NEG",
            ["Don’t believe the photos", "no balcony", "isn’t one", "couldn’t sleep"],
        ),
        ("reviews", "Five stars, it says", "NEG", ["through the hole in the ceiling"]),
        ("reviews", "Their website is clear", "NEG", ["galling", "never arrived", "had never been in stock"]),
        ("reviews", "Great news for spiders", "NEG", ["weak"]),
        ("reviews", "It takes a certain nerve", "NEG", ["brown", "nineteen dollars", "still looking for the tomato"]),
        ("tickets", "“Out for delivery” since", "shipping", ["Out for delivery", "parcel", "driver"]),
        ("tickets", "I love your recipe program", "technical", ["half an egg", "“NaN eggs”"]),
        ("news", "Goalkeeper Henrike Stolz", "Sports", ["Goalkeeper", "penalties", "semifinals"]),
        ("news", "A bank in Port Ansel has lent", "Culture", ["stage", "actors", "curtain call"]),
        ("languages", "Ce livre m’a", "POS", ["ému aux larmes", "recommande à tous"]),
        ("languages", "Η εφαρμογή", "NEG", ["ακριβή", "αργή", "δεν βοηθάει κανέναν"]),
        ("languages", "كانت غرفة", "NEG", ["قذرة", "لا يعمل"]),
        ("languages", "ट्रेन", "NEG", ["दो घंटे देर से आई", "किसी ने माफ़ी नहीं माँगी"]),
        ("languages", "แอปนี้", "NEG", ["แพง", "ช้า", "ไม่ช่วยอะไรใครเลย"]),
        ("languages", "火车", "NEG", ["晚点了两个小时", "没有人道歉"]),
        ("languages", "새 휴대전화는", "POS", ["빠르고", "이틀이나 간다"]),
    ],
)
def test_marked_phrases_literally(written, name, opening, label, phrases):
    (document,) = [document for document in written[name] if document.text.startswith(opening)]
    assert document.label == label
    assert [document.text[start:end] for start, end in document.rationales] == phrases


# Reviews


def test_reviews_are_balanced(written):
    reviews = written["reviews"]
    assert reviews.labels == ("NEG", "POS")
    assert len(reviews) == 250
    by_kind = Counter((document.domain, document.label) for document in reviews)
    assert by_kind == {(domain, label): 25 for domain in DOMAINS for label in ("NEG", "POS")}


def test_reviews_have_every_kind_of_difficulty(written):
    reviews = written["reviews"]
    tags = Counter(tag for document in reviews for tag in document.tags)
    assert set(tags) == {"plain", *DIFFICULTIES}
    assert all(tags[tag] >= 20 for tag in DIFFICULTIES)
    for document in reviews:
        assert document.tags
        assert "plain" not in document.tags or document.tags == ("plain",)
        longest = max(len(sentence.split()) for sentence in sentences(document.text))
        assert ("long" in document.tags) == (longest >= 40), document.id
    texts = " ".join(document.text for document in reviews)
    assert all(kind in texts for kind in ("café", "“", "’", "🍜", "💇‍♀️", "\n\n", "…", "—"))


def test_reviews_are_short_and_all_different(written):
    for document in written["reviews"]:
        assert 1 <= len(sentences(document.text)) <= 5, document.id
        assert re.fullmatch(rf"{document.domain}-\d{{3}}", document.id)
    openings = Counter(" ".join(document.text.lower().split()[:3]) for document in written["reviews"])
    assert max(openings.values()) == 1


def test_the_card_of_the_reviews_counts_what_is_there(written):
    def row(documents):
        labels = Counter(document.label for document in documents)
        return f"{labels['NEG']} | {labels['POS']} | {counts(documents)}"

    reviews = written["reviews"]
    for domain in DOMAINS:
        assert f"| {domain} | {row([d for d in reviews if d.domain == domain])}\n" in reviews.card
    for tag in ("plain", *DIFFICULTIES):
        assert f"| {tag} | {row([d for d in reviews if tag in d.tags])} " in reviews.card
    assert f"| **all** | {row(list(reviews))}\n" in reviews.card


# Tickets


def test_tickets_have_one_desk_or_several(written):
    tickets = written["tickets"]
    assert tickets.labels == DESKS
    assert Counter(document.label for document in tickets) == dict.fromkeys(DESKS, 28)
    sizes = Counter(len(document.labels) for document in tickets)
    assert set(sizes) == {1, 2, 3}
    assert sizes[2] + sizes[3] >= 70
    for document in tickets:
        assert document.label in document.labels
        assert list(document.labels) == sorted(document.labels)
        assert 25 <= len(document.text.split()) <= 60
    pairs = {frozenset(document.labels) for document in tickets if len(document.labels) == 2}
    assert len(pairs) == 15  # every pair that six desks have


def test_tickets_have_every_tone_at_every_desk(written):
    tones = Counter((document.label, *document.tags) for document in written["tickets"])
    assert set(tones) == {(desk, tone) for desk in DESKS for tone in TONES}
    assert min(tones.values()) >= 3


def test_the_card_of_the_tickets_counts_what_is_there(written):
    tickets = written["tickets"]
    for desk in DESKS:
        among = sum(desk in document.labels for document in tickets)
        assert f"| `{desk}` | {counts([d for d in tickets if d.label == desk])} {among} |\n" in tickets.card
    assert f"| **all** | {counts(list(tickets))} {len(tickets)} |\n" in tickets.card
    for tone in TONES:
        assert f"| {tone} | {sum(tone in document.tags for document in tickets)} |" in tickets.card
    one, two, three = (sum(len(document.labels) == size for document in tickets) for size in (1, 2, 3))
    assert f"{one} documents have one topic, {two} have two and {three} have three." in " ".join(tickets.card.split())


# News


def test_news_are_balanced_and_some_cross_over(written):
    news = written["news"]
    assert news.labels == TOPICS
    assert Counter(document.label for document in news) == dict.fromkeys(TOPICS, 32)
    crossing = Counter(document.label for document in news if document.tags == ("crossing",))
    assert crossing == dict.fromkeys(TOPICS, 5)
    assert {document.tags for document in news} == {("plain",), ("crossing",)}
    assert all(20 <= len(document.text.split()) <= 45 for document in news)


def test_the_card_of_the_news_counts_what_is_there(written):
    news = written["news"]
    for topic in TOPICS:
        assert f"| `{topic}` | {counts([d for d in news if d.label == topic])}\n" in news.card
    assert f"| **all** | {counts(list(news))}\n" in news.card
    for tag in ("plain", "crossing"):
        assert f"| {tag} | {sum(tag in document.tags for document in news)} |" in news.card


# Languages


def test_every_language_has_the_same_sentences(written):
    languages = written["languages"]
    assert languages.labels == ("NEG", "POS")
    assert [document.id for document in languages] == [f"{tag}-{n:02d}" for tag in SCRIPTS for n in range(1, 15)]
    for document in languages:
        tag, number = document.id.split("-")
        assert document.language == tag
        assert document.label == ("POS" if int(number) % 2 else "NEG")
    for number in range(1, 15):
        marks = Counter(len(d.rationales) for d in languages if d.id.endswith(f"-{number:02d}"))
        assert max(marks) - min(marks) <= 1  # a phrase of two words may be one where a language joins them


def test_every_language_is_in_its_script(written):
    for document in written["languages"]:
        letters = [character for character in document.text if character.isalpha() and character != "ー"]
        assert letters
        assert all(unicodedata.name(letter).startswith(SCRIPTS[document.language]) for letter in letters), document.id


def test_the_card_of_the_languages_counts_what_is_there(written):
    languages = written["languages"]
    assert f"{len(languages)} sentences" in " ".join(languages.card.split())
    for tag in SCRIPTS:
        documents = [document for document in languages if document.language == tag]
        assert re.search(rf"\| `{tag}` \| \w+ \| {re.escape(counts(documents))}\n", languages.card)
