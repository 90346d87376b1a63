"""The results of textlrp, without torch: explanations, spans, ledgers and layers, and how they are saved and checked.

It may import errors, basics and rules; :mod:`textlrp.results.rendering` alone imports :mod:`textlrp.render`, late.
Start with :mod:`textlrp.results.explanation`.
"""
