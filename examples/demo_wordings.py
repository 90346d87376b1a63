"""Texts that are made, not found: negations, hedges, contrasts, and parts of real sentences.

Real reviews hold few short sentences with a negation, and a small model that never met "not bad at all" reads it as
"bad". These texts have no labels: the teacher of ``train_demo_teacher.py`` gives them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

GOOD = """good great excellent wonderful brilliant superb lovely funny charming moving beautiful clever enjoyable
entertaining gripping exciting touching delightful impressive fresh smart memorable perfect outstanding fascinating
warm pleasant satisfying hilarious thrilling amazing fantastic interesting convincing original friendly helpful clean
comfortable reliable delicious tasty quick solid sturdy cozy polite generous honest remarkable stunning special
powerful effective masterful elegant sharp witty inspired engaging""".split()
BAD = """bad terrible awful boring dull stupid predictable slow disappointing tedious weak poor annoying horrible lame
pointless silly bland forgettable mediocre clumsy stale flat shallow painful ugly ridiculous dreadful confusing
unfunny pretentious lifeless messy cheap rude dirty noisy broken useless cold greasy unreliable overpriced tasteless
late uncomfortable frustrating lousy sloppy unpleasant worthless absurd incoherent hollow tired contrived
depressing wooden""".split()
THINGS = """film movie plot story script acting cast ending beginning dialogue director music score camera work humor
performance lead scene sequel book novel show episode series comedy drama thriller documentary hotel room bed
breakfast dinner food soup pizza steak coffee service waiter staff driver doctor clerk company phone laptop battery
screen camera headset keyboard printer app update delivery trip tour flight beach city museum place concert
game idea cover design sound picture price""".split()
VERBS_OF_LIKING = "like love enjoy recommend appreciate admire trust understand finish believe".split()
VERBS_OF_DISLIKE = "hate regret mind dislike forget miss".split()
DEGREES = ["", "", "", "very ", "really ", "so ", "too ", "quite ", "rather ", "that ", "all that ", "particularly "]
NAMES = "I, we, you, they, everyone, nobody, my wife, my friends, the critics, the audience".split(", ")

#: What is filled in: ``{g}`` good, ``{b}`` bad, ``{a}`` either, ``{t}`` a thing, ``{d}`` a degree, ``{l}`` to like,
#: ``{h}`` to dislike, ``{w}`` somebody. A choice stands in brackets: ``[not|never]``.
NEGATIONS = """Not {b} at all|Not {g} at all|Not {d}{a}|Not {b}|Not {g}|It is not a {a} {t}|It is not a {b} {t}
This is not a {g} {t}|This isn't a {b} {t} [at all|]|It's not {d}{a}|The {t} is not {d}{a}|The {t} was never {a}
The {t} wasn't {d}{a}, and neither was the {t}|The {t} is neither {a} nor {a}|There is nothing {a} about the {t}
There is nothing {a} here|I cannot say that I {l}d it|I can't say I {h}d it|I cannot say that the {t} is {a}
I would not call it {a}|I wouldn't call this {t} {a}|I did not {l} it|I didn't {h} it [at all|one bit|]
I don't {l} this {t}|I do not {h} a [minute|moment|second] of it|You won't {h} it|You will not {l} it
No one could {l} this {t}|Nobody could {h} this {t}|{w} did not {l} the {t}|{w} didn't {h} the {t}
I never thought I would {l} a {t}, but I did|I never thought I would {h} it, but I do|Never {a}|Never {a}, never {a}
Hardly a {a} {t}|Hardly {a}|It is hardly {a}|The {t} is barely {a}|Far from {a}|It is far from {a}|Anything but {a}
The {t} is anything but {a}|Nothing short of {a}|The {t} is nothing short of {a}|No {t} has ever been so {a}
Without a {a} moment|A {t} without a single {a} scene|It lacks anything {a}|The {t} lacks a {a} idea
The {t} fails to be {a}|It fails to be {a} or {a}|It does not fail to be {a}|It is not without its {a} moments
I have never seen a {a}r {t}|I have seldom seen anything so {a}|I had no problem with the {t}
There were no problems with the {t}|No complaints about the {t}|I have no complaints
I have nothing but praise for the {t}
I have nothing good to say about the {t}|Not only {a} but [also |]{a}|The {t} is not only {a} but also {a}
Not just {a}, but {a}|It couldn't be {a}r|It could not have been more {a}|It could have been more {a}
The {t} could have been {a}|It should have been {a}|If only the {t} had been {a}|I wish it were {a}
I expected it to be {a}, and it isn't|You can't go wrong with this {t}|Don't {l} the {t}|Don't miss it
Do not miss this {t}|Don't bother with this {t}|Don't waste your time on this {t}|Not worth [your time|the money|it]
It is not worth [seeing|your time|the money|the trip]|This {t} is worth [every minute|every penny|the wait]
It isn't the {t} that is {b}, it is the {t}|The {t} isn't {b}, just {b}|The {t} isn't {g}, it is {g}
I was not [disappointed|bored|impressed|amused|moved|convinced|surprised] [by the {t}|]
{w} [was|were] not [disappointed|bored|impressed|amused|moved|convinced] by the {t}
I wasn't [disappointed|bored|impressed|amused|moved|convinced] for a [second|minute]
It never gets {a}|It never becomes {a}|The {t} never gets {a}|Nothing about the {t} works|Not everything about it is {a}
Not all of it is {a}|The {t} does not [work|disappoint|help|convince|deliver|matter]|It doesn't [work|disappoint|help]
The {t} did not [work|disappoint|help|convince|deliver|last]|The {t} never [works|disappoints|delivers|bores]"""
HEDGES = """I think the {t} is {d}{a}|It might be {a}|It may be {a}, I am not sure|Perhaps the {t} is a little {a}
It seems {a} to me|I guess it is {a} [enough|]|The {t} is sort of {a}|Kind of {a}|Somewhat {a}|A bit {a}
A little too {a}|Slightly {a}|More {a} than {a}|More or less {a}|The {t} is almost {a}|It is almost {a}, almost
I suppose it was {a}|I'd say it is {a}|I would say that the {t} is {a}|In my opinion the {t} is {a}
Some may find it {a}|{w} found it {a}|{w} found the {t} {a}|{w} said it was {a}|They say it is {a}, and it is
They say it is {a}, and it isn't|Supposedly {a}|Allegedly {a}|Maybe {w} will {l} it|It was fine, I guess
It was okay|Nothing special|It was nothing special|It is what it is|Just {a}|Simply {a}|{a}|{a} {t}|{a} and {a}
{a}, {a} and {a}|A {a} {t}|A {a}, {a} {t}|The {t} is {d}{a}|The {t} was {d}{a}|What a {a} {t}|Such a {a} {t}
I {l} it|I {l} this {t}|I {h} it|I {h} this {t}|I really {l}d it|{w} {l}d it|The {t} of my life
I could watch it again|I will come back|I will not come back|I won't come back|I would come back
I would buy it again|I would never buy it again|I would not buy it again|Never again|Once was enough
I returned it|I sent it back|I still use it every day|It broke after a week|It has not broken yet
It stopped working|It works|It works as promised|It does not work as promised|It did everything but work"""
CONTRASTS = """The {t} is {a}, but the {t} is {a}|{a}, but {a}|{a} but {a}|It is {a}, but not {a}|It is not {a}, but {a}
Although the {t} is {a}, the {t} is {a}|The {t} is {a} although the {t} is {a}|Despite the {a} {t}, it is {a}
I expected a {a} {t} and got a {a} one|I expected to {h} it, but I {l}d it|I wanted to {l} it, but I couldn't
I wanted to {l} it. I did not|The {t} is {a}. The {t} is not|The {t} is {a}. The {t}, however, is {a}
Even the {a} {t} cannot save the {a} {t}|A {a} {t} saves this {a} {t}|The only {a} thing about it is the {t}
The {t} is the only {a} part|Everything about it is {a} except the {t}|Once {a}, now {a}|It used to be {a}
It used to be {a}, now it is {a}|The {t} starts {a} and ends {a}|It begins {a} and ends {a}|Less {a} than {a}
I would rather [sleep|leave|do the dishes] than see this {t} again|Too {a} to be {a}|Too {a} for its own good
As {a} as a {t} can be|As {a} as it is {a}|If you {l} a {a} {t}, this is [for you|not for you]
If this is {a}, I am the {t}|Oh great, another {a} {t}|Yes, the {t} is {a}, yet the {t} is {a}
It is {a} for an hour, then {a}|Better than I feared|Worse than I hoped|Better than the {t}|Worse than the {t}
Not as {a} as the {t}|Not as {a} as they say|It's {a}, just not as {a} as the {t}|The {t} was {a}; the {t} was not"""


