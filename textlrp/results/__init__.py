"""What textlrp returns, without torch: explanations, spans, ledgers, layers, and how they are saved and checked.

It may import errors, basics and rules, and at one place (:mod:`textlrp.results.rendering`) late the renderer of
:mod:`textlrp.render`. Start with :mod:`textlrp.results.explanation`.
"""
