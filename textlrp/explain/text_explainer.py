"""What an explainer does with texts, whatever model it has: one text or many, one label or several."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from textlrp.basics import options
from textlrp.explain import inputs, many_texts
from textlrp.explain.assembly import Provenance, explanations
from textlrp.explain.batching import Engine
from textlrp.explain.classifier import Classifier
from textlrp.explain.labels import RUNNER_UP, Choice, Head, Pick, Several
from textlrp.explain.long_texts import Reading, refuse_stride
from textlrp.explain.many_texts import BatchOptions
from textlrp.explain.progress import ProgressBar
from textlrp.explain.references import References
from textlrp.results.explanation import Explanation
from textlrp.rules import Rules, as_rules
from textlrp.text.encoding import Encoding


class TextExplainer:
    """Explains texts; :class:`textlrp.Explainer` makes one of a model.

    Attributes:
        model: the model.
        tokenizer: the tokenizer.
        config: the model's config, or None.
        name: the name of the model in explanations.
        revision: its branch, tag or commit, or empty.
        head: the model's outputs (:class:`textlrp.explain.labels.Head`).
        classifier: the model and the tokenizer as textlrp runs them (:class:`textlrp.explain.classifier.Classifier`).
    """

    def _start(self, model: nn.Module, classifier: Classifier, head: Head, name: str | None) -> None:
        self.model, self.classifier, self.head = model, classifier, head
        self.tokenizer = classifier.tokenizer
        self.config = getattr(model, "config", None)
        self.name = name or getattr(self.config, "_name_or_path", "") or type(model).__name__
        self.revision = getattr(self.config, "_commit_hash", None) or ""
        self._engine = Engine(classifier, head)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels by index; empty if the model's config does not tell."""
        if self.classifier.model is not self.model:
            return self.head.names or ()
        outputs = getattr(self.config, "num_labels", None)
        return self.head.labels(outputs) if isinstance(outputs, int) and outputs > 0 else self.head.names or ()

    @refuse_stride
    def explain(
        self,
        text: str,
        text_pair: str | None = None,
        *,
        target: str | int | None = None,
        contrast: str | int | None = None,
        rules: Rules | str = "attnlrp",
        reference: Any = None,
        long: str = "truncate",
        window: int | None = None,
        overlap: int | None = None,
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
            reference: what the rules ``"difference"`` measure the text from; default: ``"mask"``, the tokenizer's mask
                token in place of each word, or where there is none ``"mean"``, the mean of the model's embeddings.
                Others: ``"zero"`` (embedding), ``"pad"`` (token), another token, or another text (of a pair, a tuple of
                two) or a list or tensor of ids, with as many ids as the text. A list of several is averaged; each takes
                a pass. Special tokens stay as they are, unless ids are given.
            long: how to read a text that is longer than the model reads: ``"truncate"`` it (``truncated`` says where),
                read it in overlapping ``"windows"`` (the explained logit is the mean of the windows' logits), or raise
                an ``"error"``. Of a pair, the longer text is cut, or read in windows.
            window: the number of ids to read at once, special tokens included; default: as many as the model reads, or
                2,048 in windows of a model without a limit.
            overlap: the least number of ids that neighboring windows share, special tokens aside (Hugging Face calls
                this stride); default: a quarter of a window's room. All windows are equally long, so neighbors may
                share more.
            layers: whether to explain the hidden states between the blocks, too (``layers`` of the explanation):
                relevance by layer and token, by attention head and by path, with a balanced ledger for each layer.
            progress: whether to show a bar in a terminal after two seconds, elsewhere a line every 30 seconds.

        Raises:
            InputError: the text, a label, the rules, the reference or an option is invalid.
            LRPError: the model cannot be explained; the message says why.
        """
        choice = Choice(target, contrast)
        reading = Reading(long, window, overlap)
        ((_, explanation),) = self._explain(text, text_pair, choice, None, rules, reading, layers, progress, reference)
        return explanation

    @refuse_stride
    def explain_targets(
        self,
        text: str,
        text_pair: str | None = None,
        *,
        targets: str | int | Sequence[str | int] = "all",
        contrast: str | int | None = None,
        threshold: float | None = None,
        rules: Rules | str = "attnlrp",
        reference: Any = None,
        long: str = "truncate",
        window: int | None = None,
        overlap: int | None = None,
        layers: bool = False,
        progress: bool = False,
    ) -> dict[str, Explanation]:
        """Explain several labels' logits for a text: one forward pass for all, and one backward pass for each.

        Args:
            text: the document.
            text_pair: the second text of a pair.
            targets: the labels: ``"all"``; ``"predicted"``, which is the label of the highest logit, or of a
                multi-label model all labels over the threshold; or a list of names or indices.
            contrast: a label or ``"runner-up"`` (the best other label) that each target is compared with; among
                ``"all"``, the contrast itself is left out.
            threshold: leave out labels whose probability is less; default: 0.5 for the ``"predicted"`` labels of a
                multi-label model, else none is left out.
            rules, reference, long, window, overlap, layers, progress: as in :meth:`explain`.

        Returns:
            The explanations by the name of their label, in the order of the targets; empty if no label is over the
            threshold.

        Raises:
            InputError: as in :meth:`explain`, or a threshold is given to a model without probabilities.
            LRPError: the model cannot be explained; the message says why.
        """
        if threshold is not None:
            threshold = options.real(threshold, "threshold is a probability from 0 to 1", 0, 1)
        labels: Any = targets
        if not (isinstance(targets, str) and targets in ("all", "predicted")):
            labels = (targets,) if inputs.single(targets) else tuple(inputs.column(targets, "targets"))
        choice, several = Choice(None, contrast), Several(labels, threshold)
        reading = Reading(long, window, overlap)
        return dict(self._explain(text, text_pair, choice, several, rules, reading, layers, progress, reference))

    @refuse_stride
    def explain_batch(
        self,
        texts: Iterable[Any],
        *,
        target: str | int | Iterable[Any] | None = None,
        contrast: str | int | None = None,
        rules: Rules | str = "attnlrp",
        reference: Any = None,
        long: str = "truncate",
        window: int | None = None,
        overlap: int | None = None,
        layers: bool = False,
        batch_size: int = 32,
        errors: str = "raise",
        progress: bool = False,
    ) -> list[Any]:
        """Explain many texts, in batches of similar length; each explanation equals that of the text alone.

        All explanations are held at once; :meth:`explain_stream` yields them one by one.

        Args:
            texts: a list, a generator, a column of a ``datasets.Dataset`` or of a pandas ``DataFrame``, ...; a pair is
                a tuple of two texts or a dict with ``text`` and ``text_pair``.
            target: one label for all texts, or one for each (None for the predicted one); default: the predicted ones.
            contrast, rules, reference, long, window, overlap, layers: as in :meth:`explain`. One reference is for all
                texts; a text or ids as a reference fit those that have as many ids, and the others are errors.
            batch_size: the most texts in a batch; batches of long texts hold fewer.
            errors: ``"raise"`` an error if a text cannot be explained (before the model runs if the text is invalid,
                otherwise after all texts), or ``"return"`` it in the place of the explanation.
            progress: whether to show a bar in a terminal after two seconds, elsewhere a line every 30 seconds.

        Returns:
            One :class:`Explanation`, or with ``errors="return"`` an ``LRPError``, for each text, in order.

        Raises:
            InputError: an option is invalid.
            BatchError: some texts cannot be explained; it names them, and has the explanations of the others.
        """
        asked = BatchOptions.checked(
            rules, long, window, overlap, layers, batch_size, errors, progress, reference, self.classifier
        )
        provenance = self._provenance(asked.rules, asked.reading)
        return many_texts.explain_all(self._engine, texts, target, contrast, asked, provenance)

    @refuse_stride
    def explain_stream(
        self,
        texts: Iterable[Any],
        *,
        target: str | int | Iterable[Any] | None = None,
        contrast: str | int | None = None,
        rules: Rules | str = "attnlrp",
        reference: Any = None,
        long: str = "truncate",
        window: int | None = None,
        overlap: int | None = None,
        layers: bool = False,
        batch_size: int = 32,
        errors: str = "raise",
        progress: bool = False,
    ) -> Generator[Any, None, None]:
        """Explain any number of texts one after the other: a generator that holds few of them at a time.

        Texts are drawn ahead, so that texts of similar length share a batch: first one, then a quarter as many as were
        yielded, and at most 16 batches, 65,536 ids or a million characters. Between two explanations the model is free.
        The generator may be closed at any time.

        Args:
            texts, contrast, rules, reference, long, window, overlap, layers, batch_size: as in :meth:`explain_batch`.
            target: one label for all texts, or one for each, drawn with its text; default: the predicted ones.
            errors: ``"raise"`` an error at the first text that cannot be explained, after the explanations before it,
                or ``"return"`` it in the place of the explanation and continue.
            progress: whether to show a bar in a terminal after two seconds, elsewhere a line every 30 seconds.

        Returns:
            A generator of one :class:`Explanation`, or with ``errors="return"`` an ``LRPError``, for each text, in
            order. A raised error ends it, also an error of ``texts``.

        Raises:
            InputError: an option is invalid; or later, there are not as many targets as texts, or a target is unknown.
            BatchError: later, a text cannot be explained: its index is the only key of ``errors``.
        """
        asked = BatchOptions.checked(
            rules, long, window, overlap, layers, batch_size, errors, progress, reference, self.classifier
        )
        provenance = self._provenance(asked.rules, asked.reading)
        return many_texts.explain_each(self._engine, texts, target, contrast, asked, provenance)

    def __call__(self, text_or_texts: Any, text_pair: str | None = None, **options: Any) -> Any:
        """Explain a text by :meth:`explain`, or several by :meth:`explain_batch`, as a pipeline is called.

        Args:
            text_or_texts: a text; a dict with ``text`` and ``text_pair``; or texts as :meth:`explain_batch` takes them.
            text_pair: the second text of a pair, with a single text.
            **options: options of the method.

        Returns:
            An :class:`Explanation`, or a list of them.

        Raises:
            LRPError: the errors of the method.
        """
        if text_pair is not None or isinstance(text_or_texts, str):
            return self.explain(text_or_texts, text_pair, **options)
        if isinstance(text_or_texts, dict):
            return self.explain(*inputs.pair(text_or_texts), **options)
        return self.explain_batch(text_or_texts, **options)

    def encode(self, text: str, text_pair: str | None = None) -> Encoding:
        """Return a text as the model reads it, cut if it is too long; the errors are those of :meth:`explain`."""
        return self.classifier.encode(text, self.classifier.limit, text_pair)

    def _explain(
        self,
        text: str,
        text_pair: str | None,
        choice: Choice,
        several: Several | None,
        rules: Rules | str,
        reading: Reading,
        layers: bool,
        progress: bool,
        reference: Any,
    ) -> list[tuple[str, Explanation]]:
        rules, layers, progress = as_rules(rules), self.classifier.layers(layers), options.flag(progress, "progress")
        references = References.read(reference, rules, self.classifier)
        choice.check(self.head)
        if several is not None:
            several.check(self.head)
        settled = choice.settled if several is None else several.settled and choice.contrast != RUNNER_UP
        pick = partial(self._pick, choice) if several is None else partial(several.pick, self.head, choice)
        document = reading.document(self.classifier, text, text_pair, pick, settled, references)
        with ProgressBar("explaining", document.steps, progress) as bar:
            self._engine.run([document], rules, 16, bar, layers)
        return explanations(document, self._provenance(rules, reading))

    def _pick(self, choice: Choice, logits: Tensor) -> list[Pick]:
        return [choice.pick(self.head, logits)]

    def _provenance(self, rules: Rules, reading: Reading) -> Provenance:
        """Return the origin that explanations record."""
        return Provenance(self.head, self.name, self.revision, rules.name, reading.asked())
