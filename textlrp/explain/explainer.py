"""Model, tokenizer, text and target to an explanation."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence, Sized
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from textlrp.basics import options
from textlrp.errors import BatchError, LRPError, ModelError
from textlrp.explain import inputs, loading, streaming
from textlrp.explain.assembly import Provenance, explanations
from textlrp.explain.batching import Engine, PendingDocument
from textlrp.explain.classifier import Classifier
from textlrp.explain.labels import MULTI, RUNNER_UP, Choice, Head, Pick, Several, kind_of
from textlrp.explain.long_texts import Reading
from textlrp.explain.progress import ProgressBar
from textlrp.results.explanation import Explanation
from textlrp.rules import Rules, as_rules
from textlrp.text.encoding import Encoding

#: The built-in classifier's folder and name.
DEMO_FOLDER = Path(__file__).parents[1] / "demo"
DEMO_NAME = "textlrp demo"


class Explainer:
    """Explains what a Hugging Face text classifier makes of a text.

    Args:
        model: a sequence classifier; it is used where it is and left as it is.
        tokenizer: the tokenizer that the model was trained with.
        name: what explanations call the model; default: the name that it was loaded under.
        problem_type: what the model's outputs are: ``"single_label_classification"`` (softmax, or sigmoid where there
            is one output), ``"multi_label_classification"`` (sigmoid) or ``"regression"`` (no probabilities); default:
            what the model's config says, or else softmax for several outputs and regression for one.

    Raises:
        ModelError: the model is no torch module or has no weights, or there is no tokenizer.
        InputError: there is no such problem_type.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Any, name: str | None = None, *, problem_type: str | None = None
    ) -> None:
        self.classifier = Classifier(model, tokenizer)
        self.model = model
        self.tokenizer = tokenizer
        self.config = getattr(model, "config", None)
        self.name = name or getattr(self.config, "_name_or_path", "") or type(model).__name__
        self.head = Head.of(self.config, problem_type)
        self.revision = getattr(self.config, "_commit_hash", None) or ""
        self._engine = Engine(self.classifier, self.head)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        revision: str | None = None,
        problem_type: str | None = None,
        trust_remote_code: bool = False,
        **more: Any,
    ) -> Explainer:
        """Load a classifier and its tokenizer from a folder or from the hub.

        Args:
            name: a folder, or a hub name such as ``"owner/model"``.
            device: where to put the model (``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...); default: the CPU.
            dtype: the dtype of the weights (``torch.float32``, ``"float32"``, ``"auto"``); default: as stored.
            revision: a branch, tag or commit of the hub's repository.
            problem_type: what the model's outputs are; see :class:`Explainer`.
            trust_remote_code: run the code that the model's own files hold (``auto_map`` of its configs, kernels).
                Without it none runs: a model that transformers knows, too, is loaded as transformers has it.
            **more: passed on to ``AutoModelForSequenceClassification.from_pretrained``.

        Raises:
            InputError: there is no folder of that name, or the device, dtype or problem_type is none.
            ModelError: the model cannot be loaded, holds code that is not trusted, or is no text classifier.
        """
        model, tokenizer = loading.load(
            str(name), device=device, dtype=dtype, revision=revision, trust_remote_code=trust_remote_code, **more
        )
        explainer = cls(model, tokenizer, str(name), problem_type=problem_type)
        explainer.revision = explainer.revision or revision or ""
        return explainer

    @classmethod
    def from_pipeline(cls, pipeline: Any, *, problem_type: str | None = None) -> Explainer:
        """Take the model and the tokenizer of a ``transformers`` text-classification pipeline, as they are.

        The function that the pipeline applies to the model's outputs tells what they are, where ``problem_type`` does
        not; a ``max_length`` that it cuts texts to is the model's limit.

        Raises:
            ModelError: the pipeline has no torch model or no tokenizer.
        """
        model, tokenizer = getattr(pipeline, "model", None), getattr(pipeline, "tokenizer", None)
        if not isinstance(model, nn.Module) or tokenizer is None:
            raise ModelError(
                f"{type(pipeline).__name__} has no torch model with a tokenizer: textlrp takes a text-classification "
                f"pipeline of transformers"
            )
        applied = getattr(pipeline, "_postprocess_params", {}).get("function_to_apply")
        explainer = cls(model, tokenizer, problem_type=kind_of([applied]) if problem_type is None else problem_type)
        if explainer.head.problem_type is None and getattr(explainer.config, "num_labels", None) == 1:
            # Without a word about it, a pipeline takes a single output for log-odds.
            explainer = cls(model, tokenizer, problem_type=MULTI)
        length = getattr(pipeline, "_preprocess_params", {}).get("max_length")
        if length is not None:
            explainer.classifier.limit = min(length, explainer.classifier.limit or length)
        return explainer

    @classmethod
    def demo(cls, *, device: str | torch.device | None = None) -> Explainer:
        """Load the built-in classifier: English reviews, NEG or POS. It needs no network."""
        if not (DEMO_FOLDER / "config.json").is_file():
            raise ModelError(
                f"the built-in classifier is missing from this installation: there is no {str(DEMO_FOLDER)!r}"
            )
        explainer = cls.from_pretrained(DEMO_FOLDER, device=device, dtype=torch.float32)
        explainer.name = DEMO_NAME
        return explainer

    def explain(
        self,
        text: str,
        text_pair: str | None = None,
        *,
        target: str | int | None = None,
        contrast: str | int | None = None,
        rules: Rules | str = "attnlrp",
        long: str = "truncate",
        window: int | None = None,
        stride: int | None = None,
        layers: bool = False,
        progress: bool = False,
    ) -> Explanation:
        """Explain one label's logit for a text.

        Args:
            text: the document.
            text_pair: the second text of a pair (a hypothesis, a passage to rank).
            target: a label name or index; default: the predicted label.
            contrast: a label or ``"runner-up"``: explains ``logit(target) - logit(contrast)``.
            rules: a preset's name or :class:`textlrp.Rules`.
            long: what to do with a text that is longer than the model reads: ``"truncate"`` it (``truncated`` says
                where), read it in overlapping ``"windows"`` (the explained logit is the mean of the windows' logits),
                or raise an ``"error"``. Of a pair, the longer text is cut, or read in windows.
            window: how many ids are read at once, special tokens included; default: as many as the model reads, or in
                windows of a model without a limit, 2,048.
            stride: in windows, how many ids after its predecessor a window may start; default: three quarters of
                what it reads.
            layers: whether to look at the hidden states between the blocks, too (``layers`` of the explanation):
                relevance by layer and token, by attention head and by path, with balanced books at each layer.
            progress: whether to show a bar where it takes more than two seconds in a terminal.

        Raises:
            InputError: the text, a label, the rules or an option cannot be used as given.
            LRPError: the model cannot be explained; the message says why.
        """
        choice = Choice(target, contrast)
        reading = Reading(long, window, stride)
        ((_, explanation),) = self._explain(text, text_pair, choice, rules, reading, progress, None, layers)
        return explanation

    def explain_targets(
        self,
        text: str,
        targets: str | int | Sequence[str | int] = "all",
        text_pair: str | None = None,
        *,
        contrast: str | int | None = None,
        threshold: float | None = None,
        rules: Rules | str = "attnlrp",
        long: str = "truncate",
        window: int | None = None,
        stride: int | None = None,
        progress: bool = False,
    ) -> dict[str, Explanation]:
        """Explain several labels' logits for a text: one forward pass for all, and one backward pass for each.

        Args:
            text: the document.
            targets: ``"all"`` labels; ``"predicted"``, which is the label of the highest logit, or all labels over the
                threshold where a text can have several (multi-label); or a list of names or indices.
            text_pair: the second text of a pair.
            contrast: a label or ``"runner-up"`` (the best other label) that each target is set against; among
                ``"all"``, the contrast itself is left out.
            threshold: leave out labels whose probability is less; default: 0.5 for the ``"predicted"`` labels of a
                multi-label model, else none is left out.
            rules, long, window, stride, progress: as in :meth:`explain`.

        Returns:
            The explanations by the name of their label, in the order of the targets; none where no label is over the
            threshold.

        Raises:
            InputError: as in :meth:`explain`, or a threshold is given to a model without probabilities.
            LRPError: the model cannot be explained; the message says why.
        """
        if threshold is not None:
            threshold = options.real(threshold, "threshold is a probability from 0 to 1", 0, 1)
        named: Any = targets
        if not (isinstance(targets, str) and targets in ("all", "predicted")):
            named = (targets,) if inputs.single(targets) else tuple(inputs.column(targets, "targets"))
        several = Several(named, threshold)
        reading = Reading(long, window, stride)
        return dict(self._explain(text, text_pair, Choice(None, contrast), rules, reading, progress, several))

    def explain_batch(
        self,
        texts: Iterable[Any],
        targets: str | int | Iterable[Any] | None = None,
        batch_size: int = 32,
        progress: bool = False,
        *,
        contrast: str | int | None = None,
        rules: Rules | str = "attnlrp",
        long: str = "truncate",
        window: int | None = None,
        stride: int | None = None,
        errors: str = "raise",
    ) -> list[Any]:
        """Explain many texts, those of like length together; each gets what it would get alone.

        All the explanations are held at once: :meth:`explain_stream` gives them out one by one.

        Args:
            texts: a list, a generator, a column of a ``datasets.Dataset`` or of a pandas ``DataFrame``, ...; a pair is
                a tuple of two texts or a dict with ``text`` and ``text_pair``.
            targets: one label for all texts, or one for each (None for the predicted one); default: the predicted ones.
            batch_size: the most texts in a batch; batches of long texts hold fewer.
            progress: whether to show a bar where it takes more than two seconds in a terminal.
            contrast, rules, long, window, stride: as in :meth:`explain`.
            errors: ``"raise"`` an error if a text cannot be explained (before the model runs, where the text is the
                reason; otherwise when all texts are through), or ``"return"`` it in the place of the explanation.

        Returns:
            One :class:`Explanation` for each text, in order; with ``errors="return"``, or the ``LRPError``.

        Raises:
            InputError: an option cannot be used as given.
            BatchError: some texts cannot be explained; it names them, and has the explanations of the others.
        """
        rules, reading, batch_size = self._asked(errors, batch_size, rules, long, window, stride)
        values = list(inputs.column(texts, "texts"))
        choices = [Choice(target, contrast) for target in inputs.each(targets, len(values))]
        for choice in choices:
            choice.check(self.head)
        pairs = zip(values, choices, strict=True)
        read = deque(streaming.read(self.classifier, self.head, value, choice, reading) for value, choice in pairs)
        failed = {i: each for i, each in enumerate(read) if isinstance(each, LRPError)}
        if failed and errors == "raise":
            raise BatchError(failed, len(read))
        total = sum(1 if isinstance(each, LRPError) else each.steps for each in read)
        drained = (read.popleft() for _ in values)
        found = list(self._stream(drained, rules, reading, batch_size, total, progress, listed=True))
        failed = {i: each for i, each in enumerate(found) if isinstance(each, LRPError)}
        if failed and errors == "raise":
            raise BatchError(failed, len(found), [None if i in failed else each for i, each in enumerate(found)])
        return found

    def explain_stream(
        self,
        texts: Iterable[Any],
        targets: str | int | Iterable[Any] | None = None,
        batch_size: int = 32,
        progress: bool = False,
        *,
        contrast: str | int | None = None,
        rules: Rules | str = "attnlrp",
        long: str = "truncate",
        window: int | None = None,
        stride: int | None = None,
        errors: str = "raise",
    ) -> Generator[Any, None, None]:
        """Explain texts one after the other, as many as there are: a generator that holds few of them at a time.

        Texts are drawn ahead of what is given out, so that those of like length share a batch: one at the beginning,
        then up to a quarter of those given out, and at most 16 batches, 65,536 ids or a million characters. Between two
        explanations the model is free. The generator may be closed at any time.

        Args:
            texts, batch_size, contrast, rules, long, window, stride: as in :meth:`explain_batch`.
            targets: one label for all texts, or one for each, drawn with its text; default: the predicted ones.
            progress: whether to show a bar where it takes more than two seconds in a terminal.
            errors: ``"raise"`` an error at the first text that cannot be explained, after the explanations of those
                before it, or ``"return"`` it in the place of the explanation and go on.

        Returns:
            A generator of one :class:`Explanation` for each text, in order; with ``errors="return"``, or the
            ``LRPError``. An error that is raised ends it, and so does what ``texts`` raises.

        Raises:
            InputError: an option cannot be used as given; or later, there are not as many targets as texts, or one of
                them is unknown.
            BatchError: later, a text cannot be explained: its index is the one key of ``errors``.
        """
        rules, reading, batch_size = self._asked(errors, batch_size, rules, long, window, stride)
        values = inputs.column(texts, "texts")
        if not (targets is None or inputs.single(targets)):
            targets = inputs.column(targets, "targets")
            Choice(None, contrast).check(self.head)
        else:
            Choice(targets, contrast).check(self.head)  # type: ignore[arg-type]
        known = isinstance(values, Sized) and reading.long != "windows"  # in one window, each text is a step
        read = streaming.read_all(self.classifier, self.head, inputs.paired(values, targets), contrast, reading)
        total = len(values) if known else None  # type: ignore[arg-type]
        return self._stream(read, rules, reading, batch_size, total, progress, raises=errors == "raise")

    def encode(self, text: str, text_pair: str | None = None) -> Encoding:
        """Return a text as the model reads it, cut where it is too long; the errors are those of :meth:`explain`."""
        return self.classifier.encode(text, self.classifier.limit, text_pair)

    def _explain(
        self,
        text: str,
        text_pair: str | None,
        choice: Choice,
        rules: Rules | str,
        reading: Reading,
        progress: bool,
        several: Several | None,
        layers: bool = False,
    ) -> list[tuple[str, Explanation]]:
        rules = as_rules(rules)
        choice.check(self.head)
        if several is not None:
            several.check(self.head)
        settled = choice.settled if several is None else several.settled and choice.contrast != RUNNER_UP
        pick = partial(self._pick, choice) if several is None else partial(several.pick, self.head, choice)
        document = reading.document(self.classifier, text, text_pair, pick, settled)
        with ProgressBar("explaining", document.steps, progress) as bar:
            self._engine.run([document], rules, 16, bar, layers)
        return explanations(document, self._provenance(rules, reading))

    def _asked(
        self, errors: str, batch_size: int, rules: Rules | str, long: str, window: int | None, stride: int | None
    ) -> tuple[Rules, Reading, int]:
        """Return the options that many texts are explained by, checked."""
        options.choice(errors, ("raise", "return"), "errors is 'raise' or 'return'")
        batch_size = options.whole(batch_size, "batch_size is a number of texts, 1 or more", 1)
        return as_rules(rules), Reading(long, window, stride), batch_size

    def _stream(
        self,
        read: Iterable[streaming.Read],
        rules: Rules,
        reading: Reading,
        batch_size: int,
        total: int | None,
        progress: bool,
        *,
        listed: bool = False,
        raises: bool = False,
    ) -> Generator[Any, None, None]:
        with ProgressBar("explaining", total, progress) as bar:

            def run(documents: Sequence[PendingDocument]) -> None:
                self._engine.run(documents, rules, batch_size, bar)

            provenance = self._provenance(rules, reading)
            batches = streaming.BATCHES_HELD if listed else streaming.BATCHES
            yield from streaming.stream(
                read, run, provenance, bar, batch_size, batches, grows=not listed, raises=raises
            )

    def _pick(self, choice: Choice, logits: Tensor) -> list[Pick]:
        return [choice.pick(self.head, logits)]

    def _provenance(self, rules: Rules, reading: Reading) -> Provenance:
        """Return what an explanation says about how it was made."""
        return Provenance(self.head, self.name, self.revision, rules.name, reading.asked())