def patterns(kind: str) -> list[str]:
    """Return the patterns of a kind, one a sentence."""
    found: list[str] = []
    for line in kind.splitlines():
        depth, start = 0, 0
        for i, letter in enumerate([*line, "|"]):
            depth += (letter == "[") - (letter == "]")
            if letter == "|" and depth == 0:
                found.append(line[start:i])
                start = i + 1
    return [pattern for pattern in found if pattern]


FILLERS: dict[str, Callable[[random.Random], str]] = {
    "g": lambda draw: draw.choice(GOOD),
    "b": lambda draw: draw.choice(BAD),
    "a": lambda draw: draw.choice(draw.choice((GOOD, BAD))),
    "t": lambda draw: draw.choice(THINGS),
    "d": lambda draw: draw.choice(DEGREES),
    "l": lambda draw: draw.choice(VERBS_OF_LIKING),
    "h": lambda draw: draw.choice(VERBS_OF_DISLIKE),
    "w": lambda draw: draw.choice(NAMES),
}

#: Spellings that filling in gets wrong.
MENDED = (
    (r"\b([Aa]) (?=[aeiou])", r"\1n "),
    (r"eed\b|ed(?=d\b)", "ed"),
    (r"understandd", "understood"),
    (r"forgetd", "forgot"),
    (r"(admire|love|hate|like|dislike|believe|appreciate)dd", r"\1d"),
    (r"(enjoy|recommend|finish|regret|mind|trust|miss)d\b", r"\1ed"),
    (r"reted\b", "retted"),
    (r"(\w+)yr\b", r"\1ier"),
    (r"(\w+)er\b(?<=eer)", r"\1"),
    (r"\s+", " "),
)


