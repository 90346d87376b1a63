"""Train the classifiers that textlrp is measured on: small models of many architectures and tasks.

    python examples/train_classifiers.py --data FOLDER --output FOLDER [--only NAME ...] [--seed 0] [--quick]

FOLDER holds ``sst.jsonl.gz`` and the other sets that recipes.py names. Recipes that start from a pretrained encoder
take it by ``--encoder``, such as ``sentence-transformers/all-MiniLM-L6-v2``, and are left out without it. Each model is
written to its own folder under the output, with its tokenizer and a card that states what it scores on the test split.
No text is masked in training.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.metadata
import math
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tokenizers
import torch
import torch.nn.functional as F
import transformers
from recipes import ENCODER, RECIPES, Item, Recipe, Task
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from training import batches, cut, descent, word_vectors

import textlrp

#: The special tokens, padding first, so that its id is 0 everywhere.
BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ROBERTA = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
LLAMA = {"pad": "<pad>", "unk": "<unk>", "bos": "<s>", "eos": "</s>"}
GPT2 = {"pad": "<pad>", "eos": "<|endoftext|>"}
SPECIAL = {"xlm-roberta": ROBERTA, "llama": LLAMA, "gpt2": GPT2}
#: The ids of a text out of which training cuts.
LONGEST = 1024


def main(arguments: list[str] | None = None) -> None:
    """Train, score and write each recipe that was asked for."""
    names = [recipe.name for recipe in RECIPES]
    parser = argparse.ArgumentParser(description="Train small classifiers of many architectures and tasks.")
    parser.add_argument("--data", type=Path, required=True, help="folder with the gzipped JSON lines")
    parser.add_argument("--output", type=Path, required=True, help="folder to write a folder for each model to")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--encoder", help="folder or hub name of a pretrained encoder, for the recipes that start from it"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--suffix", default="", help="what to add to the names of the folders, such as -2")
    parser.add_argument("--threads", type=int, help="threads of the CPU; default: as many as torch takes")
    parser.add_argument("--bfloat16", action="store_true", help="mixed precision: faster where the CPU has it")
    parser.add_argument("--quick", action="store_true", help="a few steps on a few rows: to see that it runs")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        sys.exit(f"there is no folder {options.data}: --data takes the folder that holds sst.jsonl.gz and the others")
    if options.threads:
        torch.set_num_threads(options.threads)
    transformers.utils.logging.disable_progress_bar()
    wanted = [recipe for recipe in RECIPES if recipe.name in options.only]
    chosen = [recipe for recipe in wanted if options.encoder or recipe.pieces != ENCODER]
    if not chosen:
        sys.exit(f"{', '.join(options.only)} start from a pretrained encoder: name it with --encoder")
    chosen = [recipe.quick() for recipe in chosen] if options.quick else chosen
    for recipe in chosen:
        folder = options.output / (recipe.name + options.suffix)
        if folder.exists() and not (folder / "config.json").is_file():
            sys.exit(f"{folder} exists and holds no model: take another --output or --suffix")
    for recipe in chosen:
        make(recipe, options.output.resolve() / (recipe.name + options.suffix), options)


def make(recipe: Recipe, folder: Path, options: argparse.Namespace) -> None:
    """Train one classifier and move its finished folder into place."""
    started = time.monotonic()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    task = recipe.read(options.data, recipe.rows_a_split)
    print(f"{recipe.name}: {len(task.train)} texts to learn from, {len(task.phrases)} phrases", flush=True)
    tokenizer = train_tokenizer(recipe, task) if recipe.pieces != ENCODER else read_tokenizer(recipe, options.encoder)
    model = train(recipe, task, tokenizer, options)
    minutes = (time.monotonic() - started) / 60
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as scratch:
        new = Path(scratch) / "new"
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        (new / "model.safetensors").chmod(0o644)  # safetensors lets nobody but its owner read it
        table = measure(new, task)
        (new / "README.md").write_text(card(recipe, task, model, table, minutes, options), encoding="utf-8")
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        new.rename(folder)
    print(f"{recipe.name}: {folder} is written, after {minutes:.1f} minutes\n{table}\n", flush=True)


def train_tokenizer(recipe: Recipe, task: Task) -> Any:
    """Train a lowercasing tokenizer on the texts to learn from, with the special tokens of its architecture."""
    special = SPECIAL.get(recipe.architecture, BERT)
    options: dict[str, Any] = {
        "vocab_size": recipe.vocabulary, "special_tokens": list(special.values()), "show_progress": False,
    }  # fmt: skip
    if recipe.pieces == "wordpiece":
        pieces = tokenizers.Tokenizer(models.WordPiece(unk_token=special["unk"]))
        pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
        pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        pieces.decoder = decoders.WordPiece()
        # A small alphabet: letters of other scripts would take the place of whole words.
        trainer = trainers.WordPieceTrainer(limit_alphabet=150, min_frequency=2, **options)
    elif recipe.pieces == "bpe":
        pieces = tokenizers.Tokenizer(models.BPE())
        pieces.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
        pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        pieces.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, min_frequency=2, **options)
    else:
        pieces = tokenizers.Tokenizer(models.Unigram())
        pieces.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        pieces.pre_tokenizer = pre_tokenizers.Metaspace()
        pieces.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(unk_token=special["unk"], **options)
    pieces.train_from_iterator(task.texts, trainer)
    first, last = special.get("cls", special.get("bos")), special.get("sep")
    if first:
        end = f" {last}" if last else ""
        known = [(token, pieces.token_to_id(token)) for token in (first, last) if token]
        pair = f"{first} $A{end} $B{end}" if last else f"{first} $A {first}:1 $B:1"
        pieces.post_processor = processors.TemplateProcessing(f"{first} $A{end}", pair, known)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        model_max_length=recipe.positions,
        **{f"{name}_token": token for name, token in special.items()},
    )


def read_tokenizer(recipe: Recipe, encoder: str) -> Any:
    """Return the tokenizer of the encoder."""
    # GPT-2 would add the word of id 0 as a token type.
    inputs = {} if recipe.architecture == ENCODER else {"model_input_names": ["input_ids", "attention_mask"]}
    return transformers.AutoTokenizer.from_pretrained(encoder, model_max_length=recipe.positions, **inputs)


def untrained(recipe: Recipe, task: Task, tokenizer: Any, encoder: str | None) -> Any:
    """Return a model to train: the pretrained encoder, or one with random weights."""
    labels: dict[str, Any] = {
        "id2label": dict(enumerate(task.labels)),
        "label2id": {label: i for i, label in enumerate(task.labels)},
        "problem_type": "multi_label_classification" if task.several else "single_label_classification",
    }
    if recipe.architecture == ENCODER:
        return transformers.AutoModelForSequenceClassification.from_pretrained(encoder, **labels)
    width: dict[str, int] = {}
    if recipe.pieces == ENCODER:
        name = "n_embd" if recipe.architecture == "gpt2" else "hidden_size"
        width = {name: transformers.AutoConfig.from_pretrained(encoder).hidden_size}
    config = transformers.AutoConfig.for_model(
        recipe.architecture,
        **recipe.sizes,
        **width,
        **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos", "cls", "sep")},
        vocab_size=len(tokenizer),
        # RoBERTa counts positions from the id of padding plus one.
        **{"n_positions" if recipe.architecture == "gpt2" else "max_position_embeddings": recipe.positions + 2},
        **labels,
    )
    # On a CPU and short texts, attention step by step is trained faster than torch's fused one.
    return transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")


def train(recipe: Recipe, task: Task, tokenizer: Any, options: argparse.Namespace) -> Any:
    """Return the moving average of the weights as it was after the round that validates best."""
    model = untrained(recipe, task, tokenizer, options.encoder)
    items, phrases = (encode(tokenizer, part, LONGEST) for part in (task.train, task.phrases))
    words = model.get_input_embeddings().weight
    if recipe.pieces != ENCODER:
        vectors = word_vectors([ids for ids, _ in items], *words.shape)
        seen = vectors.any(1)
        # 0.05 a number, where positions begin with 0.02: words should tell more than where they stand.
        words.data[seen, : vectors.shape[1]] = vectors[seen] * (0.05 * math.sqrt(words.shape[1]))
    elif recipe.architecture != ENCODER:
        words.data.copy_(transformers.AutoModel.from_pretrained(options.encoder).get_input_embeddings().weight.data)
        words.requires_grad_(False)
    plans = []
    for longest in recipe.cuts:
        some = random.sample(items, min(recipe.texts_a_round or len(items), len(items)))
        texts = [(shorten(ids, recipe.shortest_cut, longest, tokenizer), goal) for ids, goal in some]
        texts += random.sample(phrases, min(recipe.phrases_a_round, len(phrases)))
        plans.append(list(batches(texts, recipe.batch_tokens, tokenizer.pad_token_id)))
    step = descent([p for p in model.parameters() if p.requires_grad], recipe.learning_rate, sum(map(len, plans)))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))
    best, best_score = model, -1.0
    for number, plan in enumerate(plans, 1):
        model.train()
        losses = []
        for ids, mask, goal in plan:
            with torch.autocast("cpu", torch.bfloat16) if options.bfloat16 else contextlib.nullcontext():
                logits = model(**inputs(ids, mask, tokenizer)).logits.float()
            losses.append(step(loss(logits, goal, task.several)))
            average.update_parameters(model)
            if len(losses) % 100 == 0:
                print(
                    f"  round {number}, step {len(losses)} of {len(plan)}: {sum(losses[-100:]) / 100:.3f}", flush=True
                )
        found = average.module.eval()
        scores = score(*predict(found, tokenizer, task.validation, recipe.positions), task.several)
        print(f"  round {number} of {len(plans)}: loss {sum(losses) / len(losses):.3f}, {scores}", flush=True)
        if next(iter(scores.values())) >= best_score:
            best, best_score = copy.deepcopy(found), next(iter(scores.values()))
    return best


def loss(logits: Tensor, goal: Tensor, several: bool) -> Tensor:
    """Return the mean cross entropy, of each label alone where a text can have several."""
    # Summed over the labels: the mean over 28 would make 1/28 of the steps.
    return (
        F.binary_cross_entropy_with_logits(logits, goal) * goal.shape[1] if several else F.cross_entropy(logits, goal)
    )


def encode(tokenizer: Any, items: list[Item], length: int) -> list[tuple[list[int], Any]]:
    """Turn texts into ids; a text without any is left out."""
    if not items:
        return []
    texts = [(text,) if isinstance(text, str) else text for text, _ in items]
    columns = [
        list(column) for column in zip(*texts, strict=True)
    ]  # the texts, and their second texts in a task of pairs
    found = tokenizer(*columns, truncation=True, max_length=length)["input_ids"]
    return [(ids, goal) for ids, (_, goal) in zip(found, items, strict=True) if ids]


def inputs(ids: Tensor, mask: Tensor, tokenizer: Any) -> dict[str, Tensor]:
    """Return the inputs of a batch; what stands behind the first [SEP] is the second text of a pair."""
    found = {"input_ids": ids, "attention_mask": mask}
    if "token_type_ids" in tokenizer.model_input_names:
        ends = (ids == tokenizer.sep_token_id).long()
        found["token_type_ids"] = (ends.cumsum(1) - ends).clamp(max=1) * mask
    return found


def shorten(ids: list[int], shortest: int, longest: int, tokenizer: Any) -> list[int]:
    """Return the text, or a random stretch of a text that is too long, between the special tokens that it has."""
    if len(ids) <= longest:
        return ids
    if tokenizer.cls_token_id is not None:
        return cut(ids, shortest, longest - 2)
    start = [ids[0]] * (tokenizer.bos_token_id is not None)
    return start + cut([0, *ids[len(start) :], 0], shortest, longest - len(start))[1:-1]


@torch.no_grad()
def predict(model: Any, tokenizer: Any, items: list[Item], length: int) -> tuple[Tensor, Tensor]:
    """Return logits and labels, both ``(texts, labels)``, in no order."""
    groups = batches(encode(tokenizer, items, length), 8192, tokenizer.pad_token_id)
    found = [(model(**inputs(ids, mask, tokenizer)).logits, goal) for ids, mask, goal in groups]
    return torch.cat([logits for logits, _ in found]), torch.cat([goal for _, goal in found])


def score(logits: Tensor, goals: Tensor, several: bool) -> dict[str, float]:
    """Return accuracy and macro F1; where a text can have several labels, micro and macro F1 at a half."""
    answers = (logits > 0).float() if several else F.one_hot(logits.argmax(-1), goals.shape[1]).float()
    hits, both = (answers * goals).sum(0), answers.sum(0) + goals.sum(0)
    macro = (2 * hits / both.clamp_min(1)).mean()
    first = ("micro F1", 2 * hits.sum() / both.sum()) if several else ("accuracy", hits.sum() / len(goals))
    return {name: round(float(value), 4) for name, value in (first, ("macro F1", macro))}


def measure(folder: Path, task: Task) -> str:
    """Return a table with the scores of the stored model, after a look whether it can be explained."""
    explainer = textlrp.Explainer.from_pretrained(folder)
    text = task.test[0][0]
    explanation = explainer.explain(*((text,) if isinstance(text, str) else text))
    if not explanation.ledger.balanced:
        sys.exit(f"the books of {folder.name} are not balanced: {explanation.ledger}")
    parts = {"validation": task.validation, "test": task.test}
    length = explainer.tokenizer.model_max_length
    found = {
        part: score(*predict(explainer.model, explainer.tokenizer, items, length), task.several)
        for part, items in parts.items()
    }
    lines = ["| part | texts | " + " | ".join(found["test"]) + " |", "|---|---|---|---|"]
    lines += [
        f"| {p} | {len(parts[p])} | " + " | ".join(f"{v:.4f}" for v in s.values()) + " |" for p, s in found.items()
    ]
    return "\n".join(lines)


CARD = """# {name}

