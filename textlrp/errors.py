"""Every exception that textlrp raises, one sentence each."""


class LRPError(Exception):
    """The base of every exception that textlrp raises."""


class InputError(LRPError):
    """A text, a label or an option cannot be used as given."""


class ModelError(LRPError):
    """A model or tokenizer cannot be loaded, or is no text classifier."""


class AlignmentError(LRPError):
    """A tokenizer without offsets produced tokens that cannot be found again in the text."""


class UnsupportedOperationError(LRPError):
    """The model runs an operation that no rule covers, so its relevance cannot be accounted for."""


class UnbalancedLedgerError(LRPError):
    """The rows of a ledger do not add up to the logit within the tolerance of the dtype."""


class NonFiniteError(LRPError):
    """A NaN or an infinity turned up in the forward or the backward pass."""


class CorpusError(LRPError):
    """A corpus file is missing, malformed, or disagrees with itself."""