def filled(pattern: str, draw: random.Random) -> str:
    """Return a sentence of a pattern, with words drawn."""
    text = re.sub(r"\[([^]]*)\]", lambda found: draw.choice(found[1].split("|")), pattern)
    text = re.sub(r"\{(\w)\}", lambda found: FILLERS[found[1]](draw), text)
    for wrong, right in MENDED:
        text = re.sub(wrong, right, text)
    return ended(text.strip(), draw)


def ended(text: str, draw: random.Random) -> str:
    """Return a sentence with a capital and one of the usual ends."""
    end = draw.choice((".", ".", ".", "", "", "!", "..."))
    return text[:1].upper() + text[1:] + end


#: Words that a negation is put behind or taken from.
VERBS = re.compile(r"\b(is|was|are|were|does|do|did|has|have|had|can|could|will|would|should)\b", re.IGNORECASE)
NEGATED = re.compile(r"\b(not|never)\s|n't\b|\bno (?=\w)", re.IGNORECASE)


def negated(sentence: str, draw: random.Random) -> str | None:
    """Return a sentence with a negation more or less, or None if it has no place for one."""
    if NEGATED.search(sentence):
        return re.sub(r"\bca\b", "can", NEGATED.sub("", sentence, count=1)).strip()
    verb = VERBS.search(sentence)
    if not verb:
        return None
    irregular = {"can": "cannot", "will": "will not"}.get(verb[0].lower())
    word = irregular or verb[0] + draw.choice(("n't", " not", " never"))
    return sentence[: verb.start()] + word + sentence[verb.end() :]


def part(sentence: str, draw: random.Random) -> str | None:
    """Return 2 to 10 words in a row of a sentence, or None if it is too short."""
    words = sentence.split()
    if len(words) < 4:
        return None
    size = draw.randint(2, min(10, len(words) - 1))
    start = draw.randint(0, len(words) - size)
    return " ".join(words[start : start + size])


def joined(first: str, second: str, draw: random.Random) -> str:
    """Return two sentences as one text."""
    link = draw.choice((". ", ", but ", ", and ", ". However, ", ", although ", "; ", ". "))
    return first.rstrip(" .!?") + link + (second if link == ". " else second[:1].lower() + second[1:])


def made(sentences: list[str], count: int, draw: random.Random) -> list[str]:
    """Return made texts, each once: about a half of patterns, the others of sentences.

    Args:
        sentences: real sentences, of training parts only.
        count: how many to make.
        draw: the source of chance.
    """
    kinds = [patterns(kind) for kind in (NEGATIONS, NEGATIONS, HEDGES, CONTRASTS)]
    short = [sentence for sentence in sentences if len(sentence.split()) <= 18]
    found: dict[str, None] = {}
    for _ in range(3 * count):
        if len(found) >= count:
            break
        kind = draw.random()
        if kind < 0.5:
            text: str | None = filled(draw.choice(draw.choice(kinds)), draw)
            if text and draw.random() < 0.15:
                text = joined(text, filled(draw.choice(draw.choice(kinds)), draw), draw)
        elif kind < 0.7:
            text = negated(draw.choice(short), draw)
        elif kind < 0.85:
            text = part(draw.choice(sentences), draw)
        else:
            text = joined(draw.choice(short), draw.choice(short), draw)
        if text:
            found[text] = None
    return list(found)
