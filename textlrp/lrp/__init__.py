"""The engine: runs a model forward and backward by the rules, and returns relevance and ledger.

It may import errors, basics, rules, results, render and text. Start with :mod:`textlrp.lrp.propagation`, where one call
begins and ends.
"""