A classifier to measure textlrp on: {architecture}, {parameters:.1f} million parameters, {start}, trained on
{data}. Labels{several}: {labels}.

## Scores

Of the stored weights, on the first {positions} ids of each text. The validation part chose the round; the test part
was scored once, at the end.

{table}

## Training

    python examples/train_classifiers.py --data FOLDER --output FOLDER --only {recipe} --seed {seed}{options}

{minutes:.1f} minutes on a CPU (threads: {threads}), with {versions}.
{train:,} texts and {phrases:,} phrases to learn from, after every text of a validation or test part was removed; no
text was masked. The weights are a moving average. Settings:

    {settings}

## Use and limits

For measuring explanations, not for decisions about people: the model is small, and it shares the views and rude words
of those who wrote its texts. The sets have their own terms.
"""

#: What the card says in other places.
UNSAID = ("name", "architecture", "read", "data")


def card(recipe: Recipe, task: Task, model: Any, table: str, minutes: float, options: argparse.Namespace) -> str:
    """Return the model card, with what the run measured."""
    flags = " --encoder ENCODER" * (recipe.pieces == ENCODER) + f" --suffix={options.suffix}" * bool(options.suffix)
    flags += " --bfloat16" * options.bfloat16 + " --quick" * options.quick
    return CARD.format(
        name=recipe.name + options.suffix,
        architecture=model.config.model_type,
        start="from random weights"
        if recipe.pieces != ENCODER
        else f"from the pretrained encoder {Path(options.encoder).name}"
        if recipe.architecture == ENCODER
        else f"from random weights and the frozen word vectors of {Path(options.encoder).name}",
        parameters=model.num_parameters() / 1e6,
        data=recipe.data,
        several=", of which a text can have several" if task.several else "",
        labels=", ".join(task.labels),
        positions=recipe.positions,
        table=table,
        recipe=recipe.name,
        seed=options.seed,
        options=flags,
        minutes=minutes,
        threads=torch.get_num_threads(),
        versions=", ".join(
            f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "tokenizers")
        ),
        train=len(task.train),
        phrases=len(task.phrases),
        settings=", ".join(f"{key} {value}" for key, value in vars(recipe).items() if key not in UNSAID),
    )


if __name__ == "__main__":
    main()
