"""The card of the built-in classifier: what it scores, what it learned from, and how to train it again."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import torch
from demo_sets import GRADES, Reviews

POSITIONS = 512

CARD = """---
language: en
license: apache-2.0
pipeline_tag: text-classification
library_name: transformers
tags: [sentiment-analysis, movie-reviews, bert, textlrp]
datasets: [stanfordnlp/imdb, stanfordnlp/sst]
---
# The built-in classifier of textlrp

A small BERT ({parameters:.1f} million parameters, {layers} layers of {width}, {positions} positions, a lowercasing
WordPiece vocabulary of its own) that calls an English movie review `NEG` or `POS`. It is there so that textlrp has
something to explain on a machine without a network. Weights are stored in float16 and load in float32.

## Scores

On the first 512 tokens of each text, with the stored weights. The validation parts chose the round and the temperature;
the test parts were scored once in this run, at the end. imdb validation was held out of the training split; sst is
without its neutral sentences; counterfactual_movies holds reviews together with their edits that flip the label;
negations are {probes} short sentences of the script, which helped to choose the round.

{table}

## Data

- **imdb** (Maas et al. 2011): 10,000 training reviews. Terms: none stated by the source.
- **sst**, the Stanford Sentiment Treebank (Socher et al. 2013): the training sentences and their phrases; the grades
  0-4 stand for {grades} as the probability of `POS`, so neutral words have a logit near zero. Terms: none stated.
- **counterfactual_movies** (Kaushik et al. 2020): reviews and their human edits, training split. Terms: Apache-2.0.

Left for training after every text of a validation or test part was removed: {documents:,} reviews, {sentences:,}
sentences, {phrases:,} phrases.

{transfer:,} more texts have the labels of a teacher: sentences of the training reviews, and texts made from them and
from patterns (negated, cut, joined; negations, hedges, contrasts), as `examples/train_demo_teacher.py` makes and labels
them. The teacher was `sentence-transformers/all-mpnet-base-v2` (Apache-2.0), fine-tuned on some of the same training
texts. The word vectors of the classifier began as a projection of that encoder's; its license and notice hold for
them: Copyright the sentence-transformers authors, Apache License 2.0.

The license above is that of the weights, as part of textlrp; it says nothing about the texts.

## Training

    python examples/train_demo_teacher.py --data FOLDER --encoder ENCODER --output transfer.jsonl.gz
    python examples/train_demo_classifier.py --data FOLDER --transfer transfer.jsonl.gz --encoder ENCODER \\
        --output FOLDER --seed {seed} --rounds {rounds}

The second step took {minutes:.0f} minutes on {threads} cores of a CPU, with {versions}. It learns the teacher's
probabilities, and the labels of phrases, sentences and cuts of reviews, with a moving average of the weights; last, one
temperature for calibrated probabilities. A few words in each training text are replaced by `[MASK]`, and texts of masks
alone have even odds, so that they are a neutral reference. The same seed gives the same weights on the same machine and
versions. Settings:

    {recipe}

## Use and limits

Meant for demonstrations, tests and examples of textlrp. Not meant for decisions about people, nor for texts other than
English movie reviews: elsewhere its answers are guesses. Irony, mixed reviews and long-range negation mislead it; what
stands after the 512th token is not read; it shares the views and rude words of those who wrote the reviews.
"""


def card(
    table: str, reviews: Reviews, settings: dict[str, Any], seed: int, parameters: int, minutes: float, **counts: int
) -> str:
    """Return the model card, with what the run measured."""
    return CARD.format(
        **settings,
        **counts,
        parameters=parameters / 1e6,
        positions=POSITIONS,
        table=table,
        grades=", ".join(map(str, GRADES)),
        documents=len(reviews.documents),
        sentences=len(reviews.sentences),
        phrases=len(reviews.phrases),
        seed=seed,
        minutes=minutes,
        threads=torch.get_num_threads(),
        versions=", ".join(
            f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "tokenizers")
        ),
        recipe=", ".join(f"{name} {value}" for name, value in settings.items()),
    )
