"""Audits whether a model can be explained, and measures the cost.

It may import every room up to :mod:`textlrp.evaluate`. Start with :mod:`textlrp.check.audit`.
"""
